"""Module 13: transformers. Blocks of attention and MLP, stacked into a GPT that writes text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .activations import GELU, silu
from .attention import Array, MultiHeadAttention, infer, packed_weights
from .embeddings import Embedding
from .generation import GenerationMixin
from .layers import Dropout, LayerNorm, Linear, check_positive
from .masks import as_padding_mask
from .module import Module
from .tensor import Tensor, from_numpy

__all__ = ["GPT", "MLP", "LanguageModel", "LayerNorm", "SwiGLU", "TransformerBlock", "create_causal_mask"]


def create_causal_mask(seq_len: int) -> Tensor:
    """Return a mask (1, T, T) with ones on and below the diagonal: position t sees positions up to t."""
    check_positive("create_causal_mask", seq_len=seq_len)
    return Tensor(np.tri(seq_len)[None])


class MLP(Module):
    """Linear, GELU, Linear: what each position does with what attention brought.

    Parameters
    ----------
    embed_dim : int
    hidden_dim : int, optional
        4 * embed_dim unless given.
    dropout_prob : float
        Applied to the result, in training mode only.

    Attributes
    ----------
    linear1, linear2 : Linear
    gelu : GELU
    """

    def __init__(self, embed_dim: int, hidden_dim: int | None = None, dropout_prob: float = 0.1):
        hidden_dim = 4 * embed_dim if hidden_dim is None else hidden_dim
        self.linear1 = Linear(embed_dim, hidden_dim)
        self.gelu = GELU()
        self.linear2 = Linear(hidden_dim, embed_dim)
        self.dropout = Dropout(dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., embed_dim) to the same shape."""
        return self.dropout(self.linear2(self.gelu(self.linear1(x))))

    def infer(self, x: Array) -> Array:
        """The same on an array, without a graph."""
        return infer(self.linear2, infer(self.gelu, infer(self.linear1, x)))


class SwiGLU(Module):
    """A gated MLP: one Linear says how much of another's result passes, a third brings it back.

    Source: N. Shazeer, *GLU Variants Improve Transformer*, 2020, arXiv:2002.05202.

    Parameters
    ----------
    embed_dim : int
    hidden_dim : int, optional
        Unless given, 8/3 * embed_dim, up to the next multiple of 32: three matrices then have about as many
        weights as the two of `MLP`.

    Attributes
    ----------
    gate, up : Linear (embed_dim, hidden_dim), without bias
    down : Linear (hidden_dim, embed_dim), without bias
    """

    def __init__(self, embed_dim: int, hidden_dim: int | None = None):
        check_positive("SwiGLU", embed_dim=embed_dim)
        hidden_dim = -(-8 * embed_dim // 96) * 32 if hidden_dim is None else hidden_dim
        self.gate = Linear(embed_dim, hidden_dim, bias=False)
        self.up = Linear(embed_dim, hidden_dim, bias=False)
        self.down = Linear(hidden_dim, embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., embed_dim) to the same shape."""
        return self.down(silu(self.gate(x)) * self.up(x))

    def infer(self, x: Array) -> Array:
        """The same on an array, without a graph."""
        gate = infer(self.gate, x)
        hidden = kernels.sigmoid(gate)
        hidden *= gate
        hidden *= infer(self.up, x)
        return infer(self.down, hidden)


class TransformerBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Normalising before each part, not after, keeps the path from end to start free of
    everything but additions, which is why deep stacks of these train.

    Source: R. Xiong et al., *On Layer Normalization in the Transformer Architecture*, 2020,
    arXiv:2002.04745.

    Attributes
    ----------
    attention : MultiHeadAttention
    ln1, ln2 : LayerNorm, or what a subclass puts in its place
    mlp : MLP, likewise
    """

    ln1: Any
    ln2: Any
    mlp: Any

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float = 4, dropout_prob: float = 0.1):
        self.ln1 = LayerNorm(embed_dim)
        self.attention = MultiHeadAttention(embed_dim, num_heads)
        self.ln2 = LayerNorm(embed_dim)
        self.mlp = MLP(embed_dim, int(embed_dim * mlp_ratio), dropout_prob)

    def forward(self, x: Tensor, mask: Any = None, causal: bool = False, padding_mask: Any = None) -> Tensor:
        """Map x (B, T, embed_dim) to the same shape; for the masks see `MultiHeadAttention`."""
        x = x + self.attention(self.ln1(x), mask, causal, padding_mask=padding_mask)
        return x + self.mlp(self.ln2(x))

    def infer(self, x: Array, cache: kernels.KVCache | None = None, layer: int = 0) -> Array:
        """The same on an array, causal and without a graph; for the cache see `MultiHeadAttention.infer`."""
        x = x + infer(self.attention, infer(self.ln1, x), cache, layer)
        return x + infer(self.mlp, infer(self.ln2, x))


def as_decoder_blocks(blocks: list[TransformerBlock]) -> tuple[kernels.DecoderBlock, ...] | None:
    """The weights for `kernels.decode_blocks`, or None when a block is not made of ordinary layers."""
    described = []
    for block in blocks:
        if not _is_ordinary(block):
            return None
        q, k, v, out, expand, contract = map(_weight_and_bias, _linears(block))
        if not (q and k and v and out and expand and contract):
            return None
        norm1, norm2 = ((norm.gamma.data, norm.beta.data) for norm in (block.ln1, block.ln2))
        described.append(
            kernels.DecoderBlock(
                norm1, q, k, v, out, norm2, expand, contract, eps1=block.ln1.eps, eps2=block.ln2.eps
            )
        )
    return tuple(described)


def _linears(block: TransformerBlock) -> tuple[Any, ...]:
    attention, mlp = block.attention, block.mlp
    projections = attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj
    return *projections, mlp.linear1, mlp.linear2


def _is_ordinary(block: TransformerBlock) -> bool:
    """Whether `infer` of this block does what `kernels.decode_blocks` does, if its Linear layers do: no
    subclass, no method replaced on an instance, no hook.
    """
    if type(block) is not TransformerBlock:
        return False
    attention, mlp = block.attention, block.mlp
    if type(attention) is not MultiHeadAttention or type(mlp) is not MLP or type(mlp.gelu) is not GELU:
        return False
    norms = block.ln1, block.ln2
    return (
        mlp.gelu.approximate == "none"
        and attention.rotary is None
        and not any(part._forward_pre_hooks or part._forward_hooks for part in block.modules())
        and all(type(layer) is LayerNorm for layer in norms)
        and not any("infer" in vars(part) for part in (block, attention, mlp))
        and not any("forward" in vars(part) for part in (block, mlp, mlp.gelu, *norms))
    )


def _weight_and_bias(layer: Any) -> tuple[Any, Array | None] | None:
    """What `kernels.decode_blocks` multiplies by in this layer's place, or None if it cannot take it.

    Of a Linear, or of what stands in for one and has a method `weight_and_bias()`, which must be of its very
    class: a subclass may compute something else.
    """
    if vars(layer).keys() & {"forward", "infer"}:
        return None
    if type(layer) is Linear:
        return layer.weight.data, None if layer.bias is None else layer.bias.data
    return layer.weight_and_bias() if "weight_and_bias" in vars(type(layer)) else None


class LanguageModel(GenerationMixin, Module):
    """What decoder-only models have in common: vectors for the tokens, blocks, a norm, and at each position
    a score for each possible next token.

    A subclass makes the attributes; `GPT` is one.

    Attributes
    ----------
    vocab_size, embed_dim, num_layers, num_heads, num_kv_heads, max_seq_len : int
    token_embedding : Embedding (vocab_size, embed_dim)
    position_embedding : Embedding (max_seq_len, embed_dim), or None where attention itself knows positions
    blocks : list of TransformerBlock
    ln_f : LayerNorm or RMSNorm
    lm_head : Linear (embed_dim, vocab_size)
    """

    vocab_size: int
    embed_dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    position_embedding: Embedding | None = None
    blocks: list[TransformerBlock]
    ln_f: Module
    lm_head: Linear

    # Set by caching.enable_kv_cache.
    _kv_cache: kernels.KVCache | None = None
    _cache_enabled = False
    _described: tuple[kernels.DecoderBlock, ...] | None = None  # while generate runs

    def forward(self, tokens: Any, padding_mask: Any = None) -> Tensor:
        """Score every possible next token at every position.

        Parameters
        ----------
        tokens : Tensor, array or nested list of ids (B, T)
            All of the sequence; while a KV cache is enabled, only what follows what it holds.
        padding_mask : Tensor or array (B, T), optional
            1 for a token, 0 for padding, on the left or on the right. Logits at tokens are those of the
            sequence without its padding, those at padding mean nothing.

        Returns
        -------
        Tensor (B, T, vocab_size)
            Logits. Those at position t depend on tokens up to t only.
        """
        if self._cache_enabled and self._kv_cache is not None:
            if padding_mask is not None:
                raise ValueError(f"{type(self).__name__}: the KV cache knows no padding_mask; disable one.")
            return from_numpy(self.infer(tokens, self._kv_cache))
        ids = self._checked(tokens, start=0)
        positions = np.arange(ids.shape[1])
        if padding_mask is not None:  # positions are counted from the first token on
            keep = as_padding_mask(padding_mask, *ids.shape)[:, 0, 0]
            positions = np.maximum(keep.cumsum(axis=1) - 1, 0)
        x = self.token_embedding(ids)
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        for block in self.blocks:
            x = block(x, causal=True, padding_mask=padding_mask)
        return self.lm_head(self.ln_f(x))

    def infer(self, tokens: Any, cache: kernels.KVCache | None = None, last_only: bool = False) -> Array:
        """Do what `forward` does on plain arrays: no graph, no dropout, and a cache if given.

        Parameters
        ----------
        tokens : ids (B, T)
            All of the sequence, or only what follows what the cache holds.
        cache : kernels.KVCache, optional
            Takes the keys and values of these tokens and is advanced by T.
        last_only : bool
            Return logits (B, 1, vocab_size) of the last position only.

        Returns
        -------
        float32 array (B, T, vocab_size)
        """
        ids = self._checked(tokens, 0 if cache is None else max(cache.lengths.tolist()))
        steps = ids.shape[1]
        if cache is not None and len(cache.lengths) != len(ids):
            raise ValueError(
                f"{type(self).__name__}: {len(ids)} sequences of ids {ids.shape} for a cache with "
                f"batch_size={len(cache.lengths)}. Give each its own: new_cache(batch_size={len(ids)})."
            )
        x = infer(self.token_embedding, ids)
        if self.position_embedding is not None:
            starts = 0 if cache is None else cache.lengths[:, None]
            x = x + infer(self.position_embedding, starts + np.arange(steps))
        if cache is not None and steps == 1 and (blocks := self._as_decoder_blocks()):
            x = kernels.decode_blocks(x, blocks, cache, self.num_heads)
        else:
            for layer, block in enumerate(self.blocks):
                x = infer(block, x, cache, layer)
        if cache is not None:
            cache.advance(steps)
        if last_only:
            x = x[:, -1:]
        return infer(self.lm_head, infer(self.ln_f, x))

    def new_cache(
        self,
        batch_size: int = 1,
        max_seq_len: int | None = None,
        dtype: str = "float32",
        window: int | None = None,
    ) -> kernels.KVCache:
        """Return an empty cache of this model's layers and heads, for `max_seq_len` positions."""
        return kernels.KVCache(
            batch_size,
            self.max_seq_len if max_seq_len is None else max_seq_len,
            self.num_layers,
            self.num_kv_heads,
            self.embed_dim // self.num_heads,
            dtype,
            window,
        )

    def _as_decoder_blocks(self) -> tuple[kernels.DecoderBlock, ...] | None:
        return self._described or as_decoder_blocks(self.blocks)

    @contextmanager
    def unchanging(self, pack: bool) -> Iterator[None]:
        """Look at the blocks once and not for each token; inside, they and their weights must not change.

        With `pack`, weights are also rearranged once, which whole sequences are worth: see `packed_weights`.
        """
        self._described = as_decoder_blocks(self.blocks)
        try:
            with packed_weights(self) if pack else nullcontext():
                yield
        finally:
            self._described = None

    def _checked(self, tokens: Any, start: int) -> NDArray[np.int64]:
        """Return ids (B, T) that this model can read from position `start` on."""
        name = type(self).__name__
        ids = self.token_embedding.checked(tokens)
        if ids.ndim != 2 or ids.size == 0:
            raise ValueError(
                f"{name}: expected token ids of shape (batch, time), at least one of each, got {ids.shape}."
            )
        if start + ids.shape[1] > self.max_seq_len:
            held = f" after {start} in the cache" if start else ""
            raise ValueError(
                f"{name}: {ids.shape[1]} tokens (axis 1 of {ids.shape}){held} don't fit "
                f"max_seq_len={self.max_seq_len}. Keep the last ones only: tokens[:, -max_seq_len:]."
            )
        return ids


class GPT(LanguageModel):
    """A decoder-only language model with learned positions.

    Source: A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019.

    Parameters
    ----------
    vocab_size, embed_dim, num_layers, num_heads : int
    max_seq_len : int
        The longest sequence it can read.
    dropout_prob : float
        Inside the blocks, in training mode only.

    Attributes
    ----------
    token_embedding, position_embedding : Embedding
    blocks : list of TransformerBlock
    ln_f : LayerNorm
    lm_head : Linear (embed_dim, vocab_size), without bias
    """

    position_embedding: Embedding
    ln_f: LayerNorm

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        max_seq_len: int = 1024,
        dropout_prob: float = 0.0,
    ):
        check_positive("GPT", num_layers=num_layers)
        self.vocab_size, self.embed_dim, self.num_layers = vocab_size, embed_dim, num_layers
        self.num_heads, self.num_kv_heads, self.max_seq_len = num_heads, num_heads, max_seq_len
        self.token_embedding = Embedding(vocab_size, embed_dim)
        self.position_embedding = Embedding(max_seq_len, embed_dim)
        self.blocks = [
            TransformerBlock(embed_dim, num_heads, dropout_prob=dropout_prob) for _ in range(num_layers)
        ]
        self.ln_f = LayerNorm(embed_dim)
        self.lm_head = Linear(embed_dim, vocab_size, bias=False)
