"""Joining, cutting and choosing between tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .autograd import engine, rules
from .autograd.engine import record
from .tensor import Tensor, as_tensor, match_dtypes

__all__ = ["concatenate", "split", "stack", "where"]


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis; the other axes must agree."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    if not tensors:
        raise ValueError("concatenate: needs at least one tensor")
    floats = [tensor.dtype for tensor in tensors if tensor.dtype.kind == "f"]
    if floats:  # whole numbers follow them, as in arithmetic
        tensors = [tensor if tensor.dtype.kind == "f" else tensor.astype(floats[0]) for tensor in tensors]
    try:
        data = np.concatenate([tensor._data for tensor in tensors], axis=axis)
    except ValueError:
        shapes = ", ".join(str(tensor.shape) for tensor in tensors)
        raise ValueError(
            f"concatenate along axis {axis}: the other axes must agree, but got {shapes}"
        ) from None

    def node(*inputs: Tensor) -> engine.Function:
        return rules.ConcatenateBackward(*inputs, axis=axis)

    return record(data, node, *tensors)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    return concatenate([as_tensor(tensor).unsqueeze(axis) for tensor in tensors], axis)


def split(tensor: Tensor, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into pieces of one size along an axis (the last may be smaller), or of the given sizes."""
    length = tensor.shape[axis]
    if isinstance(size, int) and size <= 0:
        raise ValueError(f"split: size must be positive, got {size}")
    sizes = (
        [size] * (length // size) + [length % size] * (length % size > 0)
        if isinstance(size, int)
        else list(size)
    )
    if sum(sizes) != length or any(n < 0 for n in sizes):
        raise ValueError(f"split: sizes {sizes} do not add up to the {length} elements of axis {axis}")
    before = (slice(None),) * (axis % tensor.ndim)
    ends = np.cumsum(sizes, dtype=int).tolist()
    keys = [(*before, slice(end - n, end)) for n, end in zip(sizes, ends, strict=True)]
    return tuple(tensor[key] for key in keys)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Elements of `a` where `condition` is true, of `b` elsewhere; all three broadcast."""
    chosen = np.asarray(condition.data if isinstance(condition, Tensor) else condition).astype(bool)
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else None
    a, b = match_dtypes(as_tensor(a, like), as_tensor(b, like))
    return record(np.where(chosen, a._data, b._data), rules.WhereBackward, a, b, chosen)
