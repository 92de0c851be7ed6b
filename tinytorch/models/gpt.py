"""A character-level GPT of a size that trains on a laptop."""

from __future__ import annotations

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
