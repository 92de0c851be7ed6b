"""Changes to images, many of them random: callables that take a Tensor or an ndarray and return the same.

An image is laid out (H, W), (C, H, W) with C ≤ 4, or (H, W, C).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from .tensor import Tensor, from_numpy

__all__ = [
    "CenterCrop",
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomVerticalFlip",
    "ToTensor",
    "sample_rng",
]

MOST_CHANNELS = 4  # a longer first axis of three is a height


# --------------------------------------------------------------------------------------------------
# Where randomness comes from
# --------------------------------------------------------------------------------------------------


class _SampleSource:
    """A random generator that is made when it is first asked for, which most samples never do."""

    generator: np.random.Generator | None = None

    def __init__(self, seed: int, key: tuple[int, ...]) -> None:
        self.seed, self.key = seed, key

    def get(self) -> np.random.Generator:
        if self.generator is None:
            sequence = np.random.SeedSequence(self.seed, spawn_key=self.key)
            self.generator = np.random.default_rng(sequence)
        return self.generator


_source: ContextVar[_SampleSource | None] = ContextVar("tinytorch_sample_source", default=None)


@contextlib.contextmanager
def sample_seed(seed: int, *key: int) -> Iterator[None]:
    """Inside, `sample_rng` gives what `seed` and `key` determine, in this thread alone."""
    token = _source.set(_SampleSource(seed, key))
    try:
        yield
    finally:
        _source.reset(token)


def sample_rng() -> np.random.Generator:
    """The random generator that a transform should draw from.

    While a `DataLoader` loads a sample, it depends on the loader's seed, the epoch and the sample's index
    alone: not on the number of workers, and not on which of them comes first. Elsewhere it draws from NumPy's
    global stream, which np.random.seed sets.

    >>> class AddNoise:
    ...     def __call__(self, image):
    ...         return image + sample_rng().normal(0, 0.1, image.shape)
    """
    source = _source.get()
    if source is not None:
        return source.get()
    return np.random.Generator(np.random.get_bit_generator())  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------
# Whatever the layout
# --------------------------------------------------------------------------------------------------


def _on_array(image: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(image, Tensor):
        return from_numpy(change(image.data))
    return change(np.asarray(image))


def _image_axes(name: str, array: np.ndarray) -> tuple[int, int]:
    """The axes of height and width."""
    if array.ndim == 2:
        return 0, 1
    if array.ndim != 3:
        raise ValueError(
            f"{name}: expected an image (H, W), (C, H, W) or (H, W, C), got shape {array.shape}; "
            "transforms take images one by one, before they become a batch"
        )
    return (1, 2) if array.shape[0] <= MOST_CHANNELS else (0, 1)


def _size(name: str, size: Any) -> tuple[int, int]:
    sizes = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    whole = all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes)
    if len(sizes) != 2 or not whole:
        raise ValueError(
            f"{name}: size must be positive: a whole number or (height, width), and it is {size!r}"
        )
    return int(sizes[0]), int(sizes[1])


def _cut(array: np.ndarray, axes: Sequence[int], corner: Sequence[int], size: Sequence[int]) -> np.ndarray:
    window = [slice(None)] * array.ndim
    for axis, start, length in zip(axes, corner, size, strict=True):
        window[axis] = slice(start, start + length)
    return array[tuple(window)].copy()


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is a probability and must be between 0 and 1, got {p}")
    return p


# --------------------------------------------------------------------------------------------------
# Transforms
# --------------------------------------------------------------------------------------------------


class Compose:
    """Apply transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"Compose: takes a list of callables, and {type(transform).__name__} is none")

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class ToTensor:
    """An image (H, W) or (H, W, C), as files and PIL have it, as a Tensor (C, H, W).

    Bytes become float32 from 0 to 1; other numbers keep their values.
    """

    def __call__(self, image: Any) -> Tensor:
        array = np.asarray(image)
        if array.ndim not in (2, 3):
            raise ValueError(f"ToTensor: expected an image (H, W) or (H, W, C), got shape {array.shape}")
        if array.ndim == 3 and array.shape[0] <= MOST_CHANNELS < array.shape[2]:
            raise ValueError(
                f"ToTensor: expected (H, W, C), but {array.shape} looks like (C, H, W); "
                "Tensor(image) keeps that order"
            )
        planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        return Tensor(planes.astype(np.float32) / 255 if array.dtype == np.uint8 else planes)


class Normalize:
    """(image - mean) / std, for each channel.

    Parameters
    ----------
    mean, std : float or sequence of float
        One for all channels, or one for each. std must not be 0.
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = (np.atleast_1d(np.asarray(value, np.float32)) for value in (mean, std))
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: std divides, and must be positive, got {std}")

    def __call__(self, image: Any) -> Any:
        return _on_array(image, self._normalize)

    def _normalize(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            raise TypeError(
                f"Normalize: the image holds {array.dtype}; make it float32 first (ToTensor, or astype)"
            )
        axes = _image_axes("Normalize", array)
        others = [axis for axis in range(array.ndim) if axis not in axes]
        channels = array.shape[others[0]] if others else 1
        shape = [channels if axis in others else 1 for axis in range(array.ndim)]
        values = []
        for what, value in (("mean", self.mean), ("std", self.std)):
            if len(value) not in (1, channels):
                raise ValueError(
                    f"Normalize: {what} has {len(value)} values, but the image {array.shape} has "
                    f"{channels} channel(s)"
                )
            values.append(np.broadcast_to(value, channels).reshape(shape))
        return ((array - values[0]) / values[1]).astype(array.dtype)


class RandomHorizontalFlip:
    """Mirror an image left to right with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability("RandomHorizontalFlip", p)

    def __call__(self, image: Any) -> Any:
        return _flip("RandomHorizontalFlip", image, 1) if sample_rng().random() < self.p else image


class RandomVerticalFlip:
    """Mirror an image top to bottom with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability("RandomVerticalFlip", p)

    def __call__(self, image: Any) -> Any:
        return _flip("RandomVerticalFlip", image, 0) if sample_rng().random() < self.p else image


def _flip(name: str, image: Any, which: int) -> Any:
    return _on_array(image, lambda array: np.flip(array, axis=_image_axes(name, array)[which]).copy())


class RandomCrop:
    """Pad an image with zeros on all sides, then cut a window of the given size at a random place.

    Parameters
    ----------
    size : int or (height, width)
    padding : int
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 4) -> None:
        self.size, self.padding = _size("RandomCrop", size), padding
        if not isinstance(padding, (int, np.integer)) or padding < 0:
            raise ValueError(f"RandomCrop: padding must be whole and not negative, got {padding!r}")

    def __call__(self, image: Any) -> Any:
        return _on_array(image, self._crop)

    def _crop(self, array: np.ndarray) -> np.ndarray:
        axes = _image_axes("RandomCrop", array)
        room = [
            array.shape[axis] + 2 * self.padding - size for axis, size in zip(axes, self.size, strict=True)
        ]
        if min(room) < 0:
            raise ValueError(
                f"RandomCrop: cannot cut {self.size} out of an image of shape {array.shape} "
                f"with padding {self.padding}"
            )
        border = [(self.padding,) * 2 if axis in axes else (0, 0) for axis in range(array.ndim)]
        corner = [int(sample_rng().integers(n + 1)) for n in room]
        return _cut(np.pad(array, border) if self.padding else array, axes, corner, self.size)


class CenterCrop:
    """Cut a window of the given size, an int or (height, width), out of an image's middle."""

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = _size("CenterCrop", size)

    def __call__(self, image: Any) -> Any:
        return _on_array(image, self._crop)

    def _crop(self, array: np.ndarray) -> np.ndarray:
        axes = _image_axes("CenterCrop", array)
        room = [array.shape[axis] - size for axis, size in zip(axes, self.size, strict=True)]
        if min(room) < 0:
            raise ValueError(f"CenterCrop: cannot cut {self.size} out of an image of shape {array.shape}")
        return _cut(array, axes, [round(n / 2) for n in room], self.size)


class RandomRotation:
    """Turn an image about its centre by a random angle; what comes in from outside is zero.

    Parameters
    ----------
    degrees : float or (float, float)
        The angle is uniform in ±degrees, or between the two; positive is counter-clockwise.
    """

    def __init__(self, degrees: float | tuple[float, float]) -> None:
        low, high = degrees if isinstance(degrees, (tuple, list)) else (-degrees, degrees)
        if not low <= high:
            raise ValueError(f"RandomRotation: degrees must be at least 0, or (low, high), got {degrees}")
        self.degrees = float(low), float(high)

    def __call__(self, image: Any) -> Any:
        return _on_array(image, self._rotate)

    def _rotate(self, array: np.ndarray) -> np.ndarray:
        axes = _image_axes("RandomRotation", array)
        planes = np.moveaxis(array, axes, (1, 2)) if array.ndim == 3 else array[None]
        angle = np.deg2rad(sample_rng().uniform(*self.degrees))
        height, width = planes.shape[1:]
        y, x = np.ogrid[:height, :width]
        y, x = y - (height - 1) / 2, x - (width - 1) / 2
        source_y = np.cos(angle) * y + np.sin(angle) * x + (height - 1) / 2
        source_x = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
        turned = sample_bilinear(planes, source_y[None], source_x[None])
        turned = np.moveaxis(turned, (1, 2), axes) if array.ndim == 3 else turned[0]
        return (turned if array.dtype.kind == "f" else turned.round()).astype(array.dtype)


def sample_bilinear(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Read images (N, H, W) at fractional positions y, x (N or 1, H', W'); outside is 0. Gives float32."""
    height, width = images.shape[1:]
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # a frame of zeros stands for all that is outside
    y = np.clip(y + 1, 0, height + 1 - 1e-6)
    x = np.clip(x + 1, 0, width + 1 - 1e-6)
    top, left = y.astype(int), x.astype(int)
    down, right = y - top, x - left
    image = np.arange(len(images))[:, None, None]
    sampled = (
        framed[image, top, left] * (1 - down) * (1 - right)
        + framed[image, top, left + 1] * (1 - down) * right
        + framed[image, top + 1, left] * down * (1 - right)
        + framed[image, top + 1, left + 1] * down * right
    )
    return sampled.astype(np.float32)
