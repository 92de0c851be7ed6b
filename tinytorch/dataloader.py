"""Datasets, batches, and random changes to images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .tensor import Tensor, from_numpy

__all__ = ["Compose", "DataLoader", "Dataset", "RandomCrop", "RandomHorizontalFlip", "TensorDataset"]


class Dataset(ABC):
    """Samples that can be counted and picked by number."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, idx: int) -> Any: ...


class TensorDataset(Dataset):
    """Tensors whose first axis counts the samples; a sample is a tuple with one slice of each."""

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor")
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"TensorDataset: takes tensors, not {type(tensor).__name__}")
        lengths = [tensor.shape[0] if tensor.ndim else 0 for tensor in tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"TensorDataset: all tensors need the same first dimension, got {lengths}")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, idx: int) -> tuple[Tensor, ...]:
        if not 0 <= idx < len(self):
            raise IndexError(f"TensorDataset: index {idx} is outside 0 … {len(self) - 1}")
        return tuple(from_numpy(tensor.data[idx]) for tensor in self.tensors)


class DataLoader:
    """Iterate over a dataset in batches: each is a tuple of tensors with a new first axis.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        The last batch may be smaller.
    shuffle : bool
        Whether to visit the samples in a new random order each time.
    seed : int, optional
        Makes the orders repeatable: that of epoch k depends on `seed` and k alone. Without it they come from
        NumPy's global generator (np.random.seed).
    drop_last : bool
        Leave out a last batch that is smaller than the others.

    Attributes
    ----------
    epoch : int
        How often iteration has started; assign to it to repeat or skip orders.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
    ) -> None:
        if not isinstance(batch_size, (int, np.integer)) or batch_size <= 0:
            raise ValueError(f"DataLoader: batch_size must be a positive whole number, got {batch_size!r}")
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.seed, self.drop_last = seed, drop_last
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches."""
        batches = len(self.dataset) / self.batch_size
        return math.floor(batches) if self.drop_last else math.ceil(batches)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        order = np.arange(len(self.dataset))
        if self.shuffle and self.seed is not None:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        elif self.shuffle:
            np.random.shuffle(order)
        self.epoch += 1
        return (self._batch(order[i * self.batch_size : (i + 1) * self.batch_size]) for i in range(len(self)))

    def _batch(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        if (
            type(self.dataset) is TensorDataset
        ):  # one gather for the batch, rather than a tensor for each sample
            return tuple(from_numpy(tensor.data[indices]) for tensor in self.dataset.tensors)
        samples = [self.dataset[int(i)] for i in indices]
        samples = [sample if isinstance(sample, (tuple, list)) else (sample,) for sample in samples]
        return tuple(_stack(column) for column in zip(*samples, strict=True))


def _stack(values: Sequence[Any]) -> Tensor:
    """One tensor from the same field of several samples: tensors, arrays or numbers."""
    arrays = [value.data if isinstance(value, Tensor) else np.asarray(value) for value in values]
    if len({array.shape for array in arrays}) > 1:
        shapes = sorted({str(array.shape) for array in arrays})
        raise ValueError(
            f"DataLoader: samples of one batch differ in shape: {', '.join(shapes)}; crop or pad them first"
        )
    return Tensor(np.stack(arrays))


# --------------------------------------------------------------------------------------------------
# Transforms: take and return a Tensor or an ndarray, laid out (H, W), (C, H, W) with C ≤ 4, or (H, W, C)
# --------------------------------------------------------------------------------------------------


class RandomHorizontalFlip:
    """Mirror an image left to right with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"RandomHorizontalFlip: p is a probability and must be between 0 and 1, got {p}")
        self.p = p

    def __call__(self, image: Any) -> Any:
        if np.random.random() >= self.p:
            return image
        return _on_array(image, lambda array: np.flip(array, axis=_image_axes(array)[1]).copy())


class RandomCrop:
    """Pad an image with zeros on all sides, then cut a window of the given size at a random place.

    Parameters
    ----------
    size : int or (height, width)
    padding : int
    """

    def __init__(self, size: int | tuple[int, int], padding: int = 4) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.padding = padding
        if len(self.size) != 2 or min(self.size) <= 0 or padding < 0:
            raise ValueError(
                f"RandomCrop: size must be positive and padding not negative, got {size}, {padding}"
            )

    def __call__(self, image: Any) -> Any:
        return _on_array(image, self._crop)

    def _crop(self, array: np.ndarray) -> np.ndarray:
        axes = _image_axes(array)
        padded = np.pad(
            array, [(self.padding,) * 2 if axis in axes else (0, 0) for axis in range(array.ndim)]
        )
        window = [slice(None)] * array.ndim
        for axis, size in zip(axes, self.size, strict=True):
            room = padded.shape[axis] - size
            if room < 0:
                raise ValueError(
                    f"RandomCrop: cannot cut {self.size} out of an image of shape {array.shape} "
                    f"with padding {self.padding}"
                )
            start = np.random.randint(room + 1)
            window[axis] = slice(start, start + size)
        return padded[tuple(window)].copy()


class Compose:
    """Apply transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


def _on_array(image: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(image, Tensor):
        return from_numpy(change(image.data))
    return change(np.asarray(image))


def _image_axes(array: np.ndarray) -> tuple[int, int]:
    """The axes of height and width."""
    if array.ndim == 2:
        return 0, 1
    if array.ndim != 3:
        raise ValueError(f"expected an image (H, W), (C, H, W) or (H, W, C), got shape {array.shape}")
    return (1, 2) if array.shape[0] <= 4 else (0, 1)
