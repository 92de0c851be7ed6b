"""A character-level GPT of a size that trains on a laptop."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.losses import cross_entropy
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT


def char_gpt(
    vocab_size: int, embed_dim: int = 128, num_layers: int = 4, num_heads: int = 4, max_seq_len: int = 1024
) -> GPT:
    """Return an untrained GPT; the defaults make 0.8 million weights plus tables for tokens and positions.

    Parameters
    ----------
    vocab_size : int
        ``tokenizer.vocab_size`` of a `CharTokenizer`.
    embed_dim, num_layers, num_heads, max_seq_len : int
    """
    return GPT(vocab_size, embed_dim, num_layers, num_heads, max_seq_len)


def next_token_loss(logits: Tensor, targets: Any, ignore_index: int = -100) -> Tensor:
    """Return the mean cross-entropy over all positions: a loss function for `Trainer`.

    Parameters
    ----------
    logits : Tensor (B, T, vocab_size)
    targets : Tensor or array of ids (B, T)
    ignore_index : int
        Positions with this target, such as padding or a prompt, don't count.
    """
    ids = targets.data if isinstance(targets, Tensor) else np.asarray(targets)
    if logits.shape[:-1] != ids.shape:
        raise ValueError(
            "next_token_loss: each position needs one target.\n"
            f"  logits  {logits.shape}\n  targets {ids.shape}"
        )
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), ids.reshape(-1), ignore_index)
