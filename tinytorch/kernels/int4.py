"""Weights in 4 bits, for layers whose speed is the memory's."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, as_int, check_axes, check_ndim, check_vector, is_double
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["PackedInt4", "linear_int4", "pack_int4"]


class PackedInt4:
    """Weights in 4 bits with one scale for each group; made by ``pack_int4``.

    Attributes
    ----------
    shape : (K, N)
    group_size : int
        How many consecutive weights of a column share a scale.
    nbytes : int
        Bytes held, scales and padding included.
    """

    __slots__ = ("_buffer", "group_size", "shape")

    def __init__(self, buffer: np.ndarray, shape: tuple[int, int], group_size: int) -> None:
        self._buffer = buffer
        self.shape = shape
        self.group_size = group_size

    @property
    def nbytes(self) -> int:
        return self._buffer.nbytes

    def unpack(self) -> np.ndarray:
        """The weights that the 4-bit integers stand for, float32 (K, N)."""
        return _C.unpack_int4(self._buffer, *self.shape, self.group_size)

    def __reduce__(self) -> Any:
        # The layout belongs to this machine's CPU level, so a pickle carries the weights themselves.
        return pack_int4, (self.unpack(), self.group_size)

    def __repr__(self) -> str:
        return f"PackedInt4(shape={self.shape}, group_size={self.group_size}, nbytes={self.nbytes})"


def pack_int4(w: ArrayLike, group_size: int = 32) -> PackedInt4:
    """Round weights to 4 bits: symmetric, one float16 scale for each group along K.

    Parameters
    ----------
    w : array, (K, N)
    group_size : int
        A multiple of 32. Small groups follow the weights more closely and cost 16 / group_size bits
        more for each weight.

    Returns
    -------
    PackedInt4
        scale = max|w| / 7 of the group, q = round(w / scale) in -8 ... 7.

    Raises
    ------
    ValueError
        For another shape or group size, NaN or Inf in w, or weights beyond float16's range.
    """
    (w,) = as_floats("pack_int4", w=w)
    w = _C.as_float32(w)
    check_ndim("pack_int4", "w", w, 2, "(K, N)")
    group_size = as_int("pack_int4", "group_size", group_size, 32)
    if group_size % 32:
        raise ValueError(f"pack_int4: group_size must be a multiple of 32, got {group_size}")
    try:
        return PackedInt4(_C.pack_int4(w, group_size), w.shape, group_size)
    except ValueError:
        wrong = ~(np.abs(w) <= 7 * 65504.0)
        if not wrong.any():
            raise
        where = tuple(int(i) for i in np.unravel_index(wrong.argmax(), w.shape))
        raise ValueError(
            f"pack_int4: w holds {w[where]} at {where}; 4-bit weights must be finite, and within "
            f"7 * 65504 for their float16 scale"
        ) from None


# What x is multiplied as, and whether C quantizes it for that.
_X_DTYPES = {"int8": True, "float32": False}


def linear_int4(
    x: ArrayLike,
    packed: PackedInt4,
    bias: ArrayLike | None = None,
    *,
    x_dtype: Literal["int8", "float32"] = "int8",
) -> np.ndarray:
    """x @ w + bias with 4-bit weights: one eighth of the bytes to read.

    Parameters
    ----------
    x : array, (..., K)
    packed : PackedInt4
        Weights (K, N).
    bias : array, (N,), optional
    x_dtype : {"int8", "float32"}
        What x is multiplied as. "int8" rounds it to 8 bits on the way, with one scale for each row
        and group, so that a product is one cheap instruction on bytes. Each element of x is then
        off by at most max|x| / 254 of its group, and y[n] by at most the sum over k of that times
        |w[k, n]|; the rounding of the weights themselves allows max|w| / 14 of a group for each.
        "float32" leaves x as it is and opens the weights to floats instead: y differs from
        ``x @ packed.unpack()`` only by float32's rounding, at the price of more instructions.

    Returns
    -------
    array, (..., N)
        float32. Rows that hold NaN or Inf are multiplied in float32 whatever x_dtype says. float64
        when x is float64, and then nothing is rounded.

    Raises
    ------
    ValueError
        When shapes do not fit, or for another x_dtype.
    TypeError
        When the weights are not packed by ``pack_int4``.
    """
    if isinstance(packed, PackedInt4) and not replacements():
        try:
            quantize_x = _X_DTYPES[x_dtype]
            return _C.linear_int4(x, packed._buffer, *packed.shape, packed.group_size, bias, quantize_x)
        except REFUSED:
            pass
    kernel = "linear_int4"
    if not isinstance(packed, PackedInt4):
        raise TypeError(f"{kernel}: packed must come from pack_int4(w), got {type(packed).__name__}")
    if x_dtype not in tuple(_X_DTYPES):
        raise ValueError(f"{kernel}: x_dtype must be 'int8' or 'float32', got {x_dtype!r}")
    x, bias = as_floats(kernel, ("bias",), x=x, bias=bias)
    if x.ndim == 0:
        raise ValueError(f"{kernel}: x is a single number; it needs an axis of {packed.shape[0]}")
    check_axes(
        kernel, "the last axis of x must be as long as the first of packed",
        ("x", x.shape, -1), ("packed", packed.shape, 0), "weights are packed as (in, out)",
    )  # fmt: skip
    check_vector(kernel, "bias", bias, packed.shape[1], "output")
    other = alternative(kernel, is_double(x), (*x.shape[:-1], packed.shape[1]))
    if other:
        return other(x, packed.unpack(), bias)
    return _C.linear_int4(x, packed._buffer, *packed.shape, packed.group_size, bias, _X_DTYPES[x_dtype])
