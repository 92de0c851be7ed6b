"""Joining, cutting and choosing between tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import align_shapes, broadcast_error
from ._mistakes import axis_error, concatenate_error
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
    except (ValueError, TypeError):
        raise concatenate_error([tensor.shape for tensor in tensors], axis) from None

    def node(*inputs: Tensor) -> engine.Function:
        return rules.ConcatenateBackward(*inputs, axis=axis)

    return record(data, node, *tensors)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    for i, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise ValueError(
                f"stack: all tensors must have one shape, but tensor {i} (second) differs from the first:\n"
                f"{align_shapes(tensors[0].shape, tensor.shape)}"
            )
    if not tensors:
        raise ValueError("stack: needs at least one tensor")
    if error := axis_error("stack", tensors[0].shape, axis, added=1):
        raise error
    return concatenate([tensor.unsqueeze(axis) for tensor in tensors], axis)


def split(tensor: Tensor, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into pieces of one size along an axis (the last may be smaller), or of the given sizes."""
    if error := axis_error("split", tensor.shape, axis):
        raise error
    if not isinstance(size, Sequence) and (not isinstance(size, (int, np.integer)) or size <= 0):
        raise ValueError(f"split: size must be whole and positive, or a list of sizes, got {size!r}")
    length = tensor.shape[axis]
    sizes = (
        [size] * (length // size) + [length % size] * (length % size > 0)
        if not isinstance(size, Sequence)
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
    try:
        data = np.where(chosen, a._data, b._data)
    except ValueError:
        raise broadcast_error("where(condition, a, b)", chosen.shape, a.shape, b.shape) from None
    return record(data, rules.WhereBackward, a, b, chosen)
