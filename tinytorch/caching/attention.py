"""Attention that is handed its cache: one layer, a stack of them that writes, and what the cache saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _text, kernels, timing
from ..attention import MultiHeadAttention, fused_attention
from ..autograd.engine import no_grad
from ..layers import Dropout
from ..quantities import Measured
from ..tensor import Tensor, from_numpy
from .cache import KVCache


class CachedMultiHeadAttention(MultiHeadAttention):
    """Multi-head attention that takes a cache along, and returns it with its result.

    Without a key, it is causal self-attention: what it answers with a cache, position by position, is what
    it answers for the whole sequence at once.

    Parameters
    ----------
    embed_dim : int
    num_heads : int
        Must divide `embed_dim`.
    dropout : float
        The share of the result that is dropped in training.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dim, num_heads)
        self.dropout = Dropout(dropout)

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        cache: kernels.KVCache | None = None,
        layer_idx: int = 0,
        use_cache: bool = False,
        advance_cache: bool = True,
    ) -> tuple[Tensor, kernels.KVCache | None]:
        """Attention of the query's positions.

        Parameters
        ----------
        query : Tensor (B, T, embed_dim)
            With a cache, only the new positions: first the prompt, then one at a time.
        key, value : Tensor (B, S, embed_dim), optional
            What each position of the query looks at, all of it. The query itself unless given; the value is
            the key unless given. Not with a cache.
        cache : KVCache, optional
            Read and written if `use_cache`; left alone, and no more than handed back, if not.
        layer_idx : int
            Which layer of the cache is this one's.
        use_cache : bool
        advance_cache : bool
            Whether the new positions count from now on. Several layers share a cache: only the last advances.

        Returns
        -------
        output : Tensor (B, T, embed_dim)
        cache : the one that was given

        Raises
        ------
        ValueError
            With `use_cache` but no cache, or with keys of another sequence; where shapes don't fit; when the
            cache is full.
        RuntimeError
            With a cache, for a query that requires a gradient.
        """
        self._check_input(query.shape)
        if use_cache:
            return from_numpy(self._with_cache(query, key, value, cache, layer_idx, advance_cache)), cache
        causal = key is None
        key = query if key is None else key
        value = key if value is None else value
        for x in (key, value):
            self._check_input(x.shape)
        projected = ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        q, k, v = (self._split_heads(projection(x)) for projection, x in projected)
        y = self._join_heads(fused_attention(q, k, v, causal=causal))
        return self.dropout(self.out_proj(y)), cache

    def _with_cache(
        self, query: Tensor, key: Any, value: Any, cache: Any, layer_idx: int, advance_cache: bool
    ) -> np.ndarray:
        if not isinstance(cache, kernels.KVCache):
            raise ValueError(
                f"CachedMultiHeadAttention: use_cache=True needs a KVCache, got {type(cache).__name__}. Make "
                f"one: KVCache({query.shape[0]}, max_seq_len, num_layers, {self.num_heads}, {self.head_dim})"
            )
        if any(x is not None and x is not query for x in (key, value)):
            raise ValueError(
                "CachedMultiHeadAttention: the cache holds keys and values of the query's own earlier "
                "positions, so with use_cache=True leave out key and value"
            )
        if query.requires_grad or (self.training and self.dropout.p):
            raise RuntimeError(
                "CachedMultiHeadAttention: the cache keeps no graph, so this pass can't be learned from. "
                "Use query.detach() and eval() to generate, or use_cache=False to train"
            )
        y = self.infer(query.data, cache, layer_idx)
        if advance_cache:
            cache.advance(query.shape[1])
        return y


def generate_with_cache(
    model_func: Callable[[Tensor], Tensor],
    initial_tokens: Tensor,
    max_new_tokens: int = 50,
    embed_dim: int = 64,
    num_heads: int = 8,
    num_layers: int = 4,
) -> Tensor:
    """Continue a sequence of vectors through a stack of attention layers that share one cache.

    The stack is a new one, with random weights (`manual_seed` fixes them): this is the loop of generation
    with nothing else around it. A trained language model writes with `GPT.generate`.

    Parameters
    ----------
    model_func : callable
        From what the stack makes of the newest position, (B, 1, embed_dim), to the next vector, in the same
        shape.
    initial_tokens : Tensor (B, T, embed_dim)
        As vectors, not as ids.
    max_new_tokens : int
    embed_dim, num_heads, num_layers : int
        Of the stack.

    Returns
    -------
    Tensor (B, T + max_new_tokens, embed_dim)
        The given vectors and those that follow.
    """
    if initial_tokens.ndim != 3 or initial_tokens.shape[2] != embed_dim or not initial_tokens.shape[1]:
        raise ValueError(
            f"generate_with_cache: initial_tokens must be vectors (batch, time, embed_dim={embed_dim}), at "
            f"least one of them, got {initial_tokens.shape}. Ids become vectors in an Embedding"
        )
    if max_new_tokens < 0:
        raise ValueError(f"generate_with_cache: max_new_tokens counts vectors, it can't be {max_new_tokens}")
    batch, given, _ = initial_tokens.shape
    layers = [CachedMultiHeadAttention(embed_dim, num_heads) for _ in range(num_layers)]
    cache = KVCache(batch, given + max_new_tokens, num_layers, num_heads, embed_dim // num_heads)
    sequence = np.empty((batch, given + max_new_tokens, embed_dim), np.float32)
    sequence[:, :given] = initial_tokens.data
    new = slice(0, given)  # the positions that the cache has not seen
    with no_grad():
        for position in range(given, given + max_new_tokens):
            x = from_numpy(sequence[:, new].copy())
            for i, layer in enumerate(layers):
                last = i == num_layers - 1
                x, _ = layer.forward(x, cache=cache, layer_idx=i, use_cache=True, advance_cache=last)
            following = model_func(from_numpy(x.data[:, -1:]))
            if following.shape != (batch, 1, embed_dim):
                raise ValueError(
                    f"generate_with_cache: model_func must return the next vector, {(batch, 1, embed_dim)}, "
                    f"got {following.shape}"
                )
            sequence[:, position : position + 1] = following.data
            new = slice(position, position + 1)
    return from_numpy(sequence)


def analyze_kv_cache_performance(
    lengths: Sequence[int] = (10, 25, 50, 100, 200), *, seconds: float = 0.3
) -> list[dict[str, Any]]:
    """Race a layer that reads a sequence position by position, with a cache and without one.

    Without it, each position computes all before it again. Both compute the same, one layer of 8 heads and
    64 features. Prints a table and returns its rows.

    Parameters
    ----------
    lengths : sequence of int
        How many positions the sequences have.
    seconds : float
        For each race.

    Returns
    -------
    list of dict
        ``seq_len``; ``cache_memory_mb``; measured, in seconds for the whole sequence, ``cached_time`` and
        ``non_cached_time``, and ``actual_speedup`` with its ``verdict``; modelled, counts of multiplications
        ``cached_ops`` and ``non_cached_ops``, and ``theoretical_speedup``, their ratio.
    """
    attention = CachedMultiHeadAttention(64, 8)
    rows, shown = [], []
    for length in lengths:
        row, ratio = _raced(attention, length, seconds)
        rows.append(row)
        shown.append(
            (length, f"{row['cache_memory_mb']:.3f}", f"{row['cached_time'] * 1e3:.2f}",
             f"{row['non_cached_time'] * 1e3:.2f}", f"{ratio} {row['verdict']}",
             f"{row['theoretical_speedup']:.1f}×")
        )  # fmt: skip
    header = ("positions", "cache, MB", "ms with", "ms without", "measured gain", "modelled gain")
    print(_text.table(header, shown))
    return rows


def _raced(
    attention: CachedMultiHeadAttention, length: int, seconds: float
) -> tuple[dict[str, Any], Measured]:
    """The row of one length, and the measured ratio of times."""
    width, heads = attention.embed_dim, attention.num_heads
    x = np.random.default_rng(0).standard_normal((1, length, width)).astype(np.float32)
    cache = KVCache(1, length, 1, heads, attention.head_dim)
    positions = [from_numpy(x[:, t : t + 1].copy()) for t in range(length)]
    beginnings = [from_numpy(x[:, : t + 1].copy()) for t in range(length)]

    def cached() -> np.ndarray:
        cache.reset()
        for position in positions:
            y, _ = attention.forward(position, cache=cache, use_cache=True)
        return y.data[:, -1]

    def recomputed() -> np.ndarray:
        for beginning in beginnings:
            y, _ = attention.forward(beginning)
        return y.data[:, -1]

    with no_grad():
        race = timing.race(recomputed, cached, names=("without", "with"), seconds=seconds)
    # Four projections of E x E for a position; with n before it, n scores and n values of E each.
    pairs = length * (length + 1) // 2
    cached_ops = 4 * length * width**2 + 2 * width * pairs
    non_cached_ops = sum(4 * n * width**2 + width * n * (n + 1) for n in range(1, length + 1))
    row = {
        "seq_len": length,
        "cache_memory_mb": cache.get_memory_usage()["total_mb"],
        "cached_time": float(np.median(race.seconds[1])),
        "non_cached_time": float(np.median(race.seconds[0])),
        "actual_speedup": race.ratio.value,
        "verdict": race.verdict,
        "theoretical_speedup": non_cached_ops / cached_ops,
        "cached_ops": cached_ops,
        "non_cached_ops": non_cached_ops,
    }
    return row, race.ratio
