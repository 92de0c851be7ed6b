"""INT8: products, linear layers and convolutions, against libraries' integers and our own float32."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from benchmarks.layers import COMMON, Layer
from tinytorch import kernels

SIZES = (64, 128, 256, 512, 1024, 2048)
ROWS = (1, 8, 32)
LAYERS = ((1024, 1024), (768, 3072))
CONVOLUTIONS: tuple[Layer, ...] = (*COMMON, (1, 256, 28, 256, 3, {"groups": 256}))
X_SCALE, X_ZERO, OUT_SCALE, OUT_ZERO = 0.02, 60, 0.6, 128
WEIGHT_SCALE = 0.01


def cases(threads: int) -> Iterator[Case]:
    """Each computation with buffers of its own; activations are uint8 and weights int8 unless said."""
    for size in SIZES:
        for dtype in (np.uint8, np.int8):
            yield _product(size, dtype, threads)
    for size in SIZES:
        yield _linear(size, size, size, threads)
    for inner, outer in LAYERS:
        for rows in ROWS:
            yield _linear(rows, inner, outer, threads)
    for n, c, h, k, kernel, options in CONVOLUTIONS:
        for layout in ("NCHW", "NHWC"):
            yield _convolution(n, c, h, k, kernel, options, layout, threads)


def _integers(dtype: Any, *shape: int) -> np.ndarray:
    """Up to 127, where all compute the same: without VNNI the peers' products of uint8 saturate beyond."""
    low = max(np.iinfo(dtype).min, -127)
    return np.random.default_rng(0).integers(low, 128, shape).astype(dtype)


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


# --- products ----------------------------------------------------------------------------------------------


def _product(size: int, dtype: Any, threads: int) -> Case:
    a, b = _integers(dtype, size, size), _integers(np.int8, size, size)
    a_float, b_float, c_float = _normal(size, size), _normal(size, size), np.empty((size, size), np.float32)
    calls: dict[str, Call] = {}
    if peers.onnxruntime:
        calls["ONNX Runtime"] = peers.onnx_call("MatMulInteger", {"a": a, "b": b}, threads=threads)
    if peers.torch and dtype == np.int8:
        torch = peers.torch
        a_tensor, b_tensor = torch.from_numpy(a), torch.from_numpy(b)
        calls["PyTorch"] = lambda: torch._int_mm(a_tensor, b_tensor)
    return Case(
        "matmul_int8",
        f"{size} x {size} x {size}, {np.dtype(dtype)}",
        lambda: kernels.matmul_int8(a, b),
        calls,
        own={"float32": lambda: kernels.matmul(a_float, b_float, out=c_float)},
    )


# --- layers: requantized, weights packed, a scale for each output ------------------------------------------


def _linear(rows: int, inner: int, outer: int, threads: int) -> Case:
    x, w, bias = _integers(np.uint8, rows, inner), _integers(np.int8, inner, outer), _normal(outer)
    scale = np.full(outer, WEIGHT_SCALE, np.float32)
    packed = kernels.pack_int8(w, scale)
    x_float, w_float = _normal(rows, inner), kernels.pack(_normal(inner, outer))
    calls: dict[str, Call] = {}
    if peers.onnxruntime:
        whole_bias = np.rint(bias / (X_SCALE * scale)).astype(np.int32)
        calls["ONNX Runtime"] = peers.onnx_call(
            "QGemm",
            _quantized_inputs(x, w, scale, whole_bias, bias_last=False),
            threads=threads,
            weights=["w", *_PARAMETERS, "bias"],
            domain="com.microsoft",
        )
    if peers.torch:
        weights = _torch_weights(np.ascontiguousarray(w.T), scale)
        for engine in _torch_engines():
            with _torch_engine(engine):
                prepared = peers.torch.ops.quantized.linear_prepack(weights, peers.torch.from_numpy(bias))
            calls[f"PyTorch {engine}"] = _torch_call(
                peers.torch.ops.quantized.linear, _torch_activations(x), prepared
            )
    return Case(
        "linear_int8",
        f"{rows} x {inner} x {outer}",
        lambda: kernels.linear_int8(
            x, X_SCALE, X_ZERO, packed, bias, out_scale=OUT_SCALE, out_zero_point=OUT_ZERO
        ),
        calls,
        own={"float32": lambda: kernels.linear(x_float, w_float, bias)},
    )


def _convolution(
    n: int, c: int, h: int, k: int, kernel: int, options: dict[str, int], layout: str, threads: int
) -> Case:
    options = {"stride": 1, "padding": kernel // 2, "dilation": 1, "groups": 1, **options}
    options["padding"] *= options["dilation"]
    groups = options["groups"]
    x, w = _integers(np.uint8, n, c, h, h), _integers(np.int8, k, c // groups, kernel, kernel)
    bias = _normal(k)
    scale = np.full(k, WEIGHT_SCALE, np.float32)
    packed = kernels.pack_int8(w, scale, groups=groups)
    x_float, w_float = _normal(n, c, h, h), _normal(k, c // groups, kernel, kernel)
    last = layout == "NHWC"
    ours = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
    calls: dict[str, Call] = {}
    if peers.onnxruntime:
        calls["ONNX Runtime"] = _onnx_convolution(ours, w, scale, bias, options, last, threads)
    if peers.torch:
        torch = peers.torch
        spread = [(options[name], options[name]) for name in ("stride", "padding", "dilation")]
        tensor = _torch_activations(x)
        tensor = tensor.contiguous(memory_format=torch.channels_last) if last else tensor
        for engine in _torch_engines():
            with _torch_engine(engine):
                prepared = torch.ops.quantized.conv2d_prepack(
                    _torch_weights(w, scale), torch.from_numpy(bias), *spread, groups
                )
            calls[f"PyTorch {engine}"] = _torch_call(torch.ops.quantized.conv2d, tensor, prepared)
    different = "".join(
        f", {name} {options[name]}" for name in ("stride", "dilation", "groups") if options[name] > 1
    )
    same: dict[str, Any] = dict(options)
    return Case(
        "conv2d_int8",
        f"{n}x{c}x{h}x{h}, {k} of {kernel}x{kernel}{different}, {layout}",
        lambda: kernels.conv2d_int8(
            ours, X_SCALE, X_ZERO, packed, bias, **same, out_scale=OUT_SCALE, out_zero_point=OUT_ZERO,
            x_layout=layout, out_layout=layout,
        ),
        calls,
        own={"float32": lambda: kernels.conv2d(x_float, w_float, bias, **same)},
    )  # fmt: skip


# --- the same for the peers --------------------------------------------------------------------------------

_PARAMETERS = ("x_scale", "x_zero", "w_scale", "w_zero", "out_scale", "out_zero")


def _quantized_inputs(
    x: np.ndarray, w: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, bias_last: bool
) -> dict[str, np.ndarray]:
    """In the order of ONNX's QLinearConv, or of ONNX Runtime's QGemm: the bias before the output."""
    inputs: dict[str, Any] = {
        "x": x, "x_scale": np.float32(X_SCALE), "x_zero": np.uint8(X_ZERO),
        "w": w, "w_scale": scale, "w_zero": np.zeros(len(scale), np.int8),
    }  # fmt: skip
    output = {"out_scale": np.float32(OUT_SCALE), "out_zero": np.uint8(OUT_ZERO)}
    inputs |= {**output, "bias": bias} if bias_last else {"bias": bias, **output}
    return {name: np.asarray(value) for name, value in inputs.items()}


def _onnx_convolution(
    x: np.ndarray, w: np.ndarray, scale: np.ndarray, bias: np.ndarray, options: dict[str, int], last: bool,
    threads: int,
) -> Call:  # fmt: skip
    whole_bias = np.rint(bias / (X_SCALE * scale)).astype(np.int32)
    extra: dict[str, Any] = {"domain": "com.microsoft", "channels_last": 1} if last else {}
    return peers.onnx_call(
        "QLinearConv",
        _quantized_inputs(x, w, scale, whole_bias, bias_last=True),
        threads=threads,
        weights=["w", *_PARAMETERS, "bias"],
        kernel_shape=w.shape[2:],
        strides=[options["stride"]] * 2,
        pads=[options["padding"]] * 4,
        dilations=[options["dilation"]] * 2,
        group=options["groups"],
        **extra,
    )


def _torch_engines() -> list[str]:
    return [name for name in ("fbgemm", "onednn") if name in peers.torch.backends.quantized.supported_engines]


@contextmanager
def _torch_engine(name: str) -> Iterator[None]:
    """Weights packed inside belong to this engine, and stay with it."""
    engines = peers.torch.backends.quantized
    before = engines.engine
    engines.engine = name
    try:
        yield
    finally:
        engines.engine = before


def _torch_activations(x: np.ndarray) -> Any:
    torch = peers.torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized tensors are said to move to another package
        return torch._make_per_tensor_quantized_tensor(torch.from_numpy(x), X_SCALE, X_ZERO)


def _torch_weights(w: np.ndarray, scale: np.ndarray) -> Any:
    """w (outputs, ...) with a scale for each output."""
    torch = peers.torch
    scales, zeros = torch.from_numpy(scale.astype(np.float64)), torch.zeros(len(scale), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(torch.from_numpy(w), scales, zeros, 0)


def _torch_call(function: Any, x: Any, prepared: Any) -> Call:
    return lambda: function(x, prepared, OUT_SCALE, OUT_ZERO)
