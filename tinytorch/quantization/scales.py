"""How integers stand for real numbers: x ≈ scale · (q - zero_point)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import kernels

Array = np.ndarray

INT8_MIN_VALUE, INT8_MAX_VALUE, INT8_RANGE = -128, 127, 256
EPSILON = 1e-8
BYTES_PER_INT8 = 1


@dataclass(frozen=True)
class Scale:
    """x ≈ scale · (q - zero_point).

    Attributes
    ----------
    scale : float, or array of float32 (channels,)
        The real distance between neighbouring integers.
    zero_point : int, or array of int32 (channels,)
        The integer that stands for 0.
    dtype : "uint8" or "int8"
    axis : int, optional
        The axis along which scale and zero_point vary; without it one pair serves all.
    bits : int
        2 to 8: how many of the dtype's integers are used.
    """

    scale: Any
    zero_point: Any
    dtype: str = "uint8"
    axis: int | None = None
    bits: int = 8

    @classmethod
    def of_range(
        cls,
        low: float | Array,
        high: float | Array,
        dtype: str = "uint8",
        *,
        symmetric: bool = False,
        axis: int | None = None,
        bits: int = 8,
    ) -> Scale:
        """The finest scale that covers [low, high] and represents 0 exactly, so that padding stays 0.

        Symmetric means that 0 lies in the middle: -x has the integer -q (around the zero point), and one
        integer, the lowest, stays unused.
        """
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError(
                f"quantization: the range [{low}, {high}] is not finite; look for NaN or Inf in the data"
            )
        least, most = integer_limits(dtype, bits)
        low, high = np.minimum(low, 0.0, dtype=np.float64), np.maximum(high, 0.0, dtype=np.float64)
        if symmetric:
            scale = np.maximum(-low, high) / (most - least - 1) * 2
        else:
            scale = (high - low) / (most - least)
        nothing = scale < np.finfo(np.float32).tiny
        scale = np.where(nothing, 1.0, scale)
        if symmetric:
            zero_point = np.full(scale.shape, (most + least + 1) // 2)
        else:
            zero_point = np.where(nothing, least if dtype == "uint8" else 0, np.rint(least - low / scale))
            zero_point = np.clip(zero_point, least, most)
        if axis is None:
            return cls(float(scale), int(zero_point), dtype, None, bits)
        return cls(scale.astype(np.float32), zero_point.astype(np.int32), dtype, axis, bits)

    def quantize(self, x: Array) -> Array:
        """round(x / scale) + zero_point, half to even, clamped to the integers that `bits` allows."""
        q = kernels.quantize(x, self.scale, self.zero_point, axis=self.axis, dtype=self.dtype)
        return q if self.bits == 8 else np.clip(q, *integer_limits(self.dtype, self.bits))

    def dequantize(self, q: Array) -> Array:
        """scale · (q - zero_point) in float32."""
        return kernels.dequantize(q, self.scale, self.zero_point, axis=self.axis)

    def round(self, x: Array) -> Array:
        """The nearest numbers that the integers can stand for, float32: "fake" quantization."""
        return self.dequantize(self.quantize(x))


def integer_limits(dtype: str, bits: int) -> tuple[int, int]:
    """The least and the largest integer of so many bits."""
    if not 2 <= bits <= 8:
        raise ValueError(f"quantization: bits must be from 2 to 8, got {bits}")
    if dtype not in ("int8", "uint8"):
        raise ValueError(f'quantization: dtype must be "int8" or "uint8", got {dtype!r}')
    least = -(2 ** (bits - 1)) if dtype == "int8" else 0
    return least, least + 2**bits - 1
