"""Module 12: attention. Every position looks at the others and takes what it needs.

Two ways to the same numbers: `scaled_dot_product_attention` is the formula, step by step, and
gives the weights too; `fused_attention` is one kernel that never stores the T x T weights, forward
or backward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .activations import GELU, softmax
from .autograd import Function, no_grad, record
from .embeddings import Embedding, RotaryEmbedding
from .layers import LayerNorm, Linear, RMSNorm, check_positive
from .masks import Mask, as_mask, as_padding_mask, both, with_head_axis
from .module import Module
from .tensor import Tensor, from_numpy

MASK_VALUE = -1e9

Array = NDArray[np.float32]


def scaled_dot_product_attention(
    Q: Tensor, K: Tensor, V: Tensor, mask: Any = None, causal: bool = False, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(D)) V, and the weights.

    Parameters
    ----------
    Q : Tensor (..., T, D)
    K, V : Tensor (..., S, D)
        Of shape (B, G, S, D), they may have fewer heads than Q (B, H, T, D), where G divides H: query head h
        reads head h // (H / G) (grouped-query attention).
    mask : Tensor or array, broadcast to (..., T, S), optional
        1 keeps a position, 0 blocks it; floats of other values are added to the scores (see `masks.as_mask`),
        and so is a Tensor that requires a gradient. A row in which everything is blocked gives zeros.
    causal : bool
        Query t sees only keys up to t. Holds together with a mask.
    scale : float, optional
        1 / sqrt(D) unless given.

    Returns
    -------
    output : Tensor (..., T, D)
    weights : Tensor (..., T, S)
        Each row sums to 1.

    References
    ----------
    A. Vaswani et al., *Attention Is All You Need*, 2017, section 3.2.1.
    """
    _check_qkv(Q.shape, K.shape, V.shape)
    K, V = _repeated_heads(K, Q), _repeated_heads(V, Q)
    scores = Q @ K.transpose(-2, -1) * (1.0 / math.sqrt(Q.shape[-1]) if scale is None else scale)
    if isinstance(mask, Tensor) and mask.requires_grad:
        scores, mask = scores + mask, None
    allowed = None if mask is None else as_mask(mask, scores.shape)
    if causal:
        allowed = both(allowed, np.tri(Q.shape[-2], K.shape[-2], dtype=bool))
    if allowed is None:
        weights = softmax(scores, dim=-1)
    else:
        added = np.where(allowed, 0, MASK_VALUE) if allowed.dtype == bool else np.maximum(allowed, MASK_VALUE)
        keep = allowed if allowed.dtype == bool else allowed > -np.inf
        # The product changes only rows in which everything is blocked: their softmax would be uniform.
        weights = softmax(scores + added.astype(scores.dtype), dim=-1) * keep.astype(scores.dtype)
    return weights @ V, weights


class AttentionBackward(Function):
    """Gradient of `fused_attention`; the weights are computed again from q, k and each row's log-sum-exp."""

    owns_gradients = True

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, y: Array, lse: Array, options: dict[str, Any]):
        super().__init__(q, k, v)
        self._y, self._lse, self._options = y, lse, options

    def backward(self, grad: Array) -> tuple[Array, Array, Array]:
        q, k, v = (tensor.data for tensor in self.saved_tensors)
        return kernels.attention_backward(grad, q, k, v, y=self._y, lse=self._lse, **self._options)


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Any = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """`scaled_dot_product_attention` in one kernel, without the T x S weights in memory.

    Parameters
    ----------
    q : Tensor (B, H, T, D)
    k, v : Tensor (B, G, S, D)
        G divides H.
    mask, causal, scale
        As for `scaled_dot_product_attention`, but the mask has no gradient.

    Returns
    -------
    Tensor (B, H, T, D)
    """
    _check_qkv(q.shape, k.shape, v.shape)
    if isinstance(mask, Tensor) and mask.requires_grad:
        raise ValueError(
            "attention: the fused kernel has no gradient for the mask, but this one requires it. "
            "Use scaled_dot_product_attention, or mask.detach()."
        )
    allowed = None if mask is None else as_mask(mask, (*q.shape[:-1], k.shape[-2]))
    return attend(q, k, v, allowed, causal, scale)


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """`fused_attention` under a mask in the kernel's form: booleans keep, floats are added."""
    options: dict[str, Any] = {"causal": causal, "mask": mask, "scale": scale}
    y, lse = kernels.attention(q.data, k.data, v.data, return_lse=True, **options)
    return record(y, AttentionBackward, q, k, v, y, lse, options)


class MultiHeadAttention(Module):
    """Several attentions side by side, each on its own slice of the projected input.

    With fewer heads of keys and values than of queries, several queries share one (grouped-query attention;
    with a single one, multi-query attention): less to compute, and above all less for a cache to hold.

    Parameters
    ----------
    embed_dim : int
    num_heads : int
        Of queries; must divide `embed_dim`.
    num_kv_heads : int, optional
        Of keys and values; must divide `num_heads`, which it is unless given.
    bias : bool
        Whether the projections have one.
    rotary : RotaryEmbedding, optional
        Turns queries and keys by their positions.

    Attributes
    ----------
    q_proj, out_proj : Linear (embed_dim, embed_dim)
    k_proj, v_proj : Linear (embed_dim, num_kv_heads * head_dim)
    head_dim : int

    References
    ----------
    J. Ainslie et al., *GQA: Training Generalized Multi-Query Transformer Models from Multi-Head
    Checkpoints*, 2023, arXiv:2305.13245.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        bias: bool = True,
        rotary: RotaryEmbedding | None = None,
    ):
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        check_positive(
            "MultiHeadAttention", embed_dim=embed_dim, num_heads=num_heads, num_kv_heads=num_kv_heads
        )
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiHeadAttention: embed_dim={embed_dim} can't be split into num_heads={num_heads} "
                "equal heads. Choose a number of heads that divides embed_dim."
            )
        if num_heads % num_kv_heads:
            raise ValueError(
                f"MultiHeadAttention: num_heads={num_heads} queries can't share num_kv_heads={num_kv_heads} "
                "keys evenly. Choose a num_kv_heads that divides num_heads."
            )
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, num_heads, num_kv_heads
        self.head_dim = embed_dim // num_heads
        if rotary is not None and rotary.head_dim != self.head_dim:
            raise ValueError(
                f"MultiHeadAttention: heads are embed_dim / num_heads = {self.head_dim} wide, but "
                f"RotaryEmbedding has head_dim={rotary.head_dim}. Make it RotaryEmbedding({self.head_dim})."
            )
        self.rotary = rotary
        self.q_proj = Linear(embed_dim, embed_dim, bias)
        self.k_proj = Linear(embed_dim, num_kv_heads * self.head_dim, bias)
        self.v_proj = Linear(embed_dim, num_kv_heads * self.head_dim, bias)
        self.out_proj = Linear(embed_dim, embed_dim, bias)

    def forward(
        self,
        x: Tensor,
        mask: Any = None,
        causal: bool = False,
        return_weights: bool = False,
        padding_mask: Any = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Self-attention on x. Masks, `causal` and `padding_mask` hold together.

        Parameters
        ----------
        x : Tensor (B, T, embed_dim)
        mask : Tensor or array (T, T), (B, T, T) or (B, H, T, T), optional
            1 keeps, 0 blocks; floats of other values are added to the scores. An axis may be 1 to serve all.
        causal : bool
            Position t sees only positions up to t; cheaper than the same as a mask.
        return_weights : bool
            Also return the attention weights (B, H, T, T), at the cost of storing them.
        padding_mask : Tensor or array (B, T), optional
            1 for a token, 0 for padding, which nothing looks at.
        """
        if not isinstance(x, Tensor):
            raise TypeError(
                f"MultiHeadAttention: expected a Tensor, got {type(x).__name__}; wrap it: Tensor(x)"
            )
        self._check_input(x.shape)
        if not isinstance(causal, (bool, np.bool_)):
            raise TypeError(
                f"MultiHeadAttention: causal is True or False, got {type(causal).__name__}. This is "
                "self-attention: queries, keys and values are made from one x, so pass it once."
            )
        q, k, v = (self._split_heads(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        mask = None if mask is None else with_head_axis(mask)
        if padding_mask is not None:
            keep = as_padding_mask(padding_mask, *x.shape[:2])
            mask = both(None if mask is None else as_mask(mask, (*q.shape[:-1], x.shape[1])), keep)
        if not return_weights:
            return self.out_proj(self._join_heads(fused_attention(q, k, v, mask, causal)))
        y, weights = scaled_dot_product_attention(q, k, v, mask, causal)
        return self.out_proj(self._join_heads(y)), weights

    def infer(self, x: Array, cache: kernels.KVCache | None = None, layer: int = 0) -> Array:
        """Causal self-attention on an array, without a graph.

        Parameters
        ----------
        x : float32 array (B, T, embed_dim)
        cache : kernels.KVCache, optional
            Holds the keys and values of earlier positions; then x has only the new ones, which are
            appended. The caller advances the cache, once all layers have run.
        layer : int
            Which layer of the cache is this one's.
        """
        self._check_input(x.shape)
        q, k, v = (self._split_heads(infer(proj, x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if self.rotary is not None:
            start = 0 if cache is None else cache.lengths
            q, k = self.rotary.turned(q, start), self.rotary.turned(k, start)
        if cache is None:
            y = kernels.attention(q, k, v, causal=True)
        else:
            y = kernels.attention_cached(q, k, v, cache, layer)
        return infer(self.out_proj, self._join_heads(y))

    def _split_heads(self, x: Any) -> Any:
        """(B, T, H * D) to (B, H, T, D), whatever the number of heads."""
        return _swap_axes_1_2(x.reshape(*x.shape[:2], x.shape[2] // self.head_dim, self.head_dim))

    def _join_heads(self, x: Any) -> Any:
        """(B, H, T, D) to (B, T, E)."""
        x = _swap_axes_1_2(x)
        return x.reshape(*x.shape[:2], self.embed_dim)

    def _check_input(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[2] != self.embed_dim:
            raise ValueError(
                f"MultiHeadAttention: expected x of shape (batch, time, {self.embed_dim}), got {shape}"
                + (f": axis 2 is {shape[2]}, not embed_dim={self.embed_dim}." if len(shape) == 3 else ".")
            )

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}"


def infer(layer: Any, x: Any, *context: Any) -> Array:
    """Run a layer on an array, without a graph, between its forward hooks if it has any.

    The usual layers go straight to their kernels, those with an ``infer(x, *context)`` to that, and all
    others to their `forward`.
    """
    if layer._forward_pre_hooks or layer._forward_hooks:
        with no_grad():
            return layer.between_hooks(
                lambda x: from_numpy(_infer(layer, x.data, *context)), from_numpy(x)
            ).data
    return _infer(layer, x, *context)


def _infer(layer: Any, x: Any, *context: Any) -> Array:
    if not context and "forward" not in vars(layer):
        kind = type(layer)
        if kind is Linear:
            weight = vars(layer).get("_packed_weight", layer.weight.data)
            return kernels.linear(x, weight, None if layer.bias is None else layer.bias.data)
        if kind is LayerNorm:
            return kernels.layer_norm(x, layer.gamma.data, layer.beta.data, layer.eps)
        if kind is RMSNorm:
            return kernels.rms_norm(x, layer.gamma.data, layer.eps)
        if kind is GELU:
            return kernels.gelu(x, layer.approximate)
        if kind is Embedding:
            return layer.weight.data[x]
    if hasattr(layer, "infer"):
        return layer.infer(x, *context)
    if context:
        raise TypeError(
            f"generate: {type(layer).__name__} has no method infer(x, cache, layer), so it cannot be run one "
            "position at a time. Give it one, as MultiHeadAttention and TransformerBlock have."
        )
    with no_grad():
        return layer.forward(from_numpy(x)).data


@contextmanager
def packed_weights(model: Module) -> Iterator[None]:
    """Let `infer` read weights that are packed once, for as long as the block lasts.

    A kernel otherwise rearranges a weight matrix on every call, which for one new token costs more
    than the product itself. Inside the block the weights must not change.
    """
    linears = [m for m in model.modules() if type(m) is Linear and m.weight.dtype == np.float32]
    for linear in linears:
        vars(linear)["_packed_weight"] = kernels.pack(linear.weight.data)
    try:
        yield
    finally:
        for linear in linears:
            vars(linear).pop("_packed_weight", None)


def _swap_axes_1_2(x: Any) -> Any:
    """Swap heads and time, of a Tensor or an array: their `transpose` methods differ.

    A Tensor is brought into the new order at once, as the kernels read it forward and backward.
    """
    return x.swapaxes(1, 2) if isinstance(x, np.ndarray) else x.transpose(1, 2).contiguous()


def _repeated_heads(x: Tensor, like: Tensor) -> Tensor:
    """Keys or values (B, G, S, D) with each head as often as queries `like` (B, H, T, D) share it."""
    if x.ndim != 4 or like.ndim != 4 or x.shape[1] == like.shape[1]:
        return x
    return x[:, np.repeat(np.arange(x.shape[1]), like.shape[1] // x.shape[1])]


def _check_qkv(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    if len(q) < 2 or len(k) < 2 or len(v) < 2:
        problem = "each needs at least the axes (time, features)"
    elif q[-1] != k[-1]:
        problem = f"the last axes of Q ({q[-1]}) and K ({k[-1]}) must agree: their rows are multiplied"
    elif k[-2] != v[-2]:
        problem = f"K has {k[-2]} positions and V has {v[-2]}: each key needs one value"
    elif len(q) == len(k) == len(v) == 4 and (k[1] != v[1] or not k[1] or q[1] % k[1]):
        problem = f"{q[1]} heads of Q can't share {k[1]} heads of K and {v[1]} of V evenly (axis 1)"
    else:
        return
    raise ValueError(f"attention: {problem}.\n  Q {q}\n  K {k}\n  V {v}")
