"""NumPy in the calling convention of ``tinytorch/_C.pyi``, for families that are not compiled yet.

Temporary: once every family is compiled, this file goes, and ``_registry`` imports ``_C`` itself.
"""

from types import SimpleNamespace

import numpy as np

from . import reference
from .reference.quantize import dequantize_int4, quantize_int4, quantize_positions  # noqa: F401

_ACTIVATIONS = (None, "relu", "gelu")
_GELU = ("none", "tanh", "sigmoid")
_DTYPES = (None, "uint8", "int8")


def _f32(function):
    def call(*args):
        for x in args:
            if not isinstance(x, (np.ndarray, int, float, type(None))):
                raise TypeError("arrays only")
            if isinstance(x, np.ndarray) and x.dtype.kind != "f":
                raise TypeError("float32 arrays only")
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.dtype != np.float32:
                raise TypeError("float32 arrays only")
        y = function(*args)
        return np.ascontiguousarray(y) if isinstance(y, np.ndarray) else y

    return call


def as_float32(x):
    if x.dtype.kind not in "fiub":
        raise TypeError("not real")
    return np.require(x, np.float32, ["C", "A"])


def matmul(a, b, ta, tb, out):
    for x in (a, b):
        if type(x) is not np.ndarray or x.dtype != np.float32 or not x.flags.c_contiguous:
            raise TypeError("matmul: float32 C-contiguous arrays only")
    if a.ndim != b.ndim or a.ndim not in (2, 3):
        raise ValueError("matmul: both 2-D or both 3-D")
    y = reference.matmul(a, b, ta, tb)
    if out is None:
        return np.ascontiguousarray(y)
    if type(out) is not np.ndarray or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise TypeError("matmul: out")
    if out.shape != y.shape or np.may_share_memory(out, a) or np.may_share_memory(out, b):
        raise ValueError("matmul: out")
    out[...] = y
    return out


def linear(x, w, bias, activation):
    for a in (x, w) if bias is None else (x, w, bias):
        if type(a) is not np.ndarray or a.dtype != np.float32 or not a.flags.c_contiguous:
            raise TypeError("linear: float32 C-contiguous arrays only")
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[0]:
        raise ValueError("linear: shapes")
    if bias is not None and bias.shape != (w.shape[1],):
        raise ValueError("linear: bias")
    return reference.linear(x, w, bias, _ACTIVATIONS[activation])


def _pack(w, *_):
    return w.reshape(-1).copy().view(np.uint8)


def _unpack(dtype):
    return lambda packed, *shape: packed.view(dtype).reshape(shape).copy()


def _unpack_conv(dtype):
    return lambda packed, o, i, kh, kw, groups: packed.view(dtype).reshape(o, i, kh, kw).copy()


def matmul_packed(a, packed, k, n, out):
    w = packed.view(np.float32).reshape(k, n)
    if out is None:
        return a @ w
    out[...] = a @ w
    return out


def linear_packed(x, packed, *shape):
    if len(shape) != 4:
        raise TypeError("linear_packed: 6 arguments")
    k, n, bias, activation = shape
    return linear(x, packed.view(np.float32).reshape(k, n), bias, activation)


def conv2d(x, w, bias, sh, sw, ph, pw, dh, dw, groups, activation):
    return reference.conv2d(x, w, bias, (sh, sw), (ph, pw), (dh, dw), groups, _ACTIVATIONS[activation])


def conv2d_packed(x, packed, o, i, kh, kw, *rest):
    return conv2d(x, packed.view(np.float32).reshape(o, i, kh, kw), *rest)


def conv2d_backward(dy, x, w, sh, sw, ph, pw, dh, dw, groups, *needs):
    return reference.conv2d_backward(dy, x, w, (sh, sw), (ph, pw), (dh, dw), groups, needs)


def max_pool2d(x, kh, kw, sh, sw, ph, pw):
    return reference.max_pool2d(x, (kh, kw), (sh, sw), (ph, pw))


def max_pool2d_backward(dy, x, kh, kw, sh, sw, ph, pw):
    return reference.max_pool2d_backward(dy, x, (kh, kw), (sh, sw), (ph, pw))


def avg_pool2d(x, kh, kw, sh, sw, ph, pw):
    return reference.avg_pool2d(x, (kh, kw), (sh, sw), (ph, pw))


def avg_pool2d_backward(dy, h, w, kh, kw, sh, sw, ph, pw):
    shape = (*dy.shape[:2], h, w)
    return reference.avg_pool2d_backward(dy, shape, (kh, kw), (sh, sw), (ph, pw))


def quantize(x, scale, zero_point, axis, signed):
    if np.isnan(x).any():
        raise ValueError("quantize: NaN")
    axis = None if axis < 0 else axis
    return reference.quantize(x, scale, zero_point, axis, "int8" if signed else "uint8")


def dequantize(q, scale, zero_point, axis):
    return reference.dequantize(q, scale, zero_point, None if axis < 0 else axis)


def linear_int8(x_q, xs, xz, packed, k, n, ws, bias, act, kind, os, oz):
    w = packed.view(np.int8).reshape(k, n)
    options = (os if kind else None, oz, _DTYPES[kind])
    return reference.linear_int8(x_q, xs, xz, w, ws, bias, _ACTIVATIONS[act], *options)


def conv2d_int8(
    x_q, xs, xz, packed, o, i, kh, kw, ws, bias, sh, sw, ph, pw, dh, dw, groups, act, kind, os, oz
):
    w = packed.view(np.int8).reshape(o, i, kh, kw)
    window = ((sh, sw), (ph, pw), (dh, dw), groups)
    options = (os if kind else None, oz, _DTYPES[kind])
    return reference.conv2d_int8(x_q, xs, xz, w, ws, bias, *window, _ACTIVATIONS[act], *options)


def pack_int4(w, group_size):
    if not np.isfinite(w).all():
        raise ValueError("pack_int4: NaN or Inf")
    q, scales = quantize_int4(w, group_size)
    if np.isinf(scales).any():
        raise ValueError("pack_int4: a scale is beyond float16")
    flat = (q.reshape(-1).astype(np.int16) + 8).astype(np.uint8)
    flat = np.pad(flat, (0, len(flat) % 2))
    return np.concatenate([scales.reshape(-1).view(np.uint8), flat[::2] | flat[1::2] << 4])


def unpack_int4(packed, k, n, group_size):
    groups = -(-k // group_size)
    scales = packed[: 2 * groups * n].view(np.float16).reshape(groups, n)
    nibbles = packed[2 * groups * n :]
    flat = np.stack([nibbles & 15, nibbles >> 4], axis=-1).reshape(-1)[: k * n]
    return dequantize_int4(flat.astype(np.int8).reshape(k, n) - 8, scales, group_size)


def linear_int4(x, packed, k, n, group_size, bias):
    return reference.linear_int4(x, unpack_int4(packed, k, n, group_size), bias)


def _sparse(values, indices, row_pointers, m, k, r):
    return SimpleNamespace(
        values=values, indices=indices, row_pointers=row_pointers, shape=(m, k), block=(r, 1)
    )


def sparse_matmul(values, indices, row_pointers, m, k, r, x):
    return reference.sparse_matmul(_sparse(values, indices, row_pointers, m, k, r), x)


def sparse_linear(values, indices, row_pointers, m, k, r, x, bias, act):
    w = _sparse(values, indices, row_pointers, m, k, r)
    return reference.sparse_linear(x, w, bias, _ACTIVATIONS[act])


_numpy = {
    "as_float32": as_float32,
    "matmul": matmul,
    "linear": linear,
    "pack_matmul": _pack,
    "unpack_matmul": _unpack(np.float32),
    "matmul_packed": matmul_packed,
    "linear_packed": linear_packed,
    "conv2d": conv2d,
    "conv2d_backward": conv2d_backward,
    "pack_conv2d": _pack,
    "unpack_conv2d": _unpack_conv(np.float32),
    "conv2d_packed": conv2d_packed,
    "max_pool2d": max_pool2d,
    "max_pool2d_backward": max_pool2d_backward,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_backward": avg_pool2d_backward,
    "gelu": _f32(lambda x, form: reference.gelu(x, _GELU[form])),
    "gelu_backward": _f32(lambda dy, x, form: reference.gelu_backward(dy, x, _GELU[form])),
    "softmax": _f32(reference.softmax),
    "softmax_backward": _f32(reference.softmax_backward),
    "log_softmax": _f32(reference.log_softmax),
    "log_softmax_backward": _f32(reference.log_softmax_backward),
    "layer_norm": _f32(reference.layer_norm),
    "layer_norm_backward": reference.layer_norm_backward,
    "rms_norm": _f32(reference.rms_norm),
    "rms_norm_backward": reference.rms_norm_backward,
    "batch_norm2d": reference.batch_norm2d,
    "batch_norm2d_backward": reference.batch_norm2d_backward,
    "cross_entropy": reference.cross_entropy,
    "cross_entropy_backward": reference.cross_entropy_backward,
    "sgd_step": reference.sgd_step,
    "adam_step": reference.adam_step,
    "quantize": quantize,
    "dequantize": dequantize,
    "matmul_int8": reference.matmul_int8,
    "pack_linear_int8": _pack,
    "unpack_linear_int8": _unpack(np.int8),
    "linear_int8": linear_int8,
    "pack_conv2d_int8": _pack,
    "unpack_conv2d_int8": _unpack_conv(np.int8),
    "conv2d_int8": conv2d_int8,
    "pack_int4": pack_int4,
    "unpack_int4": unpack_int4,
    "linear_int4": linear_int4,
    "sparse_matmul": sparse_matmul,
    "sparse_linear": sparse_linear,
    "attention": reference.attention,
    "attention_backward": reference.attention_backward,
    "attention_decode": reference.attention_decode,
    "level": lambda: "numpy",
    "levels": lambda: ["numpy"],
    "set_num_threads": lambda n: None,
    "get_num_threads": lambda: 1,
}

try:
    import tinytorch._C as _compiled

    _found = {name: value for name, value in vars(_compiled).items() if not name.startswith("_")}
except ImportError:
    _found = {}

_C = SimpleNamespace(**{**_numpy, **_found})
