"""Llama: the GPT of today, with other parts in the same places."""

from __future__ import annotations

from tinytorch.attention import MultiHeadAttention
from tinytorch.embeddings import Embedding, RotaryEmbedding
from tinytorch.layers import Linear, RMSNorm, check_positive
from tinytorch.transformers import LanguageModel, SwiGLU, TransformerBlock


class LlamaBlock(TransformerBlock):
    """The usual block of other parts: RMSNorm, grouped-query attention with rotary positions, SwiGLU."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        hidden_dim: int | None = None,
        rotary: RotaryEmbedding | None = None,
        eps: float = 1e-5,
    ):
        self.ln1 = RMSNorm(embed_dim, eps)
        self.attention = MultiHeadAttention(embed_dim, num_heads, num_kv_heads, bias=False, rotary=rotary)
        self.ln2 = RMSNorm(embed_dim, eps)
        self.mlp = SwiGLU(embed_dim, hidden_dim)


class Llama(LanguageModel):
    """A decoder-only language model in the manner of Llama: no biases, no learned positions.

    In place of GPT's parts it has RMSNorm for LayerNorm, rotary for learned positions, SwiGLU for the MLP
    with GELU, and grouped-query attention.

    Parameters
    ----------
    vocab_size, embed_dim, num_layers, num_heads : int
    num_kv_heads : int, optional
        Heads of keys and values, `num_heads` unless given; with fewer, a cache holds less.
    hidden_dim : int, optional
        Of the gated MLP, see `SwiGLU`.
    max_seq_len : int
        The longest sequence it can read.
    rope_base : float
        Of the rotary positions: 10000 in Llama 1 and 2, 500000 in Llama 3.
    eps : float
        Of the norms.

    References
    ----------
    H. Touvron et al., *LLaMA: Open and Efficient Foundation Language Models*, 2023, arXiv:2302.13971; grouped
    queries since *Llama 2*, 2023, arXiv:2307.09288.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        hidden_dim: int | None = None,
        max_seq_len: int = 1024,
        rope_base: float = 10000.0,
        eps: float = 1e-5,
    ):
        check_positive("Llama", num_layers=num_layers, num_heads=num_heads)
        self.vocab_size, self.embed_dim, self.num_layers = vocab_size, embed_dim, num_layers
        self.num_heads, self.max_seq_len = num_heads, max_seq_len
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.token_embedding = Embedding(vocab_size, embed_dim)
        rotary = RotaryEmbedding(embed_dim // num_heads, max_seq_len, rope_base)  # one table for all blocks
        self.blocks = [
            LlamaBlock(embed_dim, num_heads, num_kv_heads, hidden_dim, rotary, eps) for _ in range(num_layers)
        ]
        self.ln_f = RMSNorm(embed_dim, eps)
        self.lm_head = Linear(embed_dim, vocab_size, bias=False)
