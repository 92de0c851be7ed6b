"""Scaled dot-product attention (Vaswani et al. 2017), with grouped-query heads."""

import numpy as np

from .activation import gelu as _gelu
from .matmul import linear as _linear
from .norm import layer_norm as _layer_norm
from .quantize import linear_int8_dynamic, quantize_positions


def _masked_scores(q, k, causal, mask, scale, matmul):
    """scale * q @ k.T with -inf where a query may not look; k already has q's heads."""
    scores = matmul(q, k.swapaxes(-1, -2)) * q.dtype.type(scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        seen = np.tri(q.shape[2], k.shape[2], dtype=bool)
        scores = np.where(seen, scores, -np.inf)
    return scores.astype(q.dtype, copy=False)


def _per_query_head(x, heads):
    """k or v with each head repeated for the query heads that share it."""
    return x if x.shape[1] == heads else np.repeat(x, heads // x.shape[1], axis=1)


def _per_shared_head(dx, heads):
    """The reverse: the sum over the query heads that share a head."""
    b, h, s, d = dx.shape
    return dx if h == heads else dx.reshape(b, heads, h // heads, s, d).sum(axis=2)


@np.errstate(all="ignore")
def attention(
    q, k, v, causal=False, mask=None, scale=None, return_lse=False, *, matmul=np.matmul
):  # fmt: skip
    """softmax(scale * q @ k.T + mask) @ v; a row that sees nothing yields 0."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    k, v = _per_query_head(k, q.shape[1]), _per_query_head(v, q.shape[1])
    scores = _masked_scores(q, k, causal, mask, scale, matmul)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    largest = np.where(largest == -np.inf, q.dtype.type(0), largest)
    e = np.exp(scores - largest)
    total = e.sum(axis=-1, keepdims=True)
    y = matmul(e / np.where(total == 0, q.dtype.type(1), total), v)
    return (y, (largest + np.log(total))[..., 0]) if return_lse else y


@np.errstate(all="ignore")
def attention_backward(
    dy, q, k, v, causal=False, mask=None, scale=None, y=None, lse=None, *, matmul=np.matmul
):  # fmt: skip
    """-> dq, dk, dv. Probabilities come back from the scores and their log-sum-exp (Dao 2022)."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if y is None or lse is None:
        y, lse = attention(q, k, v, causal, mask, scale, return_lse=True, matmul=matmul)
    kv_heads = k.shape[1]
    k, v = _per_query_head(k, q.shape[1]), _per_query_head(v, q.shape[1])
    lse = np.where(lse == -np.inf, q.dtype.type(0), lse)[..., None]
    p = np.exp(_masked_scores(q, k, causal, mask, scale, matmul) - lse)
    dp = matmul(dy, v.swapaxes(-1, -2))
    ds = p * (dp - (dy * y).sum(axis=-1, keepdims=True)) * q.dtype.type(scale)
    dq = matmul(ds, k)
    dk = _per_shared_head(matmul(ds.swapaxes(-1, -2), q), kv_heads)
    dv = _per_shared_head(matmul(p.swapaxes(-1, -2), dy), kv_heads)
    return dq, dk, dv


def attention_decode(
    q, k, v, keys, values, key_scales, value_scales, lengths, scale=None, *, matmul=np.matmul
):  # fmt: skip
    """Stores k and v (B, G, 1, D) as position `lengths` of one layer's cache (B, G, S, D), then attends.

    Position p lies in slot p % S; their order does not matter to attention.
    """
    y = np.empty_like(q)
    for i, length in enumerate(lengths):
        slot, seen = length % keys.shape[2], slice(0, length + 1)
        past = []
        for new, stored, scales in ((k, keys, key_scales), (v, values, value_scales)):
            if scales is None:
                stored[i, :, slot] = new[i, :, 0]
                past.append(stored[i : i + 1, :, seen].astype(q.dtype))
            else:
                stored[i, :, slot], scales[i, :, slot] = quantize_positions(new[i, :, 0])
                past.append(stored[i : i + 1, :, seen] * scales[i : i + 1, :, seen, None])
        y[i] = attention(q[i : i + 1], *past, scale=scale, matmul=matmul)[0]
    return y


def _times_packed(x, packed, bias):
    return linear_int8_dynamic(x, packed.unpack(), packed.scale, bias)


def decode_blocks(
    x, blocks, layers, lengths, heads,
    *, layer_norm=_layer_norm, linear=_linear, linear_int8_dynamic=_times_packed, gelu=_gelu,
    attention_decode=attention_decode,
):  # fmt: skip
    """x (B, 1, E) through each block: x + attention(norm1(x)), then x + contract(gelu(expand(norm2(x))))."""

    def multiply(x, weight, bias):
        return (linear if isinstance(weight, np.ndarray) else linear_int8_dynamic)(x, weight, bias)

    for block, layer in zip(blocks, layers, strict=True):
        normal = layer_norm(x, *block.norm1, block.eps1)
        # (B, 1, heads * D) and (B, heads, 1, D) are the same in memory.
        q, k, v = (multiply(normal, *w) for w in (block.q, block.k, block.v))
        q, k, v = (y.reshape(len(x), -1, 1, q.shape[2] // heads) for y in (q, k, v))
        y = attention_decode(q, k, v, *layer, lengths, q.shape[3] ** -0.5)
        x = x + multiply(y.reshape(len(x), 1, -1), *block.out)
        hidden = gelu(multiply(layer_norm(x, *block.norm2, block.eps2), *block.expand))
        x = x + multiply(hidden, *block.contract)
    return x
