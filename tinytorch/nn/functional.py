"""Layers without state, as functions on tensors."""

from typing import Any

import numpy as np

from tinytorch.activations import elu, gelu, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, tanh
from tinytorch.attention import attend
from tinytorch.layers import dropout, linear
from tinytorch.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
)
from tinytorch.spatial import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    batch_norm,
    conv2d,
    max_pool2d,
)
from tinytorch.tensor import Tensor

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "huber_loss",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query key^T / sqrt(D)) value, with PyTorch's arguments; the course's form is in `attention`.

    Parameters
    ----------
    query : Tensor (B, H, T, D), (B, T, D) or (T, D)
    key, value : Tensor (B, H, S, D), (B, S, D) or (S, D)
    attn_mask : Tensor or array, broadcast to (..., T, S), optional
        Booleans keep where they are True; floats are added to the scores, even if they are all 0 and 1.
    dropout_p : float
        Only 0: the weights are never stored.
    is_causal : bool
        Query t sees only keys up to t.
    scale : float, optional
    enable_gqa : bool
        Let `key` and `value` have fewer heads than `query`.

    Returns
    -------
    Tensor, of the shape of query

    Raises
    ------
    ValueError
        Shapes do not fit.
    TypeError
        A mask of whole numbers.
    """
    name = "scaled_dot_product_attention"
    if dropout_p:
        raise ValueError(f"{name}: dropout_p must be 0: the weights are never stored, so none can be dropped")
    if not query.ndim == key.ndim == value.ndim or query.ndim not in (2, 3, 4):
        raise ValueError(
            f"{name}: query, key and value need the same 2 to 4 axes, (batch, heads, time, features).\n"
            f"  query {query.shape}\n  key   {key.shape}\n  value {value.shape}"
        )
    if query.ndim == 4 and query.shape[1] != key.shape[1] and not enable_gqa:
        raise ValueError(
            f"{name}: query has {query.shape[1]} heads and key {key.shape[1]} (axis 1); "
            "if queries are to share keys, pass enable_gqa=True"
        )
    mask = attn_mask.data if isinstance(attn_mask, Tensor) else attn_mask
    if getattr(attn_mask, "requires_grad", False):
        raise ValueError(f"{name}: the mask gets no gradient here; use tinytorch.attention, or mask.detach()")
    if query.ndim == 4:
        return attend(query, key, value, mask, is_causal, scale)
    if mask is not None and query.ndim == 3 and np.ndim(mask) == 3:
        mask = np.asarray(mask)[:, None]
    lead = (1,) * (3 - query.ndim)  # no batch
    q, k, v = (x.reshape(*lead, *x.shape[:-2], 1, *x.shape[-2:]) for x in (query, key, value))
    return attend(q, k, v, mask, is_causal, scale).reshape(*query.shape[:-1], value.shape[-1])
