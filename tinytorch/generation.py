"""How a language model writes: one token at a time, each drawn from what the model makes of those before."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .attention import Array
from .embeddings import Embedding
from .tensor import Tensor, from_numpy


class GenerationMixin:
    """Gives `generate` to a model that reads token ids.

    The model has `token_embedding`, `max_seq_len`, and the three methods below.
    """

    token_embedding: Embedding
    max_seq_len: int

    def infer(self, tokens: Any, cache: kernels.KVCache | None = None, last_only: bool = False) -> Array:
        """Return logits (B, T, vocab_size) of ids (B, T) that follow what the cache holds."""
        raise NotImplementedError

    def new_cache(self, batch_size: int, max_seq_len: int, dtype: str = "float32") -> kernels.KVCache:
        """Return an empty cache of the model's layers and heads, with room for so many positions."""
        raise NotImplementedError

    def unchanging(self, pack: bool) -> AbstractContextManager[None]:
        """Look at the weights once and not for each token; inside, they must not change.

        With `pack` they are also laid out for whole sequences.
        """
        raise NotImplementedError

    def generate(
        self,
        prompt_tokens: Any,
        max_new_tokens: int = 50,
        temperature: float = 1.0,
        top_k: int | None = None,
        use_cache: bool = True,
        seed: int | np.random.Generator | None = None,
    ) -> Tensor:
        """Continue each prompt, one token at a time.

        Parameters
        ----------
        prompt_tokens : ids (B, T) or (T,)
        max_new_tokens : int
            The last new token is never read, so T + max_new_tokens - 1 positions are needed.
        temperature : float
            Divides the logits before sampling: below 1 is more cautious, above 1 more adventurous,
            0 always takes the most likely token.
        top_k : int, optional
            Sample among the k most likely tokens only.
        use_cache : bool
            Keep keys and values of earlier positions instead of computing them again for each token.
        seed : int or numpy Generator, optional

        Returns
        -------
        Tensor (B, T + max_new_tokens) of int64
            Prompts and what follows.

        Raises
        ------
        ValueError
            The sequence would outgrow `max_seq_len`, or an argument makes no sense.
        """
        ids = self.token_embedding.checked(prompt_tokens)
        ids = ids[None] if ids.ndim == 1 else ids
        self._check_generation(ids, max_new_tokens, temperature, top_k)
        rng = np.random.default_rng(seed)
        sequence = np.empty((len(ids), ids.shape[1] + max_new_tokens), dtype=np.int64)
        sequence[:, : ids.shape[1]] = ids
        cache = self.new_cache(*sequence.shape) if use_cache else None
        read = 0  # how many positions the cache holds
        # One position at a time reads weights as they lie; whole sequences are worth packing them for.
        with self.unchanging(pack=not use_cache or ids.shape[1] > 1):
            for length in range(ids.shape[1], sequence.shape[1]):
                logits = self.infer(sequence[:, read:length], cache, last_only=True)[:, 0]
                sequence[:, length] = _choose(logits, temperature, top_k, rng)
                read = length if use_cache else 0
        return from_numpy(sequence)

    def _check_generation(
        self, ids: NDArray[np.int64], max_new_tokens: int, temperature: float, top_k: int | None
    ) -> None:
        if ids.ndim != 2 or ids.size == 0:
            raise ValueError(
                f"generate: the prompt must have shape (batch, time) and at least one token, got {ids.shape}."
            )
        if max_new_tokens < 0:
            raise ValueError(f"generate: max_new_tokens can't be negative, got {max_new_tokens}.")
        if not temperature >= 0:
            raise ValueError(f"generate: temperature must be 0 (greedy) or more, got {temperature}.")
        if top_k is not None and top_k < 1:
            raise ValueError(f"generate: top_k must be at least 1, got {top_k}.")
        needed = ids.shape[1] + max(0, max_new_tokens - 1)
        if needed > self.max_seq_len:
            room = self.max_seq_len - ids.shape[1] + 1
            raise ValueError(
                f"generate: a prompt of {ids.shape[1]} tokens and {max_new_tokens} new ones need "
                f"{needed} positions, but max_seq_len={self.max_seq_len}. "
                + (f"Ask for at most {room} new tokens." if room > 0 else "Shorten the prompt.")
            )


def _choose(
    logits: Array, temperature: float, top_k: int | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw one token for each row of logits (B, V)."""
    if not np.isfinite(logits).all():
        raise ValueError("generate: the model's logits hold NaN or infinity; did its training diverge?")
    if temperature == 0:
        return logits.argmax(axis=-1)
    if top_k is not None and top_k < logits.shape[-1]:
        threshold = np.partition(logits, -top_k, axis=-1)[:, -top_k, None]
        logits = np.where(logits < threshold, -np.inf, logits)
    # The largest of logit + Gumbel noise is distributed as softmax (Gumbel 1954): no sums, no overflow.
    return (logits / temperature + rng.gumbel(size=logits.shape)).argmax(axis=-1)
