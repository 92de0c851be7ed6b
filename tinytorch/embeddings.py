"""Module 11: embeddings. Token ids to vectors, and vectors that say where a token stands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import whole_numbers
from .autograd import EmbeddingBackward, record
from .layers import check_positive
from .module import Module, Parameter
from .tensor import Tensor


class Embedding(Module):
    """A table with one learned row for each token.

    Parameters
    ----------
    vocab_size, embed_dim : int

    Attributes
    ----------
    weight : Tensor (vocab_size, embed_dim)
        Xavier-uniform at the start.
    """

    def __init__(self, vocab_size: int, embed_dim: int):
        check_positive("Embedding", vocab_size=vocab_size, embed_dim=embed_dim)
        self.vocab_size, self.embed_dim = vocab_size, embed_dim
        limit = math.sqrt(6.0 / (vocab_size + embed_dim))
        self.weight = Parameter(np.random.uniform(-limit, limit, (vocab_size, embed_dim)))

    def forward(self, indices: Any) -> Tensor:
        """Look up ids of any shape (...): the result has shape (..., embed_dim).

        Raises
        ------
        ValueError
            An id is not a whole number, or lies outside 0 to vocab_size - 1.
        """
        ids = self.checked(indices)
        return record(self.weight.data[ids], EmbeddingBackward, self.weight, ids)

    def checked(self, indices: Any) -> NDArray[np.int64]:
        """Return ids as an int64 array, or say which of them the table has no row for."""
        ids = whole_numbers(indices, "Embedding: token ids")
        if ids.size and (ids.min() < 0 or ids.max() >= self.vocab_size):
            outside = (ids < 0) | (ids >= self.vocab_size)
            position = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"Embedding: Index out of range: id {ids[position]} at position {position}, but the table "
                f"has {self.vocab_size} rows (ids 0 to {self.vocab_size - 1}). "
                "Is vocab_size that of the tokenizer which made the ids?"
            )
        return ids

    def extra_repr(self) -> str:
        return f"vocab_size={self.vocab_size}, embed_dim={self.embed_dim}"


class PositionalEncoding(Module):
    """Adds a learned vector for each position.

    Attributes
    ----------
    position_embeddings : Tensor (max_seq_len, embed_dim)
    """

    def __init__(self, max_seq_len: int, embed_dim: int):
        check_positive("PositionalEncoding", max_seq_len=max_seq_len, embed_dim=embed_dim)
        self.max_seq_len, self.embed_dim = max_seq_len, embed_dim
        limit = math.sqrt(2.0 / embed_dim)
        self.position_embeddings = Parameter(np.random.uniform(-limit, limit, (max_seq_len, embed_dim)))

    def forward(self, x: Tensor) -> Tensor:
        """Add the first T position vectors to x (B, T, embed_dim).

        Raises
        ------
        ValueError
            x is not 3-D, is longer than `max_seq_len`, or is not `embed_dim` wide.
        """
        if len(x.shape) != 3:
            raise ValueError(
                f"PositionalEncoding: expected x of shape (batch, time, {self.embed_dim}), got {x.shape}. "
                "For one sequence, use x.reshape(1, *x.shape)."
            )
        _, steps, width = x.shape
        if steps > self.max_seq_len:
            raise ValueError(
                f"PositionalEncoding: x has {steps} positions (axis 1 of {x.shape}), "
                f"but the table ends at max_seq_len={self.max_seq_len}."
            )
        if width != self.embed_dim:
            raise ValueError(
                f"PositionalEncoding: axis 2 of x {x.shape} is {width} wide, but embed_dim={self.embed_dim}."
            )
        return x + self.position_embeddings[:steps]

    def extra_repr(self) -> str:
        return f"max_seq_len={self.max_seq_len}, embed_dim={self.embed_dim}"


def create_sinusoidal_embeddings(max_seq_len: int, embed_dim: int) -> Tensor:
    """Return fixed position vectors: sines in the even columns, cosines in the odd ones.

    Column pair i turns with wavelength 2 pi 10000^(2i / embed_dim).

    Returns
    -------
    Tensor (max_seq_len, embed_dim), without gradient

    References
    ----------
    A. Vaswani et al., *Attention Is All You Need*, 2017, section 3.5.
    """
    check_positive("create_sinusoidal_embeddings", max_seq_len=max_seq_len, embed_dim=embed_dim)
    position = np.arange(max_seq_len)[:, None]
    frequency = 10000.0 ** (-np.arange(0, embed_dim, 2) / embed_dim)
    table = np.empty((max_seq_len, embed_dim))
    table[:, 0::2] = np.sin(position * frequency)
    table[:, 1::2] = np.cos(position * frequency[: embed_dim // 2])
    return Tensor(table)


class EmbeddingLayer(Module):
    """Token vectors plus position vectors: what a transformer reads.

    Parameters
    ----------
    vocab_size, embed_dim, max_seq_len : int
    pos_encoding : {"learned", "sinusoidal", None}
    scale_embeddings : bool
        Multiply token vectors by sqrt(embed_dim), as the original transformer does.

    Attributes
    ----------
    token_embedding : Embedding
    pos_encoding : PositionalEncoding, Tensor or None
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        max_seq_len: int = 512,
        pos_encoding: str | None = "learned",
        scale_embeddings: bool = False,
    ):
        if pos_encoding not in ("learned", "sinusoidal", None):
            raise ValueError(
                f"EmbeddingLayer: pos_encoding must be 'learned', 'sinusoidal' or None, not {pos_encoding!r}."
            )
        self.vocab_size, self.embed_dim, self.max_seq_len = vocab_size, embed_dim, max_seq_len
        self.pos_encoding_type = pos_encoding
        self.scale_embeddings = scale_embeddings
        self.token_embedding = Embedding(vocab_size, embed_dim)
        self.pos_encoding: PositionalEncoding | Tensor | None = None
        if pos_encoding == "learned":
            self.pos_encoding = PositionalEncoding(max_seq_len, embed_dim)
        elif pos_encoding == "sinusoidal":
            self.pos_encoding = create_sinusoidal_embeddings(max_seq_len, embed_dim)

    def forward(self, tokens: Any) -> Tensor:
        """Embed ids (B, T) or (T,): the result has shape (B, T, embed_dim) or (T, embed_dim)."""
        ids = self.token_embedding.checked(tokens)
        if ids.ndim not in (1, 2):
            raise ValueError(f"EmbeddingLayer: expected ids of shape (T,) or (B, T), got {ids.shape}.")
        steps = ids.shape[-1]
        if self.pos_encoding is not None and steps > self.max_seq_len:
            raise ValueError(
                f"EmbeddingLayer: {steps} tokens (last axis of {ids.shape}) are more than "
                f"max_seq_len={self.max_seq_len}."
            )
        x = self.token_embedding(ids)
        if self.scale_embeddings:
            x = x * math.sqrt(self.embed_dim)
        if isinstance(self.pos_encoding, PositionalEncoding):
            x = x + self.pos_encoding.position_embeddings[:steps]
        elif self.pos_encoding is not None:
            x = x + self.pos_encoding[:steps]
        return x
