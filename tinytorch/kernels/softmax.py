"""Softmax, its logarithm, and their gradients, along any axis."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_axis, as_floats, is_double, same_shapes
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["log_softmax", "log_softmax_backward", "softmax", "softmax_backward"]


def _along_axis(kernel: str, axis: Any, **arrays: Any) -> np.ndarray:
    """Run a kernel that works along the last axis along another one."""
    values = as_floats(kernel, **arrays)
    last = values[-1]
    if last.ndim == 0:
        raise ValueError(f"{kernel}: {list(arrays)[-1]} is a single number; it needs an axis")
    same_shapes(kernel, **dict(zip(arrays, values, strict=True)))
    axis = as_axis(kernel, last, axis)
    other = alternative(kernel, is_double(last), last.shape)
    if other:
        return other(*values, axis=axis)
    if axis == -1:
        return getattr(_C, kernel)(*values)
    moved = [np.ascontiguousarray(np.moveaxis(x, axis, -1)) for x in values]
    return np.ascontiguousarray(np.moveaxis(getattr(_C, kernel)(*moved), -1, axis))


def softmax(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """exp(x) / sum(exp(x)) along an axis, computed without overflow.

    Parameters
    ----------
    x : array, at least 1-D
    axis : int

    Returns
    -------
    array, like x
        float32, or float64 when x is float64. A row of nothing but -inf gives NaN, as in PyTorch.

    Raises
    ------
    ValueError
        When x has no such axis.
    TypeError
        For an x that is not real numbers.
    """
    if axis == -1 and not replacements():
        try:
            return _C.softmax(x)
        except REFUSED:
            pass
    return _along_axis("softmax", axis, x=x)


def softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> np.ndarray:
    """The gradient of ``softmax`` with respect to x: y * (dy - sum(dy * y)).

    Parameters
    ----------
    dy, y : array, one shape
        The gradient of softmax's result, and the result itself.
    axis : int

    Returns
    -------
    array, like y
    """
    return _along_axis("softmax_backward", axis, dy=dy, y=y)


def log_softmax(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """x - log(sum(exp(x))) along an axis, computed without overflow.

    Parameters and errors are those of ``softmax``.
    """
    return _along_axis("log_softmax", axis, x=x)


def log_softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> np.ndarray:
    """The gradient of ``log_softmax`` with respect to x: dy - exp(y) * sum(dy).

    Parameters
    ----------
    dy, y : array, one shape
        The gradient of log_softmax's result, and the result itself.
    axis : int

    Returns
    -------
    array, like y
    """
    return _along_axis("log_softmax_backward", axis, dy=dy, y=y)
