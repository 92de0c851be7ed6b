"""Affine quantization and the kernels that compute on integers."""

import math

import numpy as np

from .activation import activate
from .conv import columns

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def _along(values, axis, ndim):
    """values (C,) shaped to broadcast along one axis, or the one value that serves all."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)] if axis is not None else ())


@np.errstate(all="ignore")
def quantize(x, scale, zero_point=0, axis=None, dtype="int8"):
    """clamp(round_half_even(x / scale) + zero_point)."""
    scale = _along(np.asarray(scale, x.dtype), axis, x.ndim)
    zero_point = _along(np.asarray(zero_point, x.dtype), axis, x.ndim)
    return np.clip(np.rint(x / scale) + zero_point, *_LIMITS[dtype]).astype(dtype)


def dequantize(q, scale, zero_point=0, axis=None):
    """(q - zero_point) * scale, in the dtype of scale."""
    scale = np.asarray(scale)
    zero_point = _along(np.asarray(zero_point, np.int64), axis, q.ndim)
    return (q.astype(np.int64) - zero_point).astype(scale.dtype) * _along(scale, axis, q.ndim)


def quantize_positions(x):
    """int8 and one scale max|x| / 127 for each vector along the last axis: (..., D) -> q, (...)."""
    scale = np.abs(x).max(axis=-1, initial=0) / x.dtype.type(127)
    q = np.rint(x / np.where(scale == 0, x.dtype.type(1), scale)[..., None])
    return q.astype(np.int8), scale


def matmul_int8(a, b):
    """(..., M, K) @ (..., K, N) of integers -> int32."""
    # Sums of 8-bit products stay far below 2^53, so float64 holds them exactly, and has a BLAS.
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int32)


@np.errstate(all="ignore")
def _requantize(acc, scale, bias, activation, out_scale, out_zero_point, out_dtype):
    """int32 sums (..., N) to float32, or to out_dtype when out_scale is given.

    Each line is one float32 operation, so that every CPU gets the same integers.
    """
    if out_scale is None:
        y = acc.astype(np.float32) * scale
        return activate(y if bias is None else y + bias, activation)
    if bias is not None:
        acc = acc + np.clip(np.rint(bias / scale), -(2**30), 2**30).astype(np.int32)
    y = np.rint(acc.astype(np.float32) * (scale / np.float32(out_scale)))
    low, high = _LIMITS[out_dtype]
    if activation == "relu":
        low = max(low, out_zero_point)
    return np.clip(y + np.float32(out_zero_point), low, high).astype(out_dtype)


def linear_int8(
    x_q, x_scale, x_zero_point, w_q, w_scale, bias=None, activation=None,
    out_scale=None, out_zero_point=None, out_dtype="uint8", *, matmul_int8=matmul_int8,
):  # fmt: skip
    """x_q (..., K), w_q int8 (K, N), w_scale (N,) -> (..., N)."""
    rows = x_q.reshape(math.prod(x_q.shape[:-1]), x_q.shape[-1])
    acc = matmul_int8(rows, w_q) - x_zero_point * w_q.sum(axis=0, dtype=np.int32)
    scale = np.float32(x_scale) * w_scale
    y = _requantize(acc, scale, bias, activation, out_scale, out_zero_point, out_dtype)
    return y.reshape(*x_q.shape[:-1], w_q.shape[1])


@np.errstate(all="ignore")
def linear_int8_dynamic(x, w_q, w_scale, bias=None, activation=None, *, matmul_int8=matmul_int8):
    """x (..., K), each row brought to int8 by its own scale; w_q int8 (K, N) -> (..., N)."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    q, row_scale = quantize_positions(np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0))
    row_scale = np.where(np.isfinite(rows).all(axis=1), row_scale, np.float32(np.nan))
    y = (matmul_int8(q, w_q).astype(x.dtype) * w_scale) * row_scale[:, None]
    y = activate(y if bias is None else y + bias, activation)
    return y.reshape(*x.shape[:-1], w_q.shape[1])


@np.errstate(all="ignore")
def add_int8(
    a, a_scale, a_zero_point, b, b_scale, b_zero_point,
    activation=None, out_scale=1.0, out_zero_point=0, out_dtype="uint8",
):  # fmt: skip
    """a + b, each (q - zero_point) * scale, quantized anew."""
    terms = [
        (q.astype(np.int32) - zero_point).astype(np.float32) * (np.float32(scale) / np.float32(out_scale))
        for q, scale, zero_point in ((a, a_scale, a_zero_point), (b, b_scale, b_zero_point))
    ]
    low, high = _LIMITS[out_dtype]
    if activation == "relu":
        low = max(low, out_zero_point)
    return np.clip(np.rint(terms[0] + terms[1]) + np.float32(out_zero_point), low, high).astype(out_dtype)


def conv2d_int8(
    x_q, x_scale, x_zero_point, w_q, w_scale, bias=None, stride=(1, 1), padding=(0, 0),
    dilation=(1, 1), groups=1, activation=None,
    out_scale=None, out_zero_point=None, out_dtype="uint8", *, matmul_int8=matmul_int8,
):  # fmt: skip
    """x_q (N, C, H, W), w_q int8 (O, C/groups, kh, kw), w_scale (O,) -> (N, O, OH, OW)."""
    n, o = x_q.shape[0], w_q.shape[0]
    cols, (oh, ow) = columns(x_q, w_q.shape[2:], stride, padding, dilation, groups, value=x_zero_point)
    # The activations stay on the left: matmul_int8 takes signed weights as its second operand.
    w_columns = w_q.reshape(groups, o // groups, cols.shape[1]).swapaxes(1, 2)
    acc = matmul_int8(cols.swapaxes(1, 2), w_columns)
    acc = acc - x_zero_point * w_columns.sum(axis=1, keepdims=True, dtype=np.int32)
    acc = acc.transpose(1, 0, 2).reshape(n, oh, ow, o)
    scale = np.float32(x_scale) * w_scale
    y = _requantize(acc, scale, bias, activation, out_scale, out_zero_point, out_dtype)
    return np.ascontiguousarray(y.transpose(0, 3, 1, 2))


@np.errstate(all="ignore")
def quantize_int4(w, group_size=32):
    """w (K, N) -> q int8 (K, N) in -8 ... 7, scales float16 (ceil(K / group_size), N)."""
    starts = np.arange(0, w.shape[0], group_size)
    largest = np.maximum.reduceat(np.abs(w), starts) if len(starts) else w
    scales = (largest / np.float32(7)).astype(np.float16)
    spread = np.repeat(scales.astype(np.float32), group_size, axis=0)[: w.shape[0]]
    q = np.where(spread == 0, 0, np.clip(np.rint(w / spread), -8, 7))
    return q.astype(np.int8), scales


def dequantize_int4(q, scales, group_size=32):
    """The weights that quantize_int4 stands for, float32 (K, N)."""
    return q * np.repeat(scales.astype(np.float32), group_size, axis=0)[: q.shape[0]]


def linear_int4(x, w, bias=None):
    """x @ w + bias for weights w that dequantize_int4 gave back."""
    y = np.matmul(x, w)
    return y if bias is None else y + bias
