"""Turning what people pass into arrays, and the words for what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from . import kernels

# Elements from which on a result is worth the memory of an earlier one: see kernels.empty.
LARGE = 16 * 1024


def to_array(data: Any, requires_grad: bool, dtype: Any) -> np.ndarray:
    """What `Tensor` holds for `data`; see there for the dtype."""
    typed = isinstance(data, (np.ndarray, np.generic))
    try:
        array = np.array(data, dtype=dtype, order="C")
    except (ValueError, TypeError) as error:
        raise type(error)(
            f"Tensor: cannot make an array of numbers from {type(data).__name__}: {error}"
        ) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Tensor: cannot hold {array.dtype} values; it takes numbers and booleans")
    if dtype is None:
        keeps = array.dtype.kind == "b" or (typed and array.dtype.kind in "iu")
        return array if keeps and not requires_grad else array.astype(np.float32, copy=False)
    if requires_grad and array.dtype.kind != "f":
        raise TypeError(f"Tensor: only floating-point tensors can require a gradient, not {array.dtype}")
    return array


def is_number(value: Any) -> bool:
    """Whether it is one real number, of Python's or NumPy's."""
    return type(value) is float or isinstance(value, Real)  # the abstract class answers slowly


def as_float(array: np.ndarray) -> np.ndarray:
    """Integers as float32; floating-point arrays as they are."""
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, where integers give float32."""
    return np.true_divide(as_float(a), as_float(b))


def reusing(ufunc: Callable) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`ufunc` of two arrays, with the result of two large ones in the memory of an earlier result."""

    def compute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.size < LARGE or a.shape != b.shape or not (a.dtype == b.dtype == np.float32):
            return ufunc(a, b)
        return ufunc(a, b, kernels.empty(a.shape))

    return compute


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array itself if its elements lie in C's order, else a copy in which they do."""
    if array.flags.c_contiguous:
        return array
    float32 = array.dtype == np.float32
    copy = kernels.empty(array.shape) if float32 else np.empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def whole_numbers(values: Any, what: str) -> np.ndarray:
    """An integer array of `values`; floats will do if they are whole, as Tensor([0, 1]) is float32.

    Raises ValueError, naming `what`, if a value is not a whole number.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind != "f":
        raise ValueError(f"{what} must be whole numbers, but are {array.dtype}")
    odd = ~np.isfinite(array) | (array != np.trunc(array))
    if odd.any():
        raise ValueError(f"{what} must be whole numbers, but found {array[odd].flat[0]}")
    return array.astype(np.int64)


def index_arrays(key: Any) -> Any:
    """An index in which tensors and lists have become arrays that NumPy can index with."""
    if isinstance(key, tuple):
        return tuple(index_arrays(part) for part in key)
    if hasattr(key, "requires_grad"):
        return key.data if key.dtype.kind == "b" else whole_numbers(key.data, "indices")
    return np.asarray(key) if isinstance(key, list) else key


def broadcast_error(operation: str, *shapes: tuple[int, ...]) -> ValueError:
    """The error for shapes that don't broadcast."""
    return ValueError(
        f"{operation}: these shapes do not broadcast:\n{align_shapes(*shapes)}\n"
        "Axes are compared from the last; sizes must be equal, or one of them 1. "
        "Insert an axis with unsqueeze, or reshape one side."
    )


def align_shapes(*shapes: tuple[int, ...]) -> str:
    """Shapes on lines of their own, aligned at the last axis, with a mark under the last one that clashes."""
    rank = max(map(len, shapes))
    cells = [[""] * (rank - len(shape)) + [str(n) for n in shape] for shape in shapes]
    width = max(len(cell) for row in cells for cell in row) if rank else 0
    gap = " " * (width + 2)  # as wide as a size with its comma
    lines = [
        "  (" + gap * (rank - len(shape)) + ", ".join(str(n).rjust(width) for n in shape) + ")"
        for shape in shapes
    ]
    clash = [i for i, column in enumerate(zip(*cells, strict=True)) if len(set(column) - {"1", ""}) > 1]
    if clash:
        lines.append(" " * (3 + clash[-1] * (width + 2) + width - 1) + f"^ axis {clash[-1] - rank}")
    return "\n".join(lines)
