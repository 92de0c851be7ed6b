"""Products of 8-bit integers: exact sums in int32, the same integers on every CPU."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    as_floats,
    as_int,
    as_pair,
    check_axes,
    check_choice,
    check_ndim,
    check_vector,
)
from ._registry import _C, REFUSED, alternative, product, replacements
from .activation import gelu
from .conv import Pair, Window, both, check_packed_groups
from .pool import max_pool2d
from .quantize import as_scales, as_zero_points, dtype_name, quantize

__all__ = ["PackedInt8", "conv2d_int8", "linear_int8", "matmul_int8", "pack_int8"]

_ACTIVATIONS = {None: 0, "relu": 1, "gelu": 0}  # gelu is applied to the float32 result
_OUT_KINDS = {"uint8": 1, "int8": 2}  # 0 is float32
# 255 * 128 * K stays within int32 up to this K; half of it leaves room for the bias.
_MAX_SUM = 65536
_LAYOUTS = {"NCHW": 0, "NHWC": 1}
MAX_POOLED = 16  # elements in a window that conv2d_int8 pools


class PackedInt8:
    """Symmetric INT8 weights in the order the kernels read them; made by ``pack_int8``.

    Attributes
    ----------
    shape : tuple of int
        (K, N), or (O, C / groups, kh, kw) for a convolution.
    scale : array of float32, (N,) or (O,)
        One for each output.
    groups : int
    nbytes : int
        Bytes held, scales and padding included.
    """

    __slots__ = ("_buffer", "_parts", "groups", "scale", "shape")

    def __init__(self, buffer: np.ndarray, shape: tuple[int, ...], scale: np.ndarray, groups: int) -> None:
        self._buffer = buffer
        self.shape = shape
        self.scale = scale
        self.groups = groups
        self._parts = (buffer, *shape, scale)  # as C takes them

    @property
    def nbytes(self) -> int:
        return self._buffer.nbytes + self.scale.nbytes

    def unpack(self) -> np.ndarray:
        """The weights as an ordinary int8 array."""
        if len(self.shape) == 2:
            return _C.unpack_linear_int8(self._buffer, *self.shape)
        return _C.unpack_conv2d_int8(self._buffer, *self.shape, self.groups)

    def __reduce__(self) -> Any:
        # The layout belongs to this machine's CPU level, so a pickle carries the weights themselves.
        return partial(pack_int8, groups=self.groups), (self.unpack(), self.scale)

    def __repr__(self) -> str:
        return f"PackedInt8(shape={self.shape}, nbytes={self.nbytes})"


def _as_bytes(kernel: str, name: str, x: Any, dtypes: tuple[str, ...]) -> np.ndarray:
    array = np.asarray(x, order="C")
    if array.dtype.name not in dtypes:
        raise TypeError(
            f"{kernel}: {name} must be {' or '.join(dtypes)}, and is {array.dtype}; kernels.quantize makes it"
        )
    return array


def matmul_int8(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """The exact product of two integer matrices.

    Parameters
    ----------
    a : array of uint8 or int8, (M, K)
    b : array of int8, (K, N)
        K is at most 65536, so that no sum can overflow.

    Returns
    -------
    array of int32, (M, N)

    Raises
    ------
    ValueError
        When shapes do not fit.
    TypeError
        For other dtypes.
    """
    if not replacements():
        try:
            return _C.matmul_int8(a, b)
        except REFUSED:
            pass
    a = _as_bytes("matmul_int8", "a", a, ("uint8", "int8"))
    b = _as_bytes("matmul_int8", "b", b, ("int8",))
    check_ndim("matmul_int8", "a", a, 2, "(M, K)")
    check_ndim("matmul_int8", "b", b, 2, "(K, N)")
    check_axes(
        "matmul_int8", "the inner axes must be equally long",
        ("a", a.shape, 1), ("b", b.shape, 0), "transpose or reshape one of them",
    )  # fmt: skip
    _check_sum("matmul_int8", a.shape[1], _MAX_SUM)
    if "matmul_int8" in replacements():
        return product("matmul_int8", a, b)
    return _C.matmul_int8(a, b)


def _check_sum(kernel: str, terms: int, most: int) -> None:
    if terms > most:
        raise ValueError(f"{kernel}: sums of {terms} products could overflow int32; at most {most} are exact")


def pack_int8(w: ArrayLike, scale: ArrayLike, *, groups: int = 1) -> PackedInt8:
    """Bring symmetric INT8 weights into the order the kernels read them in.

    Parameters
    ----------
    w : array of int8, (K, N) or (O, C / groups, kh, kw)
        Integers that stand for w * scale (zero point 0).
    scale : float, or array (N,) or (O,)
        One for all, or one for each output column or channel.
    groups : int
        The groups of the convolution that will use the weights.

    Returns
    -------
    PackedInt8

    Raises
    ------
    ValueError
        For other shapes, a scale that is not above 0, or more than 32768 terms in a sum.
    TypeError
        For weights that are not int8.
    """
    w = _as_bytes("pack_int8", "w", w, ("int8",))
    if w.ndim not in (2, 4):
        raise ValueError(
            f"pack_int8: w must have 2 axes (K, N) or 4 axes (O, C/groups, kh, kw), got shape {w.shape}"
        )
    matrix = w.ndim == 2
    groups = as_int("pack_int8", "groups", groups, 1, 1 if matrix else None)
    if not matrix and w.shape[0] % groups:
        raise ValueError(f"pack_int8: {w.shape[0]} output channels do not divide into {groups} groups")
    outputs = w.shape[1] if matrix else w.shape[0]
    _check_sum("pack_int8", w.shape[0] if matrix else math.prod(w.shape[1:]), _MAX_SUM // 2)
    scales = as_scales("pack_int8", "scale", scale)
    if scales.size == 1:
        scales = np.broadcast_to(scales.reshape(-1), (outputs,))
    check_vector("pack_int8", "scale", scales, outputs, "output")
    buffer = _C.pack_linear_int8(w) if matrix else _C.pack_conv2d_int8(w, groups)
    return PackedInt8(buffer, w.shape, np.array(scales, np.float32), groups)


class _Output:
    """What comes out of an INT8 layer, checked: its dtype, scale and zero point."""

    __slots__ = ("activation", "dtype", "scale", "zero_point")

    def __init__(self, kernel: str, activation: Any, scale: Any, zero_point: Any, dtype: Any):
        check_choice(kernel, "activation", activation, _ACTIVATIONS)
        self.activation = activation
        self.scale: float | None = None
        self.zero_point = 0
        self.dtype = "float32"
        if scale is None:
            if zero_point is not None:
                raise ValueError(
                    f"{kernel}: out_zero_point without out_scale; the float32 result has neither"
                )
            return
        self.dtype = dtype_name(kernel, "out_dtype", dtype)
        self.scale = _one_scale(kernel, "out_scale", scale)
        self.zero_point = _one_point(kernel, "out_zero_point", zero_point or 0, self.dtype)

    def fused(self) -> tuple[Any, ...]:
        """For the reference: activation, out_scale, out_zero_point, out_dtype."""
        return self.activation, self.scale, self.zero_point, self.dtype

    def numbers(self) -> tuple[Any, ...]:
        """The same in the form in which C takes it."""
        kind = _OUT_KINDS.get(self.dtype, 0)
        return _ACTIVATIONS[self.activation], kind, self.scale or 1.0, self.zero_point

    def through_gelu(self, y: np.ndarray) -> np.ndarray:
        """gelu of a float32 result, quantized if that was asked for."""
        y = gelu(y)
        if self.scale is None:
            return y
        return quantize(y, self.scale, self.zero_point, dtype=self.dtype)


def _short_output(activation: Any, scale: Any, zero_point: Any, dtype: Any) -> tuple[Any, ...]:
    """_Output.numbers without the checks that C makes itself; KeyError for what it cannot check."""
    if activation == "gelu" or (scale is None and zero_point is not None):
        raise KeyError
    if scale is None:
        return _ACTIVATIONS[activation], 0, 1.0, 0
    return _ACTIVATIONS[activation], _OUT_KINDS[dtype], scale, zero_point or 0


def _one_scale(kernel: str, name: str, scale: Any) -> float:
    scales = as_scales(kernel, name, scale)
    if scales.size != 1:
        raise ValueError(f"{kernel}: {name} must be one number, got shape {scales.shape}")
    return scales.item()


def _one_point(kernel: str, name: str, zero_point: Any, dtype: str) -> int:
    points = as_zero_points(kernel, name, zero_point, dtype)
    if points.size != 1:
        raise ValueError(f"{kernel}: {name} must be one integer, got shape {points.shape}")
    return points.item()


def _inputs(
    kernel: str, x_q: Any, x_scale: Any, x_zero_point: Any, packed: Any, bias: Any, ndim: int, out: _Output
) -> tuple[np.ndarray, float, int, np.ndarray | None]:
    if not isinstance(packed, PackedInt8):
        raise TypeError(f"{kernel}: packed must come from pack_int8(w, scale), got {type(packed).__name__}")
    if len(packed.shape) != ndim:
        wanted = "a matrix (K, N)" if ndim == 2 else "convolution weights (O, C/groups, kh, kw)"
        raise ValueError(f"{kernel}: packed has shape {packed.shape}; pack {wanted}")
    x_q = _as_bytes(kernel, "x_q", x_q, ("uint8", "int8"))
    scale = _one_scale(kernel, "x_scale", x_scale)
    point = _one_point(kernel, "x_zero_point", x_zero_point, x_q.dtype.name)
    if bias is not None:
        (bias,) = as_floats(kernel, ("bias",), bias=bias)
        bias = _C.as_float32(bias)
        check_vector(kernel, "bias", bias, len(packed.scale), "output")
        if out.scale is not None and np.isnan(bias).any():
            raise ValueError(f"{kernel}: bias holds NaN at index {int(np.isnan(bias).argmax())}")
    return x_q, scale, point, bias


def linear_int8(
    x_q: ArrayLike,
    x_scale: float,
    x_zero_point: int,
    packed: PackedInt8,
    bias: ArrayLike | None = None,
    *,
    activation: str | None = None,
    out_scale: float | None = None,
    out_zero_point: int | None = None,
    out_dtype: str = "uint8",
) -> np.ndarray:
    """The fully connected layer on integers: activation(x @ w + bias).

    Parameters
    ----------
    x_q : array of uint8 or int8, (..., K)
        Stands for (x_q - x_zero_point) * x_scale.
    x_scale : float
    x_zero_point : int
    packed : PackedInt8
        Weights (K, N).
    bias : array, (N,), optional
        Real values.
    activation : None, "relu" or "gelu"
        gelu is computed on the float32 result.
    out_scale : float, optional
        With it the result is quantized; without it, it is float32.
    out_zero_point : int, optional
        0 when left out.
    out_dtype : "uint8" or "int8"

    Returns
    -------
    array, (..., N)
        float32, or out_dtype when out_scale is given.

    Raises
    ------
    ValueError
        For shapes that do not fit, scales that are not above 0, zero points outside their dtype.
    TypeError
        For an x_q that is not 8-bit, or weights that are not packed.

    Notes
    -----
    Jacob et al. (2018); requantization is one float32 multiplication, rounded half to even.
    """
    if isinstance(packed, PackedInt8) and not replacements():
        try:
            output = _short_output(activation, out_scale, out_zero_point, out_dtype)
            return _C.linear_int8(x_q, x_scale, x_zero_point, *packed._parts, bias, *output)
        except REFUSED:
            pass
    kernel = "linear_int8"
    out = _Output(kernel, activation, out_scale, out_zero_point, out_dtype)
    if activation == "gelu":
        return out.through_gelu(linear_int8(x_q, x_scale, x_zero_point, packed, bias))
    x_q, scale, point, bias = _inputs(kernel, x_q, x_scale, x_zero_point, packed, bias, 2, out)
    if x_q.ndim == 0:
        raise ValueError(f"{kernel}: x_q is a single number; it needs an axis")
    check_axes(
        kernel, "the last axis of x_q must be as long as the first of packed",
        ("x_q", x_q.shape, -1), ("packed", packed.shape, 0), "weights are packed as (in, out)",
    )  # fmt: skip
    shape = (*x_q.shape[:-1], packed.shape[1])
    other = alternative(kernel, False, shape, dtype=out.dtype)
    if other:
        return other(x_q, scale, point, packed.unpack(), packed.scale, bias, *out.fused())
    return _C.linear_int8(x_q, scale, point, *packed._parts, bias, *out.numbers())


def conv2d_int8(
    x_q: ArrayLike,
    x_scale: float,
    x_zero_point: int,
    packed: PackedInt8,
    bias: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
    max_pool: Pair | None = None,
    out_scale: float | None = None,
    out_zero_point: int | None = None,
    out_dtype: str = "uint8",
    x_layout: str = "NCHW",
    out_layout: str = "NCHW",
) -> np.ndarray:
    """2-D convolution on integers, and the max pooling after it.

    Parameters
    ----------
    x_q : array of uint8 or int8, (N, C, H, W) or (N, H, W, C)
        As x_layout says. Stands for (x_q - x_zero_point) * x_scale; padding holds x_zero_point, the real 0.
    x_scale, x_zero_point, bias, activation, out_scale, out_zero_point, out_dtype
        As for ``linear_int8``; bias is (O,).
    packed : PackedInt8
        Weights (O, C / groups, kh, kw), packed with the same groups.
    stride, padding, dilation, groups
        As for ``conv2d``.
    max_pool : int or (height, width), optional
        What ``max_pool2d`` would do with the result, windows side by side: OH and OW divided by this. It
        costs next to nothing here, since the sums are pooled before they become results. At most 16
        elements to a window.
    x_layout, out_layout : "NCHW" or "NHWC"
        The kernel multiplies pixels whose channels lie side by side, so a chain of convolutions saves two
        transpositions for each layer where the images between them stay NHWC.

    Returns
    -------
    array, (N, O, OH, OW) or (N, OH, OW, O)
        float32, or out_dtype when out_scale is given.

    Raises
    ------
    ValueError, TypeError
        As for ``conv2d`` and ``linear_int8``.
    """
    if isinstance(packed, PackedInt8) and packed.groups == groups and not replacements():
        try:
            weights = (*packed._parts, bias)
            moves = (*both(stride), *both(padding), *both(dilation), groups)
            output = _short_output(activation, out_scale, out_zero_point, out_dtype)
            form = (_LAYOUTS[x_layout], _LAYOUTS[out_layout], *both(max_pool or 1))
            return _C.conv2d_int8(x_q, x_scale, x_zero_point, *weights, *moves, *output, *form)
        except REFUSED:
            pass
    kernel = "conv2d_int8"
    window = Window(kernel, stride, padding, dilation, groups)
    out = _Output(kernel, activation, out_scale, out_zero_point, out_dtype)
    pool = _max_pool(kernel, max_pool)
    check_choice(kernel, "x_layout", x_layout, _LAYOUTS)
    check_choice(kernel, "out_layout", out_layout, _LAYOUTS)
    if activation == "gelu":
        real = conv2d_int8(x_q, x_scale, x_zero_point, packed, bias, **window.options(), x_layout=x_layout)
        return _in_layout(max_pool2d(out.through_gelu(real), pool), out_layout)
    x_q, scale, point, bias = _inputs(kernel, x_q, x_scale, x_zero_point, packed, bias, 4, out)
    check_packed_groups(kernel, packed, window.groups)
    check_ndim(kernel, "x_q", x_q, 4, "(N, C, H, W)" if x_layout == "NCHW" else "(N, H, W, C)")
    planes = x_q if x_layout == "NCHW" else x_q.transpose(0, 3, 1, 2)
    shape = window.output_shape(kernel, planes.shape, packed.shape, "packed")
    other = alternative(kernel, False, shape, dtype=out.dtype)
    if other:
        weights = (packed.unpack(), packed.scale, bias)
        y = other(planes, scale, point, *weights, *window.options().values(), *out.fused())
        return _in_layout(max_pool2d(y, pool), out_layout)
    weights = (*packed._parts, bias)
    form = (_LAYOUTS[x_layout], _LAYOUTS[out_layout], *pool)
    return _C.conv2d_int8(x_q, scale, point, *weights, *window.numbers(), *out.numbers(), *form)


def _max_pool(kernel: str, max_pool: Any) -> tuple[int, int]:
    pool = as_pair(kernel, "max_pool", 1 if max_pool is None else max_pool, 1)
    if math.prod(pool) > MAX_POOLED:
        raise ValueError(
            f"{kernel}: max_pool {pool} takes {math.prod(pool)} elements to a window, at most {MAX_POOLED}; "
            f"call max_pool2d on the result"
        )
    return pool


def _in_layout(planes: np.ndarray, layout: str) -> np.ndarray:
    """An array (N, C, H, W) as the layout says."""
    return planes if layout == "NCHW" else np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
