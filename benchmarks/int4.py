"""INT4 weights, whose speed at batch 1 is the memory's: against libraries' INT4, our float32 and our INT8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels
from tinytorch.kernels.reference.quantize import dequantize_int4, quantize_int4

INNER = 4096
IN_CACHE = 1024  # outputs of the small layers
ROWS = (1, 8, 32)
GROUPS = (32, 128)
X_SCALE, X_ZERO, WEIGHT_SCALE = 0.02, 60, 0.01


def cases(threads: int) -> Iterator[Case]:
    """Layers that stay in a cache, then one whose weights come from memory on each call."""
    for rows in ROWS:
        yield _linear(rows, IN_CACHE, GROUPS[0], "int8", threads)
    beyond = _outputs_beyond_cache()
    for group in GROUPS:
        yield _linear(1, beyond, group, "int8", threads)
    yield _linear(1, beyond, GROUPS[0], "float32", threads)
    yield _weights_int8(beyond)


def _outputs_beyond_cache() -> int:
    """So many that the INT4 weights take at least twice the last cache, whatever their groups."""
    last = max(kernels.cpu_info()["caches"].values(), default=1 << 25)
    return -(-4 * last // INNER // 256) * 256


def _weights(outer: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((INNER, outer), np.float32)


def _activations(rows: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, INNER), np.float32)


def _linear(rows: int, outer: int, group: int, x_dtype: Any, threads: int) -> Case:
    """x is float32 for all; int8 or float32 is what ours and ONNX Runtime may multiply it as."""
    x, w = _activations(rows), _weights(outer)
    q, scales = quantize_int4(w, group)
    packed = kernels.pack_int4(w, group)
    w_float = kernels.pack(dequantize_int4(q, scales, group))
    calls: dict[str, Call] = {}
    if peers.onnxruntime:
        calls["ONNX Runtime"] = _onnx(x, q, scales, group, x_dtype, threads)
    if peers.torch:
        calls["PyTorch"] = _torch(x, q, scales, group)
    return Case(
        "linear_int4",
        f"{rows} x {INNER} x {outer}, groups of {group}, x {x_dtype}",
        lambda: kernels.linear_int4(x, packed, x_dtype=x_dtype),
        calls,
        own={"float32": lambda: kernels.linear(x, w_float), "INT8": _int8(rows, outer)},
        read_bytes=packed.nbytes + x.nbytes,
    )


def _int8(rows: int, outer: int) -> Call:
    """Our INT8 layer of the same shape, float32 out, given an x that is quantized already."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 128, (rows, INNER)).astype(np.uint8)
    w = rng.integers(-127, 128, (INNER, outer)).astype(np.int8)
    packed = kernels.pack_int8(w, WEIGHT_SCALE)
    return lambda: kernels.linear_int8(x, X_SCALE, X_ZERO, packed)


def _weights_int8(outer: int) -> Case:
    """INT8 weights at batch 1 by the same ruler."""
    x, w_float = _activations(1), kernels.pack(_weights(outer))
    return Case(
        "linear_int8 beyond the cache",
        f"1 x {INNER} x {outer}",
        _int8(1, outer),
        {},
        own={"float32": lambda: kernels.linear(x, w_float)},
        read_bytes=INNER * outer + INNER,
    )


# --- the same for the peers --------------------------------------------------------------------------------


def _onnx(x: np.ndarray, q: np.ndarray, scales: np.ndarray, group: int, x_dtype: str, threads: int) -> Call:
    k, n = q.shape
    nibbles = (q.T + 8).astype(np.uint8).reshape(n, k // group, group)
    inputs = {
        "x": x,
        "w": nibbles[..., ::2] | nibbles[..., 1::2] << 4,
        "scales": np.ascontiguousarray(scales.T, np.float32).reshape(-1),
    }
    return peers.onnx_call(
        "MatMulNBits", inputs, threads=threads, weights=["w", "scales"], domain="com.microsoft",
        K=k, N=n, bits=4, block_size=group, accuracy_level=4 if x_dtype == "int8" else 1,
    )  # fmt: skip


def _torch(x: np.ndarray, q: np.ndarray, scales: np.ndarray, group: int) -> Call:
    """PyTorch multiplies in float32, and has no other way on CPUs."""
    torch = peers.torch
    operators = torch.ops.aten
    weights = operators._convert_weight_to_int4pack_for_cpu(
        torch.from_numpy(np.ascontiguousarray(q.T + 8, np.int32)), 1
    )
    tensor, spread = torch.from_numpy(x), scales.astype(np.float32)
    parameters = torch.from_numpy(np.stack([spread, np.zeros_like(spread)], axis=-1))
    return lambda: operators._weight_int4pack_mm_for_cpu(tensor, weights, group, parameters)
