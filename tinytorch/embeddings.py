"""Module 11: embeddings. Token ids to vectors, and vectors that say where a token stands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import whole_numbers
from .autograd import EmbeddingBackward, Function, record
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

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """Add the vectors of positions offset to offset + T - 1 to x (B, T, embed_dim).

        Raises
        ------
        ValueError
            x is not 3-D, reaches beyond `max_seq_len`, or is not `embed_dim` wide.
        """
        if len(x.shape) != 3:
            raise ValueError(
                f"PositionalEncoding: expected x of shape (batch, time, {self.embed_dim}), got {x.shape}. "
                "For one sequence, use x.reshape(1, *x.shape)."
            )
        _, steps, width = x.shape
        rows = _rows("PositionalEncoding", offset, steps, self.max_seq_len)
        if width != self.embed_dim:
            raise ValueError(
                f"PositionalEncoding: axis 2 of x {x.shape} is {width} wide, but embed_dim={self.embed_dim}."
            )
        return x + self.position_embeddings[rows]

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
                "EmbeddingLayer: pos_encoding must be 'learned', 'sinusoidal' or None, "
                f"not {pos_encoding!r}. "
                "(Rotary positions turn queries and keys, not embeddings: see RotaryEmbedding.)"
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

    def forward(self, tokens: Any, offset: int = 0) -> Tensor:
        """Embed ids (B, T) or (T,): the result has shape (B, T, embed_dim) or (T, embed_dim).

        `offset` is the position of the first token: how many a cache already holds.

        Raises
        ------
        ValueError
            An id has no row, or a position lies beyond `max_seq_len`.
        """
        ids = self.token_embedding.checked(tokens)
        if ids.ndim not in (1, 2):
            raise ValueError(f"EmbeddingLayer: expected ids of shape (T,) or (B, T), got {ids.shape}.")
        x = self.token_embedding(ids)
        if self.scale_embeddings:
            x = x * math.sqrt(self.embed_dim)
        if self.pos_encoding is None:
            return x
        rows = _rows("EmbeddingLayer", offset, ids.shape[-1], self.max_seq_len)
        if isinstance(self.pos_encoding, PositionalEncoding):
            return x + self.pos_encoding.position_embeddings[rows]
        return x + self.pos_encoding[rows]


class RotaryBackward(Function):
    """Pairs of columns turned by fixed angles"""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, x: Tensor, cos: np.ndarray, sin: np.ndarray, interleaved: bool) -> None:
        super().__init__(x)
        self.cos, self.sin, self.interleaved = cos, sin, interleaved

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return _turn(grad, self.cos, -self.sin, self.interleaved)  # a rotation's transpose turns back


class RotaryEmbedding(Module):
    """Rotary position embeddings (RoPE): turn queries and keys by an angle that grows with the position.

    Columns are taken in pairs, pair i at position t turns by t · base^(-2i / head_dim). The product of a
    query and a key, which are both turned, then depends on the distance between the two alone. Nothing is
    learned.

    Parameters
    ----------
    head_dim : int
        Width of one head; even.
    max_seq_len : int
        Positions in the table.
    base : float
        Larger turns slower: 10000 in Llama 1 and 2, 500000 in Llama 3.
    interleaved : bool
        Which columns are a pair: i and i + head_dim / 2 (False: Llama, GPT-NeoX), or 2i and 2i + 1
        (True: GPT-J, and the paper). Weights trained with one form need that form.

    References
    ----------
    J. Su et al., *RoFormer: Enhanced Transformer with Rotary Position Embedding*, 2021, arXiv:2104.09864.
    """

    def __init__(
        self, head_dim: int, max_seq_len: int = 2048, base: float = 10000.0, interleaved: bool = False
    ):
        check_positive("RotaryEmbedding", head_dim=head_dim, max_seq_len=max_seq_len)
        if head_dim % 2:
            raise ValueError(
                f"RotaryEmbedding: head_dim={head_dim} is odd, but columns turn in pairs. "
                "Choose num_heads so that embed_dim / num_heads is even."
            )
        if not (np.isfinite(base) and base > 0):
            raise ValueError(f"RotaryEmbedding: base must be a positive number, got {base!r}")
        self.head_dim, self.max_seq_len, self.base = head_dim, max_seq_len, base
        self.interleaved = interleaved
        angle = np.arange(max_seq_len)[:, None] * base ** (-np.arange(0, head_dim, 2) / head_dim)
        # For each column the cosine, and the sine with the sign that it has in that column.
        self._cos, self._sin = np.empty((2, max_seq_len, head_dim))
        first, second = _pairs(interleaved, head_dim)
        self._cos[first] = self._cos[second] = np.cos(angle)
        self._sin[second] = np.sin(angle)
        self._sin[first] = -self._sin[second]

    def forward(self, x: Tensor, offset: Any = 0) -> Tensor:
        """Turn queries or keys x (..., T, head_dim).

        Parameters
        ----------
        x : Tensor (..., T, head_dim)
        offset : int, or integers (B,)
            Position of the first of the T: how many a cache already holds, for all sequences or for each
            along axis 0 of x.

        Raises
        ------
        ValueError
            x is not `head_dim` wide, or a position lies outside 0 to max_seq_len - 1.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"RotaryEmbedding: expected a Tensor, got {type(x).__name__}; wrap it: Tensor(x)")
        if x.ndim < 2 or x.shape[-1] != self.head_dim:
            raise ValueError(
                f"RotaryEmbedding: expected x of shape (..., time, head_dim={self.head_dim}), got {x.shape}. "
                "Split the heads first: (batch, heads, time, head_dim)."
            )
        cos, sin = self._angles(x.data, offset)
        return record(
            _turn(x.data, cos, sin, self.interleaved), RotaryBackward, x, cos, sin, self.interleaved
        )

    def turned(self, x: np.ndarray, offset: Any = 0) -> np.ndarray:
        """The same on an array, without a graph."""
        return _turn(x, *self._angles(x, offset), self.interleaved)

    def _angles(self, x: np.ndarray, offset: Any) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and sines for x (..., T, D), which broadcast to it."""
        offsets = whole_numbers(offset, "RotaryEmbedding: offset")
        if offsets.ndim and (offsets.ndim > 1 or x.ndim < 3 or offsets.shape[0] != x.shape[0]):
            raise ValueError(
                f"RotaryEmbedding: offset of shape {offsets.shape} does not fit x {x.shape}. "
                "Give one number, or one for each sequence (axis 0 of x)."
            )
        steps = x.shape[-2]
        for first in offsets.ravel():
            _rows("RotaryEmbedding", first, steps, self.max_seq_len)
        positions = offsets.reshape(offsets.shape + (1,) * (x.ndim - 2 if offsets.ndim else 1)) + np.arange(
            steps
        )
        dtype = x.dtype if x.dtype.kind == "f" else np.float32
        return self._cos[positions].astype(dtype), self._sin[positions].astype(dtype)

    def extra_repr(self) -> str:
        return (
            f"head_dim={self.head_dim}, max_seq_len={self.max_seq_len}, base={self.base}, "
            f"interleaved={self.interleaved}"
        )


def _turn(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, interleaved: bool) -> np.ndarray:
    """Turn the pairs of columns of x (..., T, D): x cos + (each column's partner) sin."""
    partner = np.empty(x.shape, cos.dtype)
    first, second = _pairs(interleaved, x.shape[-1])
    partner[first], partner[second] = x[second], x[first]
    partner *= sin
    turned = np.multiply(x, cos, dtype=cos.dtype)
    turned += partner
    return turned


def _pairs(interleaved: bool, width: int) -> tuple[Any, Any]:
    """Indices of the columns that come first and second in their pairs."""
    if interleaved:
        return np.s_[..., 0::2], np.s_[..., 1::2]
    return np.s_[..., : width // 2], np.s_[..., width // 2 :]


def _rows(operation: str, offset: Any, steps: int, length: int) -> slice:
    """The rows for `steps` tokens from position `offset` on, or say that the table has no such rows."""
    if not isinstance(offset, (int, np.integer)) or isinstance(offset, bool) or offset < 0:
        raise ValueError(f"{operation}: offset must be a whole number from 0 on, got {offset!r}")
    if offset + steps > length:
        raise ValueError(
            f"{operation}: {steps} tokens from position {offset} on end at position {offset + steps - 1}, "
            f"but the table ends at max_seq_len={length} (positions 0 to {length - 1}). "
            "Keep fewer tokens, or make the table longer."
        )
    return slice(int(offset), int(offset) + steps)
