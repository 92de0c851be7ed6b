"""The UCI handwritten digits: 1,797 images of 8x8 pixels, at 8x8 or upsampled to 32x32.

Images are split into parts first and upsampled or augmented afterwards, so no
variant of a held-out image can reach the training part.

Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*,
UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tinytorch.datasets._files import read_checked
from tinytorch.transforms import sample_bilinear

Images = NDArray[np.float32]
Labels = NDArray[np.int64]

NATIVE_SIZE = 8
BRIGHTEST = 16.0
HELD_OUT_PARTS = 4  # one part in four is held out: 450 images


def load_digits(
    size: int = 8, split: str = "train", seed: int = 0, augment: int = 0
) -> tuple[Images, Labels]:
    """Load the training or the held-out part of the digits.

    Parameters
    ----------
    size : int
        Side of the images in pixels: 8 as they are, or 32 by bilinear upsampling.
    split : str
        ``"train"`` (1,347 images), ``"test"`` (450 images, a stratified quarter)
        or ``"all"``.
    seed : int
        Decides which images are held out, and the augmentation.
    augment : int
        How many randomly shifted and rotated copies of each training image to add.

    Returns
    -------
    images : float32 array (N, 1, size, size), from 0 (paper) to 1 (ink)
    labels : int64 array (N,), 0 to 9

    Raises
    ------
    ValueError
        An unknown size or split, a negative ``augment``, or augmentation of
        anything but the training part.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"load_digits: split must be 'train', 'test' or 'all', not {split!r}.")
    if augment < 0:
        raise ValueError(f"load_digits: augment counts extra copies of each image; it can't be {augment}.")
    if augment and split != "train":
        raise ValueError(
            f"load_digits: augment={augment} with split={split!r}. Only the training part may be augmented: "
            "held-out images must stay as they were written."
        )
    images, labels = _read_all()
    if split != "all":
        held_out = _stratified_parts(labels, HELD_OUT_PARTS, seed)[0]
        chosen = held_out if split == "test" else np.setdiff1d(np.arange(len(labels)), held_out)
        images, labels = images[chosen], labels[chosen]
    images = _resize(images, size)
    if augment:
        copies = [augment_digits(images, seed=seed + 1 + i) for i in range(augment)]
        images = np.concatenate([images, *copies])
        labels = np.tile(labels, augment + 1)
    return images, labels


def digits_folds(k: int = 5, size: int = 8, seed: int = 0) -> Iterator[tuple[Images, Labels, Images, Labels]]:
    """Yield ``(train_images, train_labels, test_images, test_labels)`` for each of k folds.

    Every image is in exactly one fold's test part, and every fold has the same
    share of each digit.
    """
    if k < 2:
        raise ValueError(
            f"digits_folds: k={k}, but at least 2 folds are needed to have something to train on."
        )
    images, labels = _read_all()
    images = _resize(images, size)
    for held_out in _stratified_parts(labels, k, seed):
        kept = np.setdiff1d(np.arange(len(labels)), held_out)
        yield images[kept], labels[kept], images[held_out], labels[held_out]


def augment_digits(images: Images, seed: int, max_shift: float = 1 / 16, max_angle: float = 10.0) -> Images:
    """Shift and rotate each image by a little, at random.

    Parameters
    ----------
    images : float32 array (N, 1, S, S)
    seed : int
        The same seed gives the same result.
    max_shift : float
        Largest shift along each axis, as a fraction of the side.
    max_angle : float
        Largest rotation, in degrees, about the centre.

    Returns
    -------
    float32 array (N, 1, S, S); what comes in from outside the image is paper (0).
    """
    if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"augment_digits: expected images of shape (N, 1, S, S), got {images.shape}.")
    n, _, side, _ = images.shape
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(rng.uniform(-max_angle, max_angle, (n, 1, 1)))
    shift_y, shift_x = rng.uniform(-max_shift, max_shift, (2, n, 1, 1)) * side
    centre = (side - 1) / 2
    grid = np.arange(side) - centre
    y, x = grid[:, None], grid[None, :]
    source_y = np.cos(angle) * y - np.sin(angle) * x + centre + shift_y
    source_x = np.sin(angle) * y + np.cos(angle) * x + centre + shift_x
    return sample_bilinear(images[:, 0], source_y, source_x)[:, None]


def _read_all() -> tuple[Images, Labels]:
    """All images (1797, 1, 8, 8) in [0, 1] and their labels, in the original order."""
    with np.load(io.BytesIO(read_checked("digits.npz")), allow_pickle=False) as stored:
        images = stored["images"][:, None].astype(np.float32) / np.float32(BRIGHTEST)
        return images, stored["labels"].astype(np.int64)


def _stratified_parts(labels: Labels, k: int, seed: int) -> list[NDArray[np.intp]]:
    """Split the indices of `labels` into k parts with equal shares of each class.

    The images are shuffled, sorted by class, then dealt out like cards: part
    sizes, and each class's share in them, differ by at most one.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return [np.sort(by_class[i::k]) for i in range(k)]


def _resize(images: Images, size: int) -> Images:
    """Resize square images (N, 1, 8, 8) to (N, 1, size, size), bilinear with pixel centres aligned."""
    if size == NATIVE_SIZE:
        return images
    if size != 32:
        raise ValueError(f"load_digits: size must be 8 or 32, not {size!r}.")
    # Along one axis, each output pixel is a weighted mean of its two nearest input pixels.
    position = np.clip((np.arange(size) + 0.5) * NATIVE_SIZE / size - 0.5, 0, NATIVE_SIZE - 1)
    distance = np.abs(position[:, None] - np.arange(NATIVE_SIZE)[None, :])
    weights = np.maximum(0, 1 - distance).astype(np.float32)
    return weights @ images @ weights.T
