"""Attention that never stores the T x T scores, its gradient, and decoding from a cache."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, as_number, check_axes, check_gradient, check_ndim, is_double, lined_up
from ._registry import _C, REFUSED, alternative, replacements
from .cache import KVCache

__all__ = ["attention", "attention_backward", "attention_cached", "attention_decode"]


def _check_heads(kernel: str, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        check_ndim(kernel, name, x, 4, "(B, heads, positions, D)")
    for other, name in ((k, "k"), (v, "v")):
        check_axes(
            kernel, f"q and {name} must have the same batch",
            ("q", q.shape, 0), (name, other.shape, 0), "one set of keys and values for each item",
        )  # fmt: skip
    check_axes(
        kernel, "queries and keys must have the same head dimension",
        ("q", q.shape, 3), ("k", k.shape, 3), "project both to the same size",
    )  # fmt: skip
    for axis, what in ((1, "heads"), (2, "positions")):
        check_axes(
            kernel, f"keys and values must have the same number of {what}",
            ("k", k.shape, axis), ("v", v.shape, axis), "each key needs its value",
        )  # fmt: skip
    if q.shape[1] and (k.shape[1] == 0 or q.shape[1] % k.shape[1]):
        raise ValueError(
            f"{kernel}: {q.shape[1]} query heads do not divide among {k.shape[1]} key heads; "
            f"grouped-query attention needs a multiple\n" + lined_up(q=q, k=k)
        )


def _as_mask(kernel: str, mask: Any, q: np.ndarray, k: np.ndarray) -> np.ndarray | None:
    """The mask with four axes, each of full length or 1, the last of full length."""
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.dtype.kind not in "bf":
        raise TypeError(
            f"{kernel}: mask must be boolean (True keeps) or float (added to the scores), "
            f"and is {mask.dtype}; for 1 keeps, 0 blocks, pass mask.astype(bool)"
        )
    scores = (*q.shape[:3], k.shape[2])
    shape = (1,) * (4 - mask.ndim) + mask.shape
    if len(shape) > 4 or any(m not in (1, s) for m, s in zip(shape, scores, strict=True)):
        raise ValueError(
            f"{kernel}: mask must broadcast to the scores (B, H, queries, keys)\n"
            f"  scores  {scores}\n  mask    {mask.shape}"
        )
    whole = np.broadcast_to(mask.reshape(shape), (*shape[:3], scores[3]))
    return np.asarray(whole, bool if mask.dtype == bool else q.dtype, order="C")


def _as_scale(kernel: str, scale: Any, q: np.ndarray) -> float:
    if scale is not None:
        return as_number(kernel, "scale", scale)
    return q.shape[3] ** -0.5 if q.shape[3] else 1.0


def attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    *,
    causal: bool = False,
    mask: ArrayLike | None = None,
    scale: float | None = None,
    return_lse: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """softmax(scale * q @ k.T + mask) @ v for each head, without storing the scores.

    Parameters
    ----------
    q : array, (B, H, T, D)
    k : array, (B, G, S, D)
    v : array, (B, G, S, E)
        G divides H: query head h reads head h // (H / G) (grouped-query attention).
    causal : bool
        Position t sees the keys 0 ... t. Holds together with mask.
    mask : array, optional, broadcasting to (B, H, T, S)
        Boolean, where True keeps a key, or float, added to the scores.
    scale : float, optional
        1 / sqrt(D) when left out.
    return_lse : bool
        Also return the log-sum-exp of each row's scores, which the backward pass needs.

    Returns
    -------
    y : array, (B, H, T, E)
        float32, or float64 when q, k or v is. A position that sees nothing yields 0.
    lse : array, (B, H, T)
        With return_lse only; -inf for a position that sees nothing.

    Raises
    ------
    ValueError
        When shapes do not fit, heads do not divide, or the mask does not broadcast.
    TypeError
        For inputs that are not real numbers, or an integer mask.

    Notes
    -----
    Vaswani et al., "Attention is all you need" (2017); computed in tiles with a running maximum
    after Dao et al., "FlashAttention" (2022).
    """
    if mask is None and scale is None and not replacements():
        try:
            return _C.attention(q, k, v, bool(causal), None, np.shape(q)[3] ** -0.5, bool(return_lse))
        except (IndexError, ZeroDivisionError, *REFUSED):
            pass
    q, k, v = as_floats("attention", q=q, k=k, v=v)
    _check_heads("attention", q, k, v)
    mask = _as_mask("attention", mask, q, k)
    scale = _as_scale("attention", scale, q)
    shapes = [(*q.shape[:3], v.shape[3]), q.shape[:3]][: 1 + bool(return_lse)]
    other = alternative("attention", is_double(q), *shapes)
    return (other or _C.attention)(q, k, v, bool(causal), mask, scale, bool(return_lse))


def attention_backward(
    dy: ArrayLike,
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    *,
    causal: bool = False,
    mask: ArrayLike | None = None,
    scale: float | None = None,
    y: ArrayLike | None = None,
    lse: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of ``attention``; the scores are computed again, tile by tile.

    Parameters
    ----------
    dy : array, (B, H, T, E)
    q, k, v, causal, mask, scale
        What attention was given.
    y, lse : array, optional
        What attention gave with ``return_lse=True``. Without both, the forward pass runs again.

    Returns
    -------
    dq, dk, dv : array
        With the shapes of q, k and v.
    """
    kernel = "attention_backward"
    if mask is None and scale is None and not replacements():
        try:
            return _C.attention_backward(dy, q, k, v, bool(causal), None, np.shape(q)[3] ** -0.5, y, lse)
        except (IndexError, ZeroDivisionError, *REFUSED):
            pass
    if y is None or lse is None:
        y, lse = attention(q, k, v, causal=causal, mask=mask, scale=scale, return_lse=True)
    dy, q, k, v, y, lse = as_floats(kernel, dy=dy, q=q, k=k, v=v, y=y, lse=lse)
    _check_heads(kernel, q, k, v)
    shape = (*q.shape[:3], v.shape[3])
    check_gradient(kernel, dy, shape)
    if y.shape != shape or lse.shape != shape[:3]:
        raise ValueError(
            f"{kernel}: y and lse must be what attention(..., return_lse=True) gave, of shapes "
            f"{shape} and {shape[:3]}\n" + lined_up(y=y, lse=lse)
        )
    mask = _as_mask(kernel, mask, q, k)
    scale = _as_scale(kernel, scale, q)
    other = alternative(kernel, is_double(q), q.shape, k.shape, v.shape)
    return (other or _C.attention_backward)(dy, q, k, v, bool(causal), mask, scale, y, lse)


def attention_decode(q: ArrayLike, k: ArrayLike, v: ArrayLike, cache: KVCache, layer: int) -> np.ndarray:
    """One new position for each sequence: store its k and v, then attend over all stored so far.

    Parameters
    ----------
    q : array, (B, H, 1, D)
    k, v : array, (B, G, 1, D)
        Stored as position ``cache.lengths`` of the layer. G is the cache's number of heads.
    cache : KVCache
        Its lengths do not change: call ``cache.advance()`` once, after the last layer.
    layer : int

    Returns
    -------
    array, (B, H, 1, D)
        Attention over the positions 0 ... cache.lengths, the new one included, or the last of them where
        the cache has a window.

    Raises
    ------
    ValueError
        When shapes do not fit the cache, or the cache is full.
    IndexError
        When the cache has no such layer.
    """
    if _has_room(cache) and not replacements() and type(layer) is int and layer >= 0:
        try:
            return _C.attention_decode(q, k, v, *cache._layers[layer], cache.lengths, cache.head_dim**-0.5)
        except (IndexError, *REFUSED):
            pass
    return _attention_decode(q, k, v, cache, layer)


def _has_room(cache: Any) -> bool:
    """Whether this is a cache that can take one more position. Quick, since decoding asks for each token."""
    return isinstance(cache, KVCache) and max(cache.lengths.tolist()) < cache.max_seq_len


def _attention_decode(q: Any, k: Any, v: Any, cache: KVCache, layer: Any) -> np.ndarray:
    kernel = "attention_decode"
    if not isinstance(cache, KVCache):
        raise TypeError(f"{kernel}: cache must be a KVCache, got {type(cache).__name__}")
    q, k, v = as_floats(kernel, q=q, k=k, v=v)
    _check_heads(kernel, q, k, v)
    layer = cache._checked(kernel, layer, k, v)
    if q.shape[2] != 1 or k.shape[2] != 1:
        raise ValueError(
            f"{kernel}: takes one position for each sequence, (B, heads, 1, D); "
            f"attention_cached takes several\n" + lined_up(q=q, k=k)
        )
    other = alternative(kernel, is_double(q), q.shape)
    run = other or _C.attention_decode
    return run(q, k, v, *cache._layers[layer], cache.lengths, cache.head_dim**-0.5)


def attention_cached(q: ArrayLike, k: ArrayLike, v: ArrayLike, cache: KVCache, layer: int) -> np.ndarray:
    """Any number of new positions for each sequence: store their k and v, then attend, each up to itself.

    The first positions of a prompt, a prompt read in pieces, and one position after the other
    (`attention_decode`) all give what one call of `attention` with ``causal=True`` gives, up to rounding.

    Parameters
    ----------
    q : array, (B, H, T, D)
    k, v : array, (B, G, T, D)
        Stored behind the first ``cache.lengths`` positions of the layer.
    cache : KVCache
        Its lengths do not change: call ``cache.advance(T)`` once, after the last layer.
    layer : int

    Returns
    -------
    array, (B, H, T, D)

    Raises
    ------
    ValueError
        When shapes do not fit the cache, or the cache would overflow; nothing is stored then.
    IndexError
        When the cache has no such layer.
    """
    if np.ndim(q) == 4 and np.shape(q)[2] == 1:
        return attention_decode(q, k, v, cache, layer)
    kernel = "attention_cached"
    if not isinstance(cache, KVCache):
        raise TypeError(f"{kernel}: cache must be a KVCache, got {type(cache).__name__}")
    q, k, v = as_floats(kernel, q=q, k=k, v=v)
    _check_heads(kernel, q, k, v)
    check_axes(
        kernel, "each new position needs a query, a key and a value",
        ("q", q.shape, 2), ("k", k.shape, 2), "project the same positions",
    )  # fmt: skip
    layer = cache._checked(kernel, layer, k, v)
    steps = q.shape[2]
    if not cache.lengths.any() and steps <= cache.slots:
        cache.append(layer, k, v)
        return np.asarray(attention(q, k, v, causal=True))
    past_k, past_v, past = cache.read(layer)
    new = cache.lengths[:, None] + np.arange(steps)
    key, query = np.concatenate([past, new], axis=1)[:, None, None], new[:, None, :, None]
    seen = (key >= 0) & (key <= query) & (key > query - cache.slots)
    cache.append(layer, k, v)
    k, v = (np.concatenate(pair, axis=2) for pair in ((past_k, k), (past_v, v)))
    return np.asarray(attention(q, k, v, mask=seen))
