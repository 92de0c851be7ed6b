"""Max and average pooling and their gradients."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, as_int, as_pair, check_gradient, check_ndim, copied_into, is_double, lined_up
from ._registry import _C, REFUSED, alternative, replacements
from .conv import Pair, Window, both

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_with_places",
]


def _window(
    kernel: str, x_shape: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[tuple[int, int], ...], tuple[int, int, int, int]]:
    """(kernel_size, stride, padding) as pairs, and the shape of the result."""
    size = as_pair(kernel, "kernel_size", kernel_size, 1)
    window = Window(kernel, size if stride is None else stride, padding, 1, 1)
    if any(2 * p > k for p, k in zip(window.padding, size, strict=True)):
        raise ValueError(
            f"{kernel}: padding {window.padding} is more than half of kernel_size {size}, so some "
            f"windows would hold nothing but padding"
        )
    shape = window.output_shape(kernel, x_shape, (x_shape[1], x_shape[1], *size), "the window")
    return (size, window.stride, window.padding), shape


def _flat(kernel_size: Any, stride: Any, padding: Any) -> tuple[Any, ...]:
    """A window as C takes it."""
    return (*both(kernel_size), *both(kernel_size if stride is None else stride), *both(padding))


def _pool(
    kernel: str, x: Any, kernel_size: Any, stride: Any, padding: Any, out: np.ndarray | None
) -> np.ndarray:
    if not replacements():
        try:
            return getattr(_C, kernel)(x, *_flat(kernel_size, stride, padding), out)
        except REFUSED:
            pass
    if kernel == "max_pool2d" and getattr(x, "dtype", None) in (np.int8, np.uint8):
        x = np.ascontiguousarray(x)  # the largest integer stands for the largest value
    else:
        (x,) = as_floats(kernel, x=x)
    check_ndim(kernel, "x", x, 4, "(N, C, H, W)")
    window, shape = _window(kernel, x.shape, kernel_size, stride, padding)
    other = alternative(kernel, is_double(x), shape, dtype=x.dtype)
    y = other(x, *window) if other else getattr(_C, kernel)(x, *window[0], *window[1], *window[2], None)
    return y if out is None else copied_into(kernel, out, y)


def max_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The maximum of each window.

    Parameters
    ----------
    x : array, (N, C, H, W)
        int8 and uint8 stay what they are: the largest integer stands for the largest value.
    kernel_size : int or (height, width)
    stride : int or (height, width), optional
        kernel_size when left out, so that windows do not overlap.
    padding : int or (height, width)
        At most half of kernel_size. It counts as -inf.
    out : array, (N, C, OH, OW), optional
        Where to write the result.

    Returns
    -------
    array, (N, C, OH, OW)
        OH = (H + 2 * padding - kh) // stride + 1. A window that holds a NaN gives NaN.

    Raises
    ------
    ValueError
        When x does not have 4 axes, the window does not fit, or out has another shape.
    """
    return _pool("max_pool2d", x, kernel_size, stride, padding, out)


def max_pool2d_with_places(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """``max_pool2d`` for a training step: its result, and what spares its gradient to look for maxima again.

    Parameters are those of ``max_pool2d``.

    Returns
    -------
    y : array, (N, C, OH, OW)
    places : array of uint16, (N, C, OH, OW), or None
        Where the first maximum of each window lies: r * W + s for row r and column s of the window. None
        where a window spans more than 65536 elements of x, where x had to be converted or laid out anew, and
        where another function than the compiled kernel runs.
    """
    if not replacements():
        try:
            return _C.max_pool2d_with_places(x, *_flat(kernel_size, stride, padding), out)
        except REFUSED:
            pass
    return _pool("max_pool2d", x, kernel_size, stride, padding, out), None


def max_pool2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    places: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The gradient of ``max_pool2d``: each window's first maximum takes all of its share of dy.

    Parameters
    ----------
    dy : array, (N, C, OH, OW)
    x, kernel_size, stride, padding
        What max_pool2d was given.
    places : array, (N, C, OH, OW), optional
        What max_pool2d_with_places returned; the values of x are then not read.
    out : array, like x, optional
        Where to write the result.

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    ValueError
        When shapes do not match, or a place is outside its window. Whether a place inside is the right one is
        not looked into.
    """
    kernel = "max_pool2d_backward"
    if not replacements():
        try:
            return _C.max_pool2d_backward(dy, x, places, *_flat(kernel_size, stride, padding), out)
        except REFUSED:
            pass
    dy, x = as_floats(kernel, dy=dy, x=x)
    check_ndim(kernel, "x", x, 4, "(N, C, H, W)")
    window, shape = _window(kernel, x.shape, kernel_size, stride, padding)
    check_gradient(kernel, dy, shape)
    places = _checked_places(kernel, places, shape)
    other = alternative(kernel, is_double(x), x.shape)
    dx = (
        other(dy, x, *window)
        if other
        else _C.max_pool2d_backward(dy, x, places, *window[0], *window[1], *window[2], None)
    )
    return dx if out is None else copied_into(kernel, out, dx)


def _checked_places(kernel: str, places: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if places is None:
        return None
    if not isinstance(places, np.ndarray) or places.dtype != np.uint16:
        raise TypeError(f"{kernel}: places must be the uint16 array that max_pool2d_with_places returned")
    if places.shape != shape:
        raise ValueError(
            f"{kernel}: places must have the shape of the pooled result\n"
            + lined_up(result=np.empty(shape, np.bool_), places=places)
        )
    return np.ascontiguousarray(places)


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of each window; padding counts as zeros, and in the divisor kh * kw.

    Parameters and result are those of ``max_pool2d``.
    """
    return _pool("avg_pool2d", x, kernel_size, stride, padding, out)


def avg_pool2d_backward(
    dy: ArrayLike,
    x_shape: tuple[int, int, int, int],
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The gradient of ``avg_pool2d``: every element of a window takes dy / (kh * kw).

    Parameters
    ----------
    dy : array, (N, C, OH, OW)
    x_shape : (N, C, H, W)
        The shape of what avg_pool2d was given; the values do not matter.
    kernel_size, stride, padding
        What avg_pool2d was given.
    out : array, (N, C, H, W), optional
        Where to write the result.

    Returns
    -------
    array, (N, C, H, W)
    """
    kernel = "avg_pool2d_backward"
    if not replacements():
        try:
            batch, channels, height, width = x_shape
            if isinstance(dy, np.ndarray) and dy.shape[:2] == (batch, channels):
                return _C.avg_pool2d_backward(dy, height, width, *_flat(kernel_size, stride, padding), out)
        except REFUSED:
            pass
    (dy,) = as_floats(kernel, dy=dy)
    if not isinstance(x_shape, (tuple, list)) or len(x_shape) != 4:
        raise ValueError(f"{kernel}: x_shape must be the 4 sizes (N, C, H, W), got {x_shape!r}")
    sizes = tuple(as_int(kernel, "a size in x_shape", size, 0) for size in x_shape)
    window, shape = _window(kernel, sizes, kernel_size, stride, padding)
    check_gradient(kernel, dy, shape)
    other = alternative(kernel, is_double(dy), sizes)
    dx = (
        other(dy, sizes, *window)
        if other
        else _C.avg_pool2d_backward(dy, *sizes[2:], *window[0], *window[1], *window[2], None)
    )
    return dx if out is None else copied_into(kernel, out, dx)
