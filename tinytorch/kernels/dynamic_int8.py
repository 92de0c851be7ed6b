"""INT8 weights for inputs in float32, whose scales are found while they pass."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, check_axes, check_choice, check_vector, is_double
from ._registry import _C, REFUSED, alternative, replacements
from .activation import gelu
from .int8 import _ACTIVATIONS, PackedInt8

__all__ = ["linear_int8_dynamic"]


def linear_int8_dynamic(
    x: ArrayLike, packed: PackedInt8, bias: ArrayLike | None = None, *, activation: str | None = None
) -> np.ndarray:
    """activation(x @ w + bias), each row of x brought to int8 by its own scale max|x| / 127.

    A row's result depends on no other row, so that one token alone gets what it gets in a sentence.

    Parameters
    ----------
    x : array, (..., K)
    packed : PackedInt8
        Weights (K, N).
    bias : array, (N,), optional
    activation : None, "relu" or "gelu"

    Returns
    -------
    array, (..., N)
        float32: (sums of integers) * w_scale * (scale of the row) + bias. Rows that hold NaN or infinity
        are NaN.

    Raises
    ------
    ValueError
        When shapes do not fit.
    TypeError
        For weights that are not packed.
    """
    if isinstance(packed, PackedInt8) and len(packed.shape) == 2 and not replacements():
        try:
            code = _ACTIVATIONS[activation]
            y = _C.linear_int8_dynamic(x, *packed._parts, bias, code)
            return gelu(y) if activation == "gelu" else y
        except REFUSED:
            pass
    kernel = "linear_int8_dynamic"
    if not isinstance(packed, PackedInt8) or len(packed.shape) != 2:
        raise TypeError(f"{kernel}: packed must be a matrix from pack_int8(w, scale), got {packed!r:.60}")
    check_choice(kernel, "activation", activation, _ACTIVATIONS)
    x, bias = as_floats(kernel, ("bias",), x=x, bias=bias)
    if x.ndim == 0:
        raise ValueError(f"{kernel}: x is a single number; it needs an axis of {packed.shape[0]}")
    check_axes(
        kernel, "the last axis of x must be as long as the first of packed",
        ("x", x.shape, -1), ("packed", packed.shape, 0), "weights are packed as (in, out)",
    )  # fmt: skip
    check_vector(kernel, "bias", bias, packed.shape[1], "output")
    other: Any = alternative(kernel, is_double(x), (*x.shape[:-1], packed.shape[1]))
    if other:
        return other(x, packed.unpack(), packed.scale, bias, activation)
    y = _C.linear_int8_dynamic(_C.as_float32(x), *packed._parts, bias, _ACTIVATIONS[activation])
    return gelu(y) if activation == "gelu" else y
