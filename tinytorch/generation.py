"""How a language model writes: one token at a time, each drawn from what the model makes of those before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .attention import Array, infer
from .embeddings import Embedding
from .sampling import Sampling
from .tensor import Tensor, from_numpy

__all__ = ["ENDED", "GenerationMixin", "StopRule"]

ENDED = -1  # in the place of a token, where a sequence has ended and others of its batch have not

Ids = NDArray[np.int64]


class StopRule:
    """When a text is finished: a token, or a string, that stops it.

    Parameters
    ----------
    stop : int, str, or several of them, or None
        A string counts as soon as the decoded new tokens hold it.
    tokenizer : optional
        With ``decode(ids)``; needed for strings.
    vocab_size : int
    """

    def __init__(self, stop: Any, tokenizer: Any, vocab_size: int):
        given = [] if stop is None else list(stop) if isinstance(stop, (list, tuple, set)) else [stop]
        self.strings = [item for item in given if isinstance(item, str)]
        others = [item for item in given if not isinstance(item, str)]
        for item in others:
            if not isinstance(item, (int, np.integer)) or isinstance(item, bool):
                raise TypeError(f"generate: stop takes token ids and strings, got {item!r}.")
            if not 0 <= item < vocab_size:
                raise ValueError(
                    f"generate: stop token {item} can never come: ids are 0 to {vocab_size - 1}. "
                    "Is it another tokenizer's?"
                )
        if "" in self.strings:
            raise ValueError("generate: an empty stop string would stop before the first token.")
        if self.strings and not hasattr(tokenizer, "decode"):
            raise ValueError(
                f"generate: stop={self.strings[0]!r} is text, but the model writes ids. "
                "Pass the tokenizer, too: generate(…, tokenizer=tokenizer)."
            )
        self.ids = {int(item) for item in others}
        self._decode = getattr(tokenizer, "decode", None)
        # A token stands for at least a byte, so that so many of them hold a stop string that just ended.
        self._tail = max((len(string.encode()) for string in self.strings), default=0)

    def ends(self, ids: list[int], start: int) -> bool:
        """Whether the last of ids finishes the text, of which the first `start` are the prompt."""
        if ids[-1] in self.ids:
            return True
        if not self.strings or self._decode is None:
            return False
        text = self._decode(ids[max(start, len(ids) - self._tail) :])
        return any(string in text for string in self.strings)


class GenerationMixin:
    """Gives `generate` and `stream` to a model that reads token ids.

    The model has `token_embedding`, `max_seq_len`, and the three methods below.
    """

    token_embedding: Embedding
    max_seq_len: int

    def infer(self, tokens: Any, cache: kernels.KVCache | None = None, last_only: bool = False) -> Array:
        """Return logits (B, T, vocab_size) of ids (B, T) that follow what the cache holds."""
        raise NotImplementedError

    def new_cache(
        self, batch_size: int, max_seq_len: int, dtype: str = "float32", window: int | None = None
    ) -> kernels.KVCache:
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
        **settings: Any,
    ) -> Tensor:
        """Continue each prompt, one token at a time.

        Parameters
        ----------
        prompt_tokens, max_new_tokens, temperature, top_k, use_cache, seed, **settings
            As for `stream`.

        Returns
        -------
        Tensor (B, longest) of int64
            Prompts and what follows, a stop token included. Where one is shorter than the longest, the rest
            of its row is -1 (`ENDED`), which is no token: ``row[row >= 0]``.
        """
        rows = self._as_rows(prompt_tokens, settings.pop("prompt_mask", None))
        written = list(self.stream(rows, max_new_tokens, temperature, top_k, use_cache, seed, **settings))
        texts = [
            [*row, *(token for token in new if token != ENDED)]
            for row, new in zip(rows, np.reshape(written, (len(written), len(rows))).T, strict=True)
        ]
        sequences = np.full((len(rows), max(map(len, texts))), ENDED, np.int64)
        for row, text in zip(sequences, texts, strict=True):
            row[: len(text)] = text
        return from_numpy(sequences)

    def stream(
        self,
        prompt_tokens: Any,
        max_new_tokens: int = 50,
        temperature: float = 1.0,
        top_k: int | None = None,
        use_cache: bool = True,
        seed: int | np.random.Generator | None = None,
        *,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        stop: Any = None,
        tokenizer: Any = None,
        prompt_mask: Any = None,
        cache: kernels.KVCache | None = None,
    ) -> Iterator[Any]:
        """Continue each prompt, handing over each token as soon as it is chosen.

        While it runs, the model's weights must not change. Forward hooks are called as for any other run, on
        what is read: the prompt, then one token at a time (without a cache, all of the text each time).

        Parameters
        ----------
        prompt_tokens : ids (T,) or (B, T), or a list of B prompts of any lengths
        max_new_tokens : int
            The last new token is never read, so T + max_new_tokens - 1 positions are needed.
        temperature, top_k, top_p, repetition_penalty
            How to draw a token: see `sampling.Sampling`. A temperature of 0 is greedy.
        use_cache : bool
            Keep keys and values of earlier positions instead of computing them again for each token.
        seed : int or numpy Generator, optional
            The same seed gives the same tokens, with a cache or without.
        stop : int, str, or several of them, optional
            Tokens and strings that end a sequence. They are part of it.
        tokenizer : optional
            With ``decode(ids)``, for stop strings.
        prompt_mask : (B, T), optional
            1 for tokens, 0 for the padding of shorter prompts, on either side.
        cache : kernels.KVCache, optional
            From ``new_cache``, which can make it int8 or give it a window; or one that already holds the
            beginning of the prompts, which is then not read again (see `KVCache.fork`). Afterwards it holds
            all but the last token.

        Yields
        ------
        int, or int64 array (B,)
            The next token of a prompt (T,); of several, -1 (`ENDED`) in the place of those that have ended.

        Raises
        ------
        ValueError
            The sequence would outgrow `max_seq_len`, or an argument makes no sense.
        """
        rows = self._as_rows(prompt_tokens, prompt_mask)
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty)
        stopping = StopRule(stop, tokenizer, self.token_embedding.vocab_size)
        needed = self._positions_needed(rows, max_new_tokens)
        if cache is not None:
            _check_cache(cache, rows, needed, use_cache)
        elif use_cache:
            cache = self.new_cache(len(rows), needed)
        tokens = self._write(rows, max_new_tokens, sampling, stopping, np.random.default_rng(seed), cache)
        is_one = prompt_mask is None and np.ndim(prompt_tokens[0]) == 0
        return (int(token[0]) for token in tokens) if is_one else tokens

    def _write(
        self,
        rows: Sequence[Ids],
        count: int,
        sampling: Sampling,
        stopping: StopRule,
        rng: np.random.Generator,
        cache: kernels.KVCache | None,
    ) -> Iterator[Ids]:
        """Up to so many times, the next token of each row.

        Rows that have ended are still continued, unseen: reading the weights takes the time, and then they do
        for all rows.
        """
        sequences = [row.tolist() for row in rows]
        everyone = np.arange(len(rows))
        ended = np.zeros(len(rows), bool)
        seen = None
        if sampling.penalizes:
            seen = np.zeros((len(rows), self.token_embedding.vocab_size), bool)
            for of_row, row in zip(seen, rows, strict=True):
                of_row[row] = True
        # One position at a time reads weights as they lie; whole sequences are worth packing them for.
        with self.unchanging(pack=cache is None or max(map(len, rows)) > 1):
            for _ in range(count):
                tokens = sampling.choose(self._next_logits(sequences, cache), rng, seen)
                visible = np.where(ended, ENDED, tokens)
                if seen is not None:
                    seen[everyone, tokens] = True
                for b, (sequence, token) in enumerate(zip(sequences, tokens.tolist(), strict=True)):
                    sequence.append(token)
                    ended[b] |= stopping.ends(sequence, len(rows[b]))
                yield visible
                if ended.all():
                    return

    def _next_logits(self, sequences: list[list[int]], cache: kernels.KVCache | None) -> Array:
        """Logits (B, V) after each sequence, of which only what the cache lacks is read."""
        new = sequences
        if cache is not None:
            new = [s[held:] for s, held in zip(sequences, cache.lengths.tolist(), strict=True)]
        if len({len(s) for s in new}) == 1:
            return infer(self, np.array(new), cache, True)[:, 0]
        # Prompts of different lengths: one after the other wastes nothing on padding.
        parts = [
            infer(self, np.array([s]), None if cache is None else cache.row(b), True)[:, 0]
            for b, s in enumerate(new)
        ]
        return np.concatenate(parts)

    def _as_rows(self, prompts: Any, mask: Any) -> list[Ids]:
        """Return the ids of each prompt, without padding."""
        if isinstance(prompts, str) or (isinstance(prompts, (list, tuple)) and str in map(type, prompts)):
            raise TypeError("generate: the prompt is text, but the model reads ids: tokenizer.encode(text).")
        if isinstance(prompts, (list, tuple)) and len({np.shape(row) for row in prompts}) > 1:
            rows = [self.token_embedding.checked(row) for row in prompts]
            if mask is not None:
                raise ValueError("generate: prompts of different lengths need no prompt_mask; leave it out.")
        else:
            ids = self.token_embedding.checked(prompts)
            ids = ids[None] if ids.ndim == 1 else ids
            rows = [ids] if ids.ndim != 2 else list(ids) if mask is None else _without_padding(ids, mask)
        if not rows or any(row.ndim != 1 or row.size == 0 for row in rows):
            shapes = ", ".join(str(row.shape) for row in rows[:4]) or "none"
            raise ValueError(
                "generate: give at least one token for each prompt, as (time,), (batch, time) or a list of "
                f"prompts; these have shapes {shapes}. Without a start token, a text can begin with any."
            )
        return rows

    def _positions_needed(self, rows: list[Ids], max_new_tokens: int) -> int:
        """How many positions the longest sequence takes; the last new token is never read."""
        if not isinstance(max_new_tokens, (int, np.integer)) or isinstance(max_new_tokens, bool):
            raise TypeError(f"generate: max_new_tokens must be a whole number, got {max_new_tokens!r}.")
        if max_new_tokens < 0:
            raise ValueError(f"generate: max_new_tokens can't be negative, got {max_new_tokens}.")
        longest = max(map(len, rows))
        needed = longest + max(0, int(max_new_tokens) - 1)
        if needed > self.max_seq_len:
            room = self.max_seq_len - longest + 1
            raise ValueError(
                f"generate: a prompt of {longest} tokens and {max_new_tokens} new ones need "
                f"{needed} positions, but max_seq_len={self.max_seq_len}. "
                + (f"Ask for at most {room} new tokens." if room > 0 else "Shorten the prompt.")
            )
        return needed


def _without_padding(ids: Ids, mask: Any) -> list[Ids]:
    """The tokens of each row of ids (B, T), which stand side by side where the mask is 1."""
    keep = np.asarray(mask.data if isinstance(mask, Tensor) else mask)
    if keep.shape != ids.shape or not np.isin(keep, (0, 1)).all():
        raise ValueError(
            "generate: prompt_mask holds a 1 for each token and a 0 for padding.\n"
            f"  prompt_tokens {ids.shape}\n  prompt_mask   {keep.shape}"
        )
    keep = keep.astype(bool)
    for b, row in enumerate(keep):
        inside = np.flatnonzero(row)
        if inside.size and not row[inside[0] : inside[-1] + 1].all():
            raise ValueError(
                f"generate: prompt_mask row {b} has padding between tokens. Move it to the left or right end."
            )
    return [row[kept] for row, kept in zip(ids, keep, strict=True)]


def _check_cache(cache: Any, rows: list[Ids], needed: int, use_cache: bool) -> None:
    if not isinstance(cache, kernels.KVCache):
        raise TypeError(f"generate: cache must be a KVCache, got {type(cache).__name__}: model.new_cache().")
    if not use_cache:
        raise ValueError("generate: use_cache=False, but a cache was given. Leave one of them out.")
    if len(cache.lengths) != len(rows):
        raise ValueError(
            f"generate: {len(rows)} prompts, but the cache has batch_size={len(cache.lengths)}. "
            "If they share a beginning, cache.fork(copies) gives each its own."
        )
    for b, (held, row) in enumerate(zip(cache.lengths.tolist(), rows, strict=True)):
        if held >= len(row):
            raise ValueError(
                f"generate: the cache holds {held} positions of sequence {b}, whose prompt has {len(row)} "
                "tokens. Give the whole prompt, with at least one token that the cache has not read; or "
                f"cache.reset() to start anew, cache.truncate({len(row) - 1}) to read the last one again."
            )
    if needed > cache.max_seq_len:
        raise ValueError(
            f"generate: {needed} positions are needed, but the cache has max_seq_len={cache.max_seq_len}. "
            f"Make it longer, new_cache(max_seq_len={needed}), and give it a window if memory is short."
        )
