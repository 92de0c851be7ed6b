"""The words for mistakes with axes, shapes and indices. They are looked for once NumPy has refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._arrays import align_shapes

Shape = tuple[int, ...]


def along(operation: str, compute: Callable, array: np.ndarray, axis: Any, **options: Any) -> Any:
    """``compute(array, axis=axis, …)``, whose errors name the operation, the shape and the axis."""
    try:
        return compute(array, axis=axis, **options)
    except (ValueError, TypeError) as error:
        raise axis_error(operation, array.shape, axis) or empty_error(operation, array) or error from None


def axis_error(operation: str, shape: Shape, axis: Any, added: int = 0) -> Exception | None:
    """What is wrong with an axis, or a tuple of them, of a tensor of this shape; None if nothing is.

    `added` counts the axes that the operation inserts.
    """
    axes = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
    rank = len(shape) + added
    for one in axes:
        if not isinstance(one, (int, np.integer)):
            return TypeError(f"{operation}: an axis is a whole number or a tuple of them, not {one!r}")
        if not -rank <= one < rank:
            range_ = f"{-rank} to {rank - 1}" if rank else "none, as it is a single number"
            return np.exceptions.AxisError(
                f"{operation}: there is no axis {one} for a tensor of shape {shape}; its axes are {range_}"
            )
    places = [one % rank for one in axes]
    for i, place in enumerate(places):
        if place in places[:i]:
            return ValueError(f"{operation}: axis {place} of shape {shape} is named twice in {axis}")
    return None


def empty_error(operation: str, array: np.ndarray) -> Exception | None:
    """For reductions that have no result without elements."""
    if array.size:
        return None
    return ValueError(f"{operation}: a tensor of shape {array.shape} has no elements to choose from")


def squeeze_error(shape: Shape, axis: Any) -> Exception:
    """For axes that can't be dropped."""
    if error := axis_error("squeeze", shape, axis):
        return error
    axes = axis if isinstance(axis, tuple) else (axis,)
    large = next(one for one in axes if shape[one] != 1)
    return ValueError(
        f"squeeze: axis {large} of shape {shape} has {shape[large]} elements, and only axes of size 1 can be "
        f"dropped; take one element with x[…, 0], or reduce it with sum or mean"
    )


def permute_error(shape: Shape, axes: tuple) -> Exception:
    """For axes that are not a permutation."""
    return axis_error("permute", shape, axes) or ValueError(
        f"permute: {axes} must name each of the {len(shape)} axes of shape {shape} once"
    )


def concatenate_error(shapes: Sequence[Shape], axis: Any) -> Exception:
    """For shapes that can't be joined along an axis."""
    first = shapes[0]
    if error := axis_error("concatenate", first, axis):
        return error
    for i, shape in enumerate(shapes):
        if len(shape) != len(first):
            return ValueError(
                f"concatenate: tensor {i} has shape {shape}, but the first {first}; they need as many axes "
                "(insert one with unsqueeze)"
            )
        for j, (n, m) in enumerate(zip(shape, first, strict=True)):
            if n != m and j != axis % len(first):
                return ValueError(
                    f"concatenate along axis {axis}: the other axes must agree, but axis {j} has {m} "
                    f"elements in the first tensor, {first}, and {n} in tensor {i}, {shape}"
                )
    return ValueError(f"concatenate: cannot join tensors of shapes {', '.join(map(str, shapes))}")


def index_error(shape: Shape, error: IndexError) -> IndexError:
    """NumPy's words about an index, with the shape and the cure."""
    text = str(error)
    if "only integers" in text:
        text = "an index is a whole number, a slice, …, None, or an array of whole numbers or booleans"
        cure = "round others with int(i), or i.astype('int64')"
    elif "out of bounds" in text:
        cure = "counted from 0, or from -1 backwards"
    elif "boolean" in text:
        cure = "a mask needs the tensor's own size on each axis"
    elif "too many" in text:
        cure = "give at most one index for each axis"
    else:
        cure = "index arrays must broadcast with each other"
    return IndexError(f"indexing a tensor of shape {shape}: {text}; {cure}")


def in_place_error(symbol: str, array: np.ndarray, other: Any) -> Exception:
    """For results that don't fit into the memory they should go to."""
    shape, dtype = np.shape(other), np.asarray(other).dtype
    if not np.can_cast(dtype, array.dtype, "same_kind") or array.dtype.kind != "f":
        return TypeError(
            f"{symbol}=: a tensor of {array.dtype} cannot hold the result; convert it first with "
            f"x.astype('float32'), or write x = x {symbol} … for a new one"
        )
    return ValueError(
        f"{symbol}=: the result must fit into the tensor (first), but the other (second) does not:\n"
        f"{align_shapes(array.shape, shape)}\nWrite x = x {symbol} … for a new tensor."
    )
