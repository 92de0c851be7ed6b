"""The cache itself, and a model that uses one: switched on, and off again."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..attention import MultiHeadAttention
from ..tensor import MB_TO_BYTES, Tensor, from_numpy


class KVCache(kernels.KVCache):
    """Keys and values of every layer, in memory that is allocated once.

    Parameters
    ----------
    batch_size, max_seq_len, num_layers, num_heads, head_dim : int
        `num_heads` are those of keys and values: fewer than of queries in grouped-query attention.
    dtype : {"float32", "int8"}
        int8 holds a quarter of the bytes, with one scale for each position and head.
    window : int, optional
        Keep the last `window` positions only, in a ring; memory then does not grow with the sequence.

    Attributes
    ----------
    seq_pos : int
        How many positions the longest sequence has so far; `lengths` has those of each.
    caches : list of (Tensor, Tensor)
        For each layer, all of its keys and values (B, H, slots, head_dim), without copying.

    See Also
    --------
    kernels.KVCache : has `fork` and `truncate`, for prompts that many continuations share, and `row`.
    """

    def __init__(
        self,
        batch_size: int,
        max_seq_len: int,
        num_layers: int,
        num_heads: int,
        head_dim: int,
        dtype: str = "float32",
        window: int | None = None,
    ):
        super().__init__(batch_size, max_seq_len, num_layers, num_heads, head_dim, dtype, window)

    def update(self, layer_idx: int, key: Tensor, value: Tensor) -> None:
        """Write keys and values (B, H, T, head_dim) at `seq_pos`; `advance` makes them count.

        Raises
        ------
        ValueError
            The layer does not exist, the cache is full, or a shape is wrong.
        """
        self._check_layer(layer_idx)
        self.append(layer_idx, _array(key), _array(value))

    def get(self, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Return a layer's keys and values (B, H, seq_pos, head_dim), oldest first.

        They lie on the cache's own memory, where that holds them as they are. Of an int8 cache, of a window
        that is full and of sequences that differ in length they are a copy (see `kernels.KVCache.read`).
        """
        self._check_layer(layer_idx)
        if self.dtype == "int8" or self.seq_pos > self.slots or self.lengths.min() < self.seq_pos:
            keys, values, _ = self.read(layer_idx)
            return from_numpy(keys), from_numpy(values)
        held = np.s_[layer_idx, :, :, : self.seq_pos]
        return from_numpy(self.keys[held]), from_numpy(self.values[held])

    @property
    def seq_pos(self) -> int:
        """How many positions the longest sequence has so far."""
        return max(self.lengths.tolist())

    @property
    def caches(self) -> list[tuple[Tensor, Tensor]]:
        """All of each layer's keys and values, as Tensors on the same memory."""
        return [(from_numpy(k), from_numpy(v)) for k, v in zip(self.keys, self.values, strict=True)]

    def get_memory_usage(self) -> dict[str, float]:
        """Return what is really allocated, and how much of it is in use.

        Returns
        -------
        dict
            ``total_mb`` and ``per_layer_mb``, scales included; ``used_mb``, the share of the positions held;
            ``cache_tensors``, how many arrays of keys and values; ``total_elements``, those in them.
        """
        layers, batch = self.keys.shape[:2]
        total_mb = self.nbytes / MB_TO_BYTES
        held = int(np.minimum(self.lengths, self.slots).sum())
        return {
            "total_mb": total_mb,
            "per_layer_mb": total_mb / layers,
            "used_mb": total_mb * held / (batch * self.slots),
            "cache_tensors": 2 * layers,
            "total_elements": self.keys.size + self.values.size,
        }

    def _check_layer(self, layer_idx: int) -> None:
        if not 0 <= layer_idx < len(self.keys):
            raise ValueError(
                f"KVCache: layer_idx {layer_idx} is out of range; this cache has {len(self.keys)} layers "
                f"(0 to {len(self.keys) - 1})."
            )


def create_kv_cache(
    batch_size: int, max_seq_len: int, num_layers: int, num_heads: int, head_dim: int, dtype: str = "float32"
) -> KVCache:
    """Return an empty `KVCache`, after printing how much memory it takes."""
    cache = KVCache(batch_size, max_seq_len, num_layers, num_heads, head_dim, dtype)
    print(
        f"KV cache: {num_layers} layers x {num_heads} heads x {max_seq_len} positions x {head_dim} {dtype}, "
        f"batch {batch_size}: {cache.get_memory_usage()['total_mb']:.2f} MB"
    )
    return cache


def enable_kv_cache(
    model: Any, batch_size: int = 1, dtype: str = "float32", window: int | None = None
) -> KVCache:
    """Let a model's attention layers keep keys and values from one call to the next.

    From then on, `model(tokens)` takes only what is new: first the prompt, then one token at a
    time. The answers are those of the whole sequence. `cache.reset()` starts a new sequence;
    `disable_kv_cache` brings the ordinary model back.

    Parameters
    ----------
    model : Module
        With `embed_dim`, `num_layers`, `num_heads`, `max_seq_len`, and `blocks` whose `attention` is a
        `MultiHeadAttention`.
    batch_size : int
        How many sequences run side by side.
    dtype, window
        As for `KVCache`.

    Returns
    -------
    KVCache
        Also `model._kv_cache`; `model._cache_enabled` is True.
    """
    needed = ("embed_dim", "num_layers", "num_heads", "max_seq_len", "blocks")
    if missing := [name for name in needed if not hasattr(model, name)]:
        raise AttributeError(
            f"enable_kv_cache: {type(model).__name__} has no attribute {', '.join(missing)}."
        )
    disable_kv_cache(model)
    head_dim = model.embed_dim // model.num_heads
    kv_heads = getattr(model, "num_kv_heads", model.num_heads)
    cache = KVCache(batch_size, model.max_seq_len, model.num_layers, kv_heads, head_dim, dtype, window)
    for layer, block in enumerate(model.blocks):
        is_last = layer == len(model.blocks) - 1
        block.attention.forward = _cached_forward(block.attention, cache, layer, is_last)
    model._kv_cache, model._cache_enabled = cache, True
    return cache


def disable_kv_cache(model: Any) -> None:
    """Undo `enable_kv_cache`; nothing happens to a model without a cache."""
    if getattr(model, "_cache_enabled", False):
        for block in model.blocks:
            del block.attention.forward  # the instance's; the class's own is left
    model._kv_cache, model._cache_enabled = None, False


def _cached_forward(attention: MultiHeadAttention, cache: KVCache, layer: int, is_last: bool) -> Any:
    """Return what stands in for `attention.forward` while the cache is on."""

    def forward(
        x: Tensor,
        mask: Any = None,
        causal: bool = True,
        return_weights: bool = False,
        padding_mask: Any = None,
    ) -> Tensor:
        if x.requires_grad:
            raise RuntimeError(
                "MultiHeadAttention: the KV cache keeps no graph, so nothing could be learned from this "
                "pass. Use no_grad() to generate, or disable_kv_cache(model) to train."
            )
        if return_weights:
            raise ValueError("MultiHeadAttention: weights are not available while the KV cache is on.")
        if padding_mask is not None or not _is_causal(mask, x.shape[1]):
            raise ValueError(
                "MultiHeadAttention: while the KV cache is on, each position sees all before it, and this "
                "mask says otherwise. Leave it out, or disable_kv_cache(model) to use it."
            )
        y = attention.infer(x.data, cache, layer)
        if is_last:
            cache.advance(x.shape[1])
        return from_numpy(y)

    return forward


def _is_causal(mask: Any, steps: int) -> bool:
    """Whether a mask lets each of so many positions see those up to itself; no mask does."""
    return mask is None or np.array_equal(
        _array(mask), np.broadcast_to(np.tri(steps), np.shape(_array(mask)))
    )


def _array(x: Any) -> np.ndarray:
    return x.data if isinstance(x, Tensor) else np.asarray(x)
