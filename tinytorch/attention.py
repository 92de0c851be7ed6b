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
from .layers import LayerNorm, Linear, check_positive
from .module import Module
from .tensor import Tensor, from_numpy

MASK_VALUE = -1e9

Array = NDArray[np.float32]


def scaled_dot_product_attention(Q: Tensor, K: Tensor, V: Tensor, mask: Any = None) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(D)) V, and the weights.

    Parameters
    ----------
    Q : Tensor (..., T, D)
    K, V : Tensor (..., S, D)
    mask : Tensor or array, broadcast to (..., T, S), optional
        1 keeps a position, 0 blocks it. A row in which everything is blocked gives zeros.

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
    scores = Q @ K.transpose(-2, -1) * (1.0 / math.sqrt(Q.shape[-1]))
    if mask is None:
        weights = softmax(scores, dim=-1)
    else:
        keep = _as_keep(mask, scores.shape).astype(scores.dtype)
        # The product changes only rows in which everything is blocked: their softmax would be uniform.
        weights = softmax(scores + (1 - keep) * MASK_VALUE, dim=-1) * keep
    return weights @ V, weights


class AttentionBackward(Function):
    """Gradient of `fused_attention`; the weights are computed again from q, k and each row's log-sum-exp."""

    owns_gradients = True

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        causal: bool,
        mask: NDArray[np.bool_] | None,
        y: Array,
        lse: Array,
    ):
        super().__init__(q, k, v)
        self._causal, self._mask, self._y, self._lse = causal, mask, y, lse

    def backward(self, grad: Array) -> tuple[Array, Array, Array]:
        q, k, v = (tensor.data for tensor in self.saved_tensors)
        return kernels.attention_backward(
            grad, q, k, v, causal=self._causal, mask=self._mask, y=self._y, lse=self._lse
        )


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Any = None, causal: bool = False) -> Tensor:
    """Attention in one kernel, without the T x T weights in memory.

    Parameters
    ----------
    q : Tensor (B, H, T, D)
    k, v : Tensor (B, H, S, D)
    mask : Tensor or array, broadcast to (B, H, T, S), optional
        1 keeps a position, 0 blocks it.
    causal : bool
        Position t sees only positions up to t.

    Returns
    -------
    Tensor (B, H, T, D)
    """
    _check_qkv(q.shape, k.shape, v.shape)
    keep = None if mask is None else _as_keep(mask, (*q.shape[:-1], k.shape[-2]))
    y, lse = kernels.attention(q.data, k.data, v.data, causal=causal, mask=keep, return_lse=True)
    return record(y, AttentionBackward, q, k, v, causal, keep, y, lse)


class MultiHeadAttention(Module):
    """Several attentions side by side, each on its own slice of the projected input.

    Parameters
    ----------
    embed_dim : int
    num_heads : int
        Must divide `embed_dim`.

    Attributes
    ----------
    q_proj, k_proj, v_proj, out_proj : Linear (embed_dim, embed_dim)
    head_dim : int
    """

    def __init__(self, embed_dim: int, num_heads: int):
        check_positive("MultiHeadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiHeadAttention: embed_dim={embed_dim} can't be split into num_heads={num_heads} "
                "equal heads. Choose a number of heads that divides embed_dim."
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.q_proj = Linear(embed_dim, embed_dim)
        self.k_proj = Linear(embed_dim, embed_dim)
        self.v_proj = Linear(embed_dim, embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim)

    def forward(
        self, x: Tensor, mask: Any = None, causal: bool = False, return_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Self-attention on x.

        Parameters
        ----------
        x : Tensor (B, T, embed_dim)
        mask : Tensor or array (T, T), (B, T, T) or (B, H, T, T), optional
            1 keeps, 0 blocks; an axis may be 1 to serve all.
        causal : bool
            Position t sees only positions up to t; cheaper than the same as a mask.
        return_weights : bool
            Also return the attention weights (B, H, T, T), at the cost of storing them.
        """
        self._check_input(x.shape)
        q, k, v = (self._split_heads(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        mask = _with_head_axis(mask)
        if not return_weights:
            return self.out_proj(self._join_heads(fused_attention(q, k, v, mask, causal)))
        if causal:
            triangle = np.tri(x.shape[1], dtype=bool)
            mask = triangle if mask is None else _as_keep(mask, (*q.shape[:-1], x.shape[1])) & triangle
        y, weights = scaled_dot_product_attention(q, k, v, mask)
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

        Raises
        ------
        ValueError
            Several new positions, but the cache is not empty.
        """
        self._check_input(x.shape)
        q, k, v = (self._split_heads(infer(proj, x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if cache is not None and x.shape[1] == 1:
            return infer(self.out_proj, self._join_heads(kernels.attention_decode(q, k, v, cache, layer)))
        if cache is not None:
            if cache.lengths.any():
                raise ValueError(
                    f"MultiHeadAttention: {x.shape[1]} new positions for a cache that already holds "
                    f"{int(cache.lengths.max())}. Feed one position at a time, or cache.reset() first."
                )
            cache.append(layer, k, v)
        return infer(self.out_proj, self._join_heads(kernels.attention(q, k, v, causal=True)))

    def _split_heads(self, x: Any) -> Any:
        """(B, T, E) to (B, H, T, D)."""
        return _swap_axes_1_2(x.reshape(*x.shape[:2], self.num_heads, self.head_dim))

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
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def infer(layer: Module, x: Array) -> Array:
    """Run a layer on an array, without a graph; the usual ones go straight to their kernels."""
    if type(layer) is Linear:
        weight = vars(layer).get("_packed_weight", layer.weight.data)
        return kernels.linear(x, weight, None if layer.bias is None else layer.bias.data)
    if type(layer) is LayerNorm:
        return kernels.layer_norm(x, layer.gamma.data, layer.beta.data, layer.eps)
    if type(layer) is GELU:
        return kernels.gelu(x, layer.approximate)
    if hasattr(layer, "infer"):
        return layer.infer(x)
    with no_grad():
        return layer(from_numpy(x)).data


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


def _with_head_axis(mask: Any) -> Any:
    """Give a (B, T, T) mask the head axis that it lacks."""
    if mask is None or len(mask.shape) != 3:
        return mask
    return mask.reshape(mask.shape[0], 1, *mask.shape[1:])


def _as_keep(mask: Any, scores_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask of ones and zeros as booleans, with as many axes as the scores."""
    values = np.asarray(mask.data if isinstance(mask, Tensor) else mask)
    keep = values.astype(bool)
    if not np.array_equal(keep, values):
        raise ValueError(
            "attention: a mask holds 1 (keep) and 0 (block) only, but this one has other values. "
            "If it is one to add to the scores, use mask == 0."
        )
    try:
        np.broadcast_to(keep, scores_shape)
    except ValueError:
        raise ValueError(
            f"attention: the mask doesn't fit the scores.\n"
            f"  mask   {keep.shape}\n"
            f"  scores {scores_shape}\n"
            "The last two axes are (queries, keys); an axis of 1 serves all."
        ) from None
    return keep.reshape((1,) * (len(scores_shape) - keep.ndim) + keep.shape)


def _check_qkv(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    if len(q) < 2 or len(k) < 2 or len(v) < 2:
        problem = "each needs at least the axes (time, features)"
    elif q[-1] != k[-1]:
        problem = f"the last axes of Q ({q[-1]}) and K ({k[-1]}) must agree: their rows are multiplied"
    elif k[-2] != v[-2]:
        problem = f"K has {k[-2]} positions and V has {v[-2]}: each key needs one value"
    else:
        return
    raise ValueError(f"attention: {problem}.\n  Q {q}\n  K {k}\n  V {v}")
