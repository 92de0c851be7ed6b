"""Datasets, the batches made of them, and threads that make the next ones meanwhile."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import islice, pairwise
from typing import Any

import numpy as np

from .tensor import Tensor, from_numpy
from .transforms import (
    CenterCrop,
    Compose,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
    ToTensor,
    sample_rng,
    sample_seed,
)

__all__ = [
    "CenterCrop",
    "Compose",
    "DataLoader",
    "Dataset",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomVerticalFlip",
    "SampleError",
    "Subset",
    "TensorDataset",
    "ToTensor",
    "default_collate",
    "random_split",
    "sample_rng",
]


# --------------------------------------------------------------------------------------------------
# Datasets
# --------------------------------------------------------------------------------------------------


class Dataset(ABC):
    """Samples that can be counted and picked by number, from 0 to len - 1."""

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
                raise TypeError(
                    f"TensorDataset: takes tensors, not {type(tensor).__name__}; wrap it: Tensor(x)"
                )
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


class Subset(Dataset):
    """Some samples of a dataset, in the order of `indices`."""

    def __init__(self, dataset: Any, indices: Iterable[int]) -> None:
        self.dataset = dataset
        self.indices = np.asarray(list(indices), dtype=None)
        if not self.indices.size:
            self.indices = self.indices.astype(np.int64)
        if self.indices.dtype.kind not in "iu" or self.indices.ndim != 1:
            raise TypeError("Subset: indices must be whole numbers in one list")
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if outside.size:
            raise IndexError(f"Subset: index {outside[0]} is outside 0 … {len(dataset) - 1}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, idx: int) -> Any:
        return self.dataset[int(self.indices[idx])]


def random_split(dataset: Any, lengths: Sequence[float], seed: int | None = None) -> list[Subset]:
    """Deal a dataset's samples out at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int or float
        Samples of each part, which add up to all; or shares, which add up to 1. What rounding leaves over
        goes to the first parts, one each.
    seed : int, optional
        Makes the split repeatable; without it NumPy's global generator decides.

    Raises
    ------
    ValueError
        If the lengths do not add up.
    """
    n = len(dataset)
    sizes = list(lengths)
    if sizes and min(sizes) < 0:
        raise ValueError(f"random_split: lengths must not be negative, got {sizes}")
    if math.isclose(sum(sizes), 1) and n != 1:
        shares, sizes = sizes, [math.floor(n * share) for share in sizes]
        for i in range(n - sum(sizes)):
            sizes[i % len(shares)] += 1
    if sum(sizes) != n or any(size != int(size) for size in sizes):
        raise ValueError(
            f"random_split: lengths {list(lengths)} add up to {sum(lengths)}, but must give {n}, the number "
            "of samples, or shares that give 1"
        )
    order = np.random.permutation(n) if seed is None else np.random.default_rng(seed).permutation(n)
    ends = np.cumsum([0, *sizes]).astype(int)
    return [Subset(dataset, order[a:b]) for a, b in pairwise(ends)]


# --------------------------------------------------------------------------------------------------
# Batches
# --------------------------------------------------------------------------------------------------


class SampleError(RuntimeError):
    """A dataset could not give a sample. `index` says which one, `__cause__` is the dataset's own error."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class DataLoader:
    """Iterate over a dataset in batches: what a sample consists of, as tensors with a new first axis.

    Parameters
    ----------
    dataset : Dataset, or anything with len and []
    batch_size : int
        The last batch may be smaller.
    shuffle : bool
        Whether to visit the samples in a new random order each time.
    seed : int, optional
        Makes the orders, and what transforms draw from `sample_rng`, repeatable: those of epoch k depend on
        `seed` and k alone. Without it they come from NumPy's global generator (np.random.seed).
    drop_last : bool
        Leave out a last batch that is smaller than the others.
    collate_fn : callable, optional
        Makes a batch of a list of samples; `default_collate` by default.
    num_workers : int
        Threads that load batches while the caller computes; with 0 the caller loads them itself. Batches,
        their order and their contents are the same for any number. Kernels, NumPy's large operations and
        files let other threads run meanwhile; plain Python code does not.
    prefetch_factor : int, optional
        Batches that each worker may be ahead; 2 by default.

    Attributes
    ----------
    epoch : int
        How often iteration has started; assign to it to repeat or skip orders.

    Raises
    ------
    SampleError
        While iterating, when the dataset fails to give a sample.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_last: bool = False,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        num_workers: int = 0,
        prefetch_factor: int | None = None,
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"DataLoader: the dataset needs __len__ and __getitem__; {type(dataset).__name__} lacks one"
            )
        _check_whole("batch_size", batch_size, 1)
        _check_whole("num_workers", num_workers, 0)
        if seed is not None:
            _check_whole("seed", seed, 0)
        if prefetch_factor is not None:
            _check_whole("prefetch_factor", prefetch_factor, 1)
            if not num_workers:
                raise ValueError("DataLoader: prefetch_factor is for workers; set num_workers, too")
        if collate_fn is not None and not callable(collate_fn):
            raise TypeError(
                f"DataLoader: collate_fn must be callable, and {type(collate_fn).__name__} is not"
            )
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.seed, self.drop_last, self.collate_fn = seed, drop_last, collate_fn
        self.num_workers, self.prefetch_factor = num_workers, prefetch_factor
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches."""
        batches = len(self.dataset) / self.batch_size
        return math.floor(batches) if self.drop_last else math.ceil(batches)

    def __iter__(self) -> Iterator[Any]:
        order = np.arange(len(self.dataset))
        if self.shuffle and self.seed is not None:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        elif self.shuffle:
            np.random.shuffle(order)
        seed = int(np.random.randint(2**31)) if self.seed is None else self.seed
        load = partial(self._load, seed, self.epoch)
        self.epoch += 1
        batches = (order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self)))
        if not self.num_workers:
            return map(load, batches)
        return _load_ahead(load, batches, self.num_workers, self.num_workers * (self.prefetch_factor or 2))

    def _load(self, seed: int, epoch: int, indices: np.ndarray) -> Any:
        """One batch."""
        if self.collate_fn is None:
            gathered = _gather(self.dataset, indices)
            if gathered is not None:
                return gathered
        samples = [self._sample(seed, epoch, int(index)) for index in indices]
        return default_collate(samples) if self.collate_fn is None else self.collate_fn(samples)

    def _sample(self, seed: int, epoch: int, index: int) -> Any:
        with sample_seed(seed, epoch, index):
            try:
                return self.dataset[index]
            except Exception as error:
                raise SampleError(
                    f"DataLoader: sample {index} of {type(self.dataset).__name__} failed with "
                    f"{type(error).__name__}: {error}",
                    index,
                ) from error


def _load_ahead(
    load: Callable[[np.ndarray], Any], batches: Iterator[np.ndarray], workers: int, ahead: int
) -> Iterator[Any]:
    """`load` of each batch, in their order, computed by threads that are up to `ahead` batches ahead.

    Leaving the loop early closes this generator, which ends the threads.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tinytorch-loader")
    waiting: deque[Future] = deque()

    def submit(count: int) -> None:
        for indices in islice(batches, count):
            # In a copy of the caller's context, no_grad and kernels.use hold in the worker, too.
            waiting.append(pool.submit(copy_context().run, load, indices))

    try:
        submit(ahead)
        while waiting:
            batch = waiting.popleft().result()
            submit(1)
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _gather(dataset: Any, indices: np.ndarray) -> tuple[Tensor, ...] | None:
    """The batch by one gather, rather than a tensor for each sample, where the dataset is made of tensors."""
    while type(dataset) is Subset:
        dataset, indices = dataset.dataset, dataset.indices[indices]
    if type(dataset) is not TensorDataset:
        return None
    return tuple(from_numpy(tensor.data[indices]) for tensor in dataset.tensors)


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples as one batch, as in PyTorch.

    Tensors, arrays and numbers become one tensor with a new first axis. Tuples and dicts are collated field
    by field; strings stay a list.

    Raises
    ------
    ValueError
        If samples differ in shape, fields or keys.
    TypeError
        For what can't be stacked.
    """
    first = samples[0]
    if isinstance(first, Mapping):
        if any(sample.keys() != first.keys() for sample in samples):
            raise ValueError("DataLoader: samples of one batch differ in their keys")
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if len({len(sample) for sample in samples}) > 1:
            raise ValueError(
                f"DataLoader: samples of one batch differ in length: {[len(sample) for sample in samples]}"
            )
        columns = [default_collate(column) for column in zip(*samples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    return list(samples) if isinstance(first, (str, bytes)) else _stack(samples)


def _stack(values: Sequence[Any]) -> Tensor:
    """One tensor from the same field of several samples: tensors, arrays or numbers."""
    arrays = [value.data if isinstance(value, Tensor) else np.asarray(value) for value in values]
    for value, array in zip(values, arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"DataLoader: samples hold {type(value).__name__}, which does not fit into a tensor; "
                "convert it in the dataset, or pass a collate_fn"
            )
    if len({array.shape for array in arrays}) > 1:
        shapes = sorted({str(array.shape) for array in arrays})
        raise ValueError(
            f"DataLoader: samples of one batch differ in shape: {', '.join(shapes)}; crop or pad them first, "
            "or pass a collate_fn"
        )
    stacked = np.stack(arrays)
    return from_numpy(stacked) if isinstance(values[0], Tensor) else Tensor(stacked)


def _check_whole(what: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        positive = "a positive whole number" if least else "a whole number, 0 or more"
        raise ValueError(f"DataLoader: {what} must be {positive}, got {value!r}")
