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


def _refusing(function):
    """The function, refusing what C refuses: other dtypes, layouts and kinds of argument."""

    def call(*args):
        for x in args:
            if isinstance(x, np.ndarray):
                if not x.flags.c_contiguous or x.dtype == np.float64 or x.dtype.kind == "O":
                    raise TypeError("arrays of another layout or dtype")
            elif not isinstance(x, (int, float, list, type(None))):
                raise TypeError("other kinds of argument")
        if not isinstance(args[0], (np.ndarray, list, float)):
            raise TypeError("an array comes first")
        try:
            y = function(*args)
        except Exception as error:
            raise ValueError(str(error)) from error
        return np.ascontiguousarray(y) if isinstance(y, np.ndarray) and y.ndim else y

    return call


def _check_conv(x, w_shape, bias, stride, padding, dilation, groups):
    from .conv import Window

    if x.ndim != 4 or (bias is not None and bias.shape != (w_shape[0],)):
        raise ValueError("shapes")
    Window("", stride, padding, dilation, groups).output_shape("", x.shape, w_shape)


def _check_pool(x, kernel, stride, padding):
    from .pool import _window

    if x.ndim != 4:
        raise ValueError("shapes")
    _window("", x.shape, kernel, stride, padding)


def _check_floats(*arrays):
    for x in arrays:
        if x is not None and (type(x) is not np.ndarray or x.dtype != np.float32):
            raise TypeError("float32 only")


def _check_vectors(x, *vectors):
    _check_floats(x, *vectors)
    for vector in vectors:
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError("one value for each feature")


def _check_lists(*lists):
    for arrays in lists:
        for p, x in zip(lists[0], arrays, strict=True):
            _check_floats(x)
            if (
                x.shape != p.shape
                or not x.flags.c_contiguous
                or not (arrays is lists[1] or x.flags.writeable)
            ):
                raise ValueError("lists")


def _layer_norm(x, weight, bias, eps):
    _check_vectors(x, weight, bias)
    return reference.layer_norm(x, weight, bias, eps)


def _rms_norm(x, weight, eps):
    _check_vectors(x, weight)
    return reference.rms_norm(x, weight, eps)


def _sgd_step(params, grads, buffers, *numbers):
    _check_lists(params, grads, *([buffers] if buffers is not None else []))
    return reference.sgd_step(params, grads, buffers, *numbers)


def _adam_step(params, grads, m, v, *numbers):
    _check_lists(params, grads, m, v)
    return reference.adam_step(params, grads, m, v, *numbers)


def _attention(q, k, v, *rest):
    from .attention import _check_heads

    _check_floats(q, k, v)
    _check_heads("", q, k, v)
    return reference.attention(q, k, v, *rest)


def _over_floats(function):
    def call(x, *rest):
        _check_floats(x)
        return function(x, *rest)

    return call


def _check_int8(x_q, x_scale, x_zero_point, w_scale, bias, kind, out_scale, out_zero_point):
    from .quantize import as_scales, as_zero_points

    if x_q.dtype not in (np.uint8, np.int8):
        raise TypeError("bytes only")
    as_scales("", "", x_scale)
    as_zero_points("", "", x_zero_point, x_q.dtype.name)
    if bias is not None:
        _check_floats(bias)
        if bias.shape != w_scale.shape or (kind and np.isnan(bias).any()):
            raise ValueError("bias")
    if kind:
        as_scales("", "", out_scale)
        as_zero_points("", "", out_zero_point, _DTYPES[kind])


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
    _check_floats(x, w, bias)
    _check_conv(x, w.shape, bias, (sh, sw), (ph, pw), (dh, dw), groups)
    return reference.conv2d(x, w, bias, (sh, sw), (ph, pw), (dh, dw), groups, _ACTIVATIONS[activation])


def conv2d_packed(x, packed, o, i, kh, kw, *rest):
    return conv2d(x, packed.view(np.float32).reshape(o, i, kh, kw), *rest)


def conv2d_backward(dy, x, w, sh, sw, ph, pw, dh, dw, groups, *needs):
    return reference.conv2d_backward(dy, x, w, (sh, sw), (ph, pw), (dh, dw), groups, needs)


def max_pool2d(x, kh, kw, sh, sw, ph, pw):
    _check_floats(x)
    _check_pool(x, (kh, kw), (sh, sw), (ph, pw))
    return reference.max_pool2d(x, (kh, kw), (sh, sw), (ph, pw))


def max_pool2d_backward(dy, x, kh, kw, sh, sw, ph, pw):
    return reference.max_pool2d_backward(dy, x, (kh, kw), (sh, sw), (ph, pw))


def avg_pool2d(x, kh, kw, sh, sw, ph, pw):
    _check_floats(x)
    _check_pool(x, (kh, kw), (sh, sw), (ph, pw))
    return reference.avg_pool2d(x, (kh, kw), (sh, sw), (ph, pw))


def avg_pool2d_backward(dy, h, w, kh, kw, sh, sw, ph, pw):
    shape = (*dy.shape[:2], h, w)
    return reference.avg_pool2d_backward(dy, shape, (kh, kw), (sh, sw), (ph, pw))


def quantize(x, scale, zero_point, axis, signed):
    from .quantize import as_scales, as_zero_points

    _check_floats(x)
    as_scales("", "", scale)
    as_zero_points("", "", zero_point, "int8" if signed else "uint8")
    if np.isnan(x).any():
        raise ValueError("quantize: NaN")
    axis = None if axis < 0 else axis
    return reference.quantize(x, scale, zero_point, axis, "int8" if signed else "uint8")


def dequantize(q, scale, zero_point, axis):
    return reference.dequantize(q, scale, zero_point, None if axis < 0 else axis)


def matmul_int8(a, b):
    if a.dtype not in (np.int8, np.uint8) or b.dtype != np.int8:
        raise TypeError("matmul_int8: bytes only")
    if a.ndim != 2 or a.shape[1] > 65536:
        raise ValueError("matmul_int8: shapes")
    return reference.matmul_int8(a, b)


def attention_decode(q, k, v, *rest):
    _attention(q, k, v)
    if k.shape != v.shape or k.shape[::3] != rest[0].shape[::3] or k.shape[1] != rest[0].shape[1]:
        raise ValueError("attention_decode: cache")
    if (rest[4] >= rest[0].shape[2]).any():
        raise ValueError("attention_decode: full")
    if q.shape[2] != 1 or k.shape[2] != 1:
        raise ValueError("attention_decode: one position")
    return reference.attention_decode(q, k, v, *rest)


def linear_int8(x_q, xs, xz, packed, k, n, ws, bias, act, kind, os, oz):
    _check_int8(x_q, xs, xz, ws, bias, kind, os, oz)
    if x_q.shape[-1] != k:
        raise ValueError("shapes")
    w = packed.view(np.int8).reshape(k, n)
    options = (os if kind else None, oz, _DTYPES[kind])
    return reference.linear_int8(x_q, xs, xz, w, ws, bias, _ACTIVATIONS[act], *options)


def conv2d_int8(
    x_q, xs, xz, packed, o, i, kh, kw, ws, bias, sh, sw, ph, pw, dh, dw, groups, act, kind, os, oz
):
    _check_int8(x_q, xs, xz, ws, bias, kind, os, oz)
    _check_conv(x_q, (o, i, kh, kw), bias, (sh, sw), (ph, pw), (dh, dw), groups)
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
    _check_floats(x, bias)
    if x.shape[-1] != k or (bias is not None and bias.shape != (n,)):
        raise ValueError("shapes")
    return reference.linear_int4(x, unpack_int4(packed, k, n, group_size), bias)


def _sparse(values, indices, row_pointers, m, k, r):
    return SimpleNamespace(
        values=values, indices=indices, row_pointers=row_pointers, shape=(m, k), block=(r, 1)
    )


def sparse_matmul(values, indices, row_pointers, m, k, r, x):
    if x.ndim != 2 or x.shape[0] != k:
        raise ValueError("shapes")
    return reference.sparse_matmul(_sparse(values, indices, row_pointers, m, k, r), x)


def sparse_linear(values, indices, row_pointers, m, k, r, x, bias, act):
    if x.shape[-1] != k or (bias is not None and bias.shape != (m,)):
        raise ValueError("shapes")
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
    "gelu": _over_floats(lambda x, form: reference.gelu(x, _GELU[form])),
    "gelu_backward": (lambda dy, x, form: reference.gelu_backward(dy, x, _GELU[form])),
    "softmax": _over_floats(reference.softmax),
    "softmax_backward": (reference.softmax_backward),
    "log_softmax": (reference.log_softmax),
    "log_softmax_backward": (reference.log_softmax_backward),
    "layer_norm": _layer_norm,
    "layer_norm_backward": reference.layer_norm_backward,
    "rms_norm": _rms_norm,
    "rms_norm_backward": reference.rms_norm_backward,
    "batch_norm2d": reference.batch_norm2d,
    "batch_norm2d_backward": reference.batch_norm2d_backward,
    "cross_entropy": reference.cross_entropy,
    "cross_entropy_backward": reference.cross_entropy_backward,
    "sgd_step": _sgd_step,
    "adam_step": _adam_step,
    "quantize": quantize,
    "dequantize": dequantize,
    "matmul_int8": matmul_int8,
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
    "attention": _attention,
    "attention_backward": reference.attention_backward,
    "attention_decode": attention_decode,
    "level": lambda: "numpy",
    "levels": lambda: ["numpy"],
    "set_num_threads": lambda n: None,
    "get_num_threads": lambda: 1,
}

_unchecked = ("as_float32", "level", "levels", "set_num_threads", "get_num_threads")
_numpy = {name: f if name in _unchecked else _refusing(f) for name, f in _numpy.items()}

try:
    import tinytorch._C as _compiled

    _found = {name: value for name, value in vars(_compiled).items() if not name.startswith("_")}
except ImportError:
    _found = {}


def _with_gelu(name):
    """A compiled linear without the activation that is not compiled yet."""

    def call(*args):
        y = compiled(*args[:-1], 0 if args[-1] == 2 else args[-1])
        return reference.gelu(y) if args[-1] == 2 else y

    compiled = _found[name]
    return call


if "gelu" not in _found:
    _found.update(
        {name: _with_gelu(name) for name in ("linear", "linear_packed", "sparse_linear") if name in _found}
    )

_C = SimpleNamespace(**{**_numpy, **_found})
