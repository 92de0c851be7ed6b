"""The sum of two quantized arrays: what a residual connection needs."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._registry import _C, REFUSED, alternative, replacements
from .int8 import _as_bytes, _one_point, _one_scale, _Output, _short_output

__all__ = ["add_int8"]


def add_int8(
    a: ArrayLike,
    a_scale: float,
    a_zero_point: int,
    b: ArrayLike,
    b_scale: float,
    b_zero_point: int,
    *,
    out_scale: float,
    out_zero_point: int | None = None,
    activation: str | None = None,
    out_dtype: str = "uint8",
) -> np.ndarray:
    """activation(a + b) for integers whose scales differ.

    Parameters
    ----------
    a, b : arrays of uint8 or int8, of one shape
    a_scale, b_scale, out_scale : float
    a_zero_point, b_zero_point, out_zero_point : int
        Each array stands for (q - zero_point) * scale.
    activation : None or "relu"
    out_dtype : "uint8" or "int8"

    Returns
    -------
    array of out_dtype, like a
        round((a - a_zero_point) * (a_scale / out_scale) + (b - b_zero_point) * (b_scale / out_scale))
        + out_zero_point, half to even, clamped.

    Raises
    ------
    ValueError
        For shapes that differ, scales that are not above 0, zero points outside their dtype.
    TypeError
        For arrays that are not 8-bit.
    """
    if not replacements():
        try:
            output = _short_output(activation, out_scale, out_zero_point, out_dtype)
            return _C.add_int8(a, a_scale, a_zero_point, b, b_scale, b_zero_point, *output)
        except REFUSED:
            pass
    kernel = "add_int8"
    out = _Output(kernel, activation, out_scale, out_zero_point, out_dtype)
    if activation == "gelu" or out.scale is None:
        raise ValueError(
            f'{kernel}: activation must be None or "relu", and out_scale a number: the sum is an integer'
        )
    terms: list[Any] = []
    for name, q, scale, point in (("a", a, a_scale, a_zero_point), ("b", b, b_scale, b_zero_point)):
        q = _as_bytes(kernel, name, q, ("uint8", "int8"))
        terms += [q, _one_scale(kernel, f"{name}_scale", scale)]
        terms.append(_one_point(kernel, f"{name}_zero_point", point, q.dtype.name))
    a, b = terms[0], terms[3]
    if a.shape != b.shape:
        raise ValueError(
            f"{kernel}: a and b must have one shape\n  a {a.shape}\n  b {b.shape}\n"
            "quantized arrays don't broadcast; is a shortcut's convolution missing?"
        )
    other = alternative(kernel, False, a.shape, dtype=out.dtype)
    if other:
        return other(*terms, *out.fused())
    return _C.add_int8(*terms, *out.numbers())
