"""From floats to 8-bit integers and back."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import reference
from ._checks import as_axis, as_floats, check_choice, is_double
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["dequantize", "quantize"]

_SIGNED = {"int8": True, "uint8": False}
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def as_scales(kernel: str, name: str, scale: Any) -> np.ndarray:
    """One or more scales as float32, each finite and above 0."""
    (scales,) = as_floats(kernel, **{name: scale})
    with np.errstate(over="ignore", under="ignore"):
        scales = scales.astype(np.float32)
    wrong = ~(np.isfinite(scales) & (scales > 0))
    if wrong.any():
        where = f" at index {int(wrong.argmax())}" if scales.size > 1 else ""
        raise ValueError(
            f"{kernel}: {name} must be finite and above 0 in float32, got {scales[wrong].flat[0]}{where}"
        )
    return scales


def as_zero_points(kernel: str, name: str, zero_point: Any, dtype: str) -> np.ndarray:
    """One or more zero points as int32, each a value of the dtype."""
    points = np.asarray(zero_point)
    if points.dtype.kind not in "iu":
        raise TypeError(
            f"{kernel}: {name} must be an integer, the {dtype} value that stands for 0, got {zero_point!r}"
        )
    low, high = LIMITS[dtype]
    wrong = (points < low) | (points > high)
    if wrong.any():
        raise ValueError(
            f"{kernel}: {name} must be a value of {dtype}, in {low} ... {high}, got {points[wrong].flat[0]}"
        )
    return points.astype(np.int32)


def _parameters(
    kernel: str, x: np.ndarray, scale: Any, zero_point: Any, axis: Any, dtype: str
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """scale and zero_point as vectors of equal length, and the axis counted from 0."""
    scales = as_scales(kernel, "scale", scale)
    points = as_zero_points(kernel, "zero_point", zero_point, dtype)
    if axis is None:
        length, where = 1, "one for the whole array; axis= says which axis has one for each element"
    else:
        axis = as_axis(kernel, x, axis) + x.ndim
        length, where = x.shape[axis], f"one, or one for each element of axis {axis} of x {x.shape}"
    for name, values in (("scale", scales), ("zero_point", points)):
        if values.ndim > 1 or values.size not in (1, length):
            raise ValueError(f"{kernel}: {name} must be {where}; its shape is {values.shape}")
    return (
        np.ascontiguousarray(np.broadcast_to(scales.reshape(-1), (length,))),
        np.ascontiguousarray(np.broadcast_to(points.reshape(-1), (length,))),
        axis,
    )


def dtype_name(kernel: str, name: str, dtype: Any) -> str:
    """ "int8" or "uint8", however it was spelled."""
    try:
        spelled = np.dtype(dtype).name
    except TypeError:
        spelled = dtype
    check_choice(kernel, name, spelled, LIMITS)
    return spelled


def quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike = 0,
    *,
    axis: int | None = None,
    dtype: str = "int8",
) -> np.ndarray:
    """round(x / scale) + zero_point as 8-bit integers, half to even, clamped.

    Parameters
    ----------
    x : array, any shape
    scale : float, or array (x.shape[axis],)
        The real distance between neighbouring integers; above 0.
    zero_point : int, or array (x.shape[axis],)
        The integer that stands for 0.
    axis : int, optional
        The axis along which scale and zero_point vary; without it one pair serves all of x.
    dtype : "int8" or "uint8"

    Returns
    -------
    array of dtype, like x

    Raises
    ------
    ValueError
        For a scale that is not above 0, a zero point outside the dtype, or NaN in x, which no
        integer can stand for. Infinities clamp.
    TypeError
        For a zero point that is not an integer.

    Notes
    -----
    Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference" (2018).
    """
    if axis is None and type(scale) is float and type(zero_point) is int and not replacements():
        try:
            pair = (np.array([scale], np.float32), np.array([zero_point], np.int32))
            return _C.quantize(x, *pair, -1, _SIGNED[dtype])
        except REFUSED:
            pass
    (x,) = as_floats("quantize", x=x)
    dtype = dtype_name("quantize", "dtype", dtype)
    scales, points, axis = _parameters("quantize", x, scale, zero_point, axis, dtype)
    other = alternative("quantize", is_double(x), x.shape, dtype=dtype)
    try:
        if not other:
            return _C.quantize(x, scales, points, -1 if axis is None else axis, dtype == "int8")
    except ValueError:
        pass  # C saw a NaN: below is where.
    nan = np.isnan(x)
    if nan.any():
        where = tuple(int(i) for i in np.unravel_index(nan.argmax(), x.shape))
        raise ValueError(f"quantize: x holds NaN at {where}, and no integer can stand for it")
    return (other or reference.quantize)(x, scales, points, axis, dtype)


def dequantize(
    q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike = 0, *, axis: int | None = None
) -> np.ndarray:
    """(q - zero_point) * scale as float32.

    Parameters
    ----------
    q : array of int8, uint8 or int32, any shape
    scale : float, or array (q.shape[axis],)
    zero_point : int, or array (q.shape[axis],)
        A value of q's dtype.
    axis : int, optional

    Returns
    -------
    array of float32, like q

    Raises
    ------
    ValueError, TypeError
        As for ``quantize``.
    """
    q = np.asarray(q, order="C")
    if q.dtype not in (np.int8, np.uint8, np.int32):
        raise TypeError(f"dequantize: q must be int8, uint8 or int32, and is {q.dtype}")
    wide = q.dtype == np.int32
    limits = "int8" if wide else q.dtype.name
    scales, points, axis = _parameters("dequantize", q, scale, zero_point, axis, limits)
    other = alternative("dequantize", False, q.shape)
    if other or wide:
        return (other or reference.dequantize)(q, scales, points, axis)
    return _C.dequantize(q, scales, points, -1 if axis is None else axis)
