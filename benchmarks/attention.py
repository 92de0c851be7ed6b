"""Attention forward, backward and from a cache, against PyTorch's fused attention."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels

HEADS = 8
LENGTHS = (64, 128, 256, 512, 1024, 2048)
DIMENSIONS = (32, 64, 128)
# Heads, heads of the cache, dimension.
DECODERS = ((8, 8, 32), (12, 12, 64), (32, 8, 64), (32, 8, 128))
POSITIONS = (64, 256, 1024, 4096)


def cases(threads: int) -> Iterator[Case]:
    """Causal attention of one sequence, its gradient, and one more position of a sequence."""
    for dimension in DIMENSIONS:
        for length in LENGTHS:
            yield _forward(length, dimension)
            yield _backward(length, dimension)
    for heads, kv_heads, dimension in DECODERS:
        for positions in POSITIONS:
            yield _decode(heads, kv_heads, dimension, positions, "float32")
            yield _decode(heads, kv_heads, dimension, positions, "int8")


def _random(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def _forward(length: int, dimension: int) -> Case:
    q, k, v = _random(*[(1, HEADS, length, dimension)] * 3)
    calls: dict[str, Call] = {}
    if peers.torch:
        attend = peers.torch.nn.functional.scaled_dot_product_attention
        tensors = [peers.torch.from_numpy(x) for x in (q, k, v)]

        def theirs() -> object:
            with peers.torch.inference_mode():
                return attend(*tensors, is_causal=True)

        calls["PyTorch"] = theirs
    return Case(
        "attention, causal",
        f"{HEADS} heads of {dimension}, {length} positions",
        lambda: kernels.attention(q, k, v, causal=True),
        calls,
        operations=4.0 * HEADS * dimension * length * (length + 1) / 2,
    )


def _backward(length: int, dimension: int) -> Case:
    q, k, v, dy = _random(*[(1, HEADS, length, dimension)] * 4)
    y, lse = kernels.attention(q, k, v, causal=True, return_lse=True)
    calls: dict[str, Call] = {}
    if peers.torch:
        torch = peers.torch
        tensors = [torch.from_numpy(x).requires_grad_() for x in (q, k, v)]
        gradient = torch.from_numpy(dy)
        result = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True)
        calls["PyTorch"] = lambda: torch.autograd.grad(result, tensors, gradient, retain_graph=True)
    return Case(
        "attention, gradient",
        f"{HEADS} heads of {dimension}, {length} positions",
        lambda: kernels.attention_backward(dy, q, k, v, causal=True, y=y, lse=lse),
        calls,
        operations=10.0 * HEADS * dimension * length * (length + 1) / 2,
    )


def _decode(heads: int, kv_heads: int, dimension: int, positions: int, dtype: str) -> Case:
    """The last of so many positions. Neither side counts it as stored, so that every call does the same."""
    q, k, v = _random((1, heads, 1, dimension), *[(1, kv_heads, positions, dimension)] * 2)
    last = k[:, :, -1:].copy(), v[:, :, -1:].copy()
    caches = {name: _filled_cache(k, v, name) for name in ("float32", "int8")}
    calls: dict[str, Call] = {}
    if peers.torch:
        torch = peers.torch
        attend = torch.nn.functional.scaled_dot_product_attention
        query, keys, values = (torch.from_numpy(x) for x in (q, k, v))
        new_key, new_value = (torch.from_numpy(x[:, :, 0]) for x in last)

        def theirs() -> object:
            with torch.inference_mode():
                keys[:, :, -1], values[:, :, -1] = new_key, new_value
                return attend(query, keys, values, enable_gqa=heads != kv_heads)

        calls["PyTorch"] = theirs
    cache = caches[dtype]
    own: dict[str, Call] = {}
    if dtype == "int8":
        own["float32"] = lambda: kernels.attention_decode(q, *last, caches["float32"], 0)
    shared = f" on {kv_heads}" if kv_heads != heads else ""
    return Case(
        f"attention, {dtype} cache",
        f"{heads} heads{shared} of {dimension}, {positions} positions",
        lambda: kernels.attention_decode(q, *last, cache, 0),
        calls,
        own=own,
        read_bytes=float(cache.nbytes),
    )


def _filled_cache(k: np.ndarray, v: np.ndarray, dtype: str) -> kernels.KVCache:
    """All positions of k and v but the last."""
    _, heads, positions, dimension = k.shape
    cache = kernels.KVCache(1, positions, 1, heads, dimension, dtype)
    cache.append(0, k[:, :, :-1], v[:, :, :-1])
    cache.advance(positions - 1)
    return cache
