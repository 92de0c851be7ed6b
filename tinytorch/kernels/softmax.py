"""Softmax, its logarithm, and their gradients, along any axis."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_axis, as_floats, copied_into, is_double, same_shapes
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


def _along_axis(kernel: str, axis: Any, out: np.ndarray | None, **arrays: Any) -> np.ndarray:
    """Run a kernel that works along the last axis along any axis, or what stands in its place."""
    values = as_floats(kernel, **arrays)
    last = values[-1]
    if last.ndim == 0:
        raise ValueError(f"{kernel}: {list(arrays)[-1]} is a single number; it needs an axis")
    same_shapes(kernel, **dict(zip(arrays, values, strict=True)))
    axis = as_axis(kernel, last, axis)
    other = alternative(kernel, is_double(last), last.shape)
    if other:
        y = other(*values, axis=axis)
    else:
        moved = [np.ascontiguousarray(np.moveaxis(x, axis, -1)) for x in values]
        y = np.ascontiguousarray(np.moveaxis(getattr(_C, kernel)(*moved, None), -1, axis))
    return y if out is None else copied_into(kernel, out, y)


def softmax(x: ArrayLike, axis: int = -1, *, out: np.ndarray | None = None) -> np.ndarray:
    """exp(x) / sum(exp(x)) along an axis, computed without overflow.

    Parameters
    ----------
    x : array, at least 1-D
    axis : int
    out : array, like x, optional
        Where to write the result; x itself is allowed, other overlaps are copied.

    Returns
    -------
    array, like x
        float32, or float64 when x is float64. A row that holds NaN or inf, or nothing but -inf, gives
        NaN, as in PyTorch.

    Raises
    ------
    ValueError
        When x has no such axis, or out another shape.
    TypeError
        For an x that is not real numbers, or an out of another dtype.
    """
    if axis == -1 and not replacements():
        try:
            return _C.softmax(x, out)
        except REFUSED:
            pass
    return _along_axis("softmax", axis, out, x=x)


def softmax_backward(
    dy: ArrayLike, y: ArrayLike, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of ``softmax`` with respect to x: y * (dy - sum(dy * y)).

    Parameters
    ----------
    dy, y : array, one shape
        The gradient of softmax's result, and the result itself.
    axis : int
    out : array, like y, optional
        dy or y itself is allowed.

    Returns
    -------
    array, like y
    """
    if axis == -1 and not replacements():
        try:
            return _C.softmax_backward(dy, y, out)
        except REFUSED:
            pass
    return _along_axis("softmax_backward", axis, out, dy=dy, y=y)


def log_softmax(x: ArrayLike, axis: int = -1, *, out: np.ndarray | None = None) -> np.ndarray:
    """x - log(sum(exp(x))) along an axis, computed without overflow, within 1e-6 * max(1, abs(x)).

    Parameters and errors are those of ``softmax``.
    """
    if axis == -1 and not replacements():
        try:
            return _C.log_softmax(x, out)
        except REFUSED:
            pass
    return _along_axis("log_softmax", axis, out, x=x)


def log_softmax_backward(
    dy: ArrayLike, y: ArrayLike, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of ``log_softmax`` with respect to x: dy - exp(y) * sum(dy).

    Parameters
    ----------
    dy, y : array, one shape
        The gradient of log_softmax's result, and the result itself.
    axis : int
    out : array, like y, optional
        dy or y itself is allowed.

    Returns
    -------
    array, like y
    """
    if axis == -1 and not replacements():
        try:
            return _C.log_softmax_backward(dy, y, out)
        except REFUSED:
            pass
    return _along_axis("log_softmax_backward", axis, out, dy=dy, y=y)
