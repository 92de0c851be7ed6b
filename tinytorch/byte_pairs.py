"""What the tokenizers share: their interface, the search for the most frequent pair, and looking ids up."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ._arrays import whole_numbers

Symbol = TypeVar("Symbol", str, int)


class Tokenizer:
    """What every tokenizer offers: `encode` and `decode`."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        raise NotImplementedError(f"{type(self).__name__} must define encode(text).")

    def decode(self, tokens: Any) -> str:
        """Return the text of a sequence of ids."""
        raise NotImplementedError(f"{type(self).__name__} must define decode(tokens).")


class PairIndex(Generic[Symbol]):
    """Counts neighbouring pairs over all words and keeps the counts right while pairs are merged.

    Recounting every word after every merge would cost (merges x corpus); here a merge
    touches only the words that hold the pair.

    Parameters
    ----------
    words : list of lists of symbols
    frequencies : list of int
        How often the corpus has each word.
    """

    def __init__(self, words: list[list[Symbol]], frequencies: list[int]):
        self._words: list[list[Symbol]] = words
        self._frequencies = frequencies
        self._count: Counter[tuple[Symbol, Symbol]] = Counter()
        # The words that hold a pair, or once held it: taking a word out again would cost more than it saves.
        self._holders: dict[tuple[Symbol, Symbol], set[int]] = defaultdict(set)
        for i, word in enumerate(words):
            for pair in itertools.pairwise(word):
                self._count[pair] += frequencies[i]
                self._holders[pair].add(i)
        self._heap: list[tuple[int, tuple[Symbol, Symbol]]] = [
            (-count, pair) for pair, count in self._count.items()
        ]
        heapq.heapify(self._heap)

    def most_frequent(self) -> tuple[Symbol, Symbol] | None:
        """Return the most frequent pair, the first in order of equals; None when no pair is left."""
        while self._heap:
            count, pair = self._heap[0]
            if self._count[pair] == -count:
                return pair
            heapq.heappop(self._heap)  # stale: the count has changed since, and was pushed anew
        return None

    def merge(self, pair: tuple[Symbol, Symbol], merged: Symbol) -> None:
        """Put `merged` in the place of a pair, in every word that holds it."""
        change: Counter[tuple[Symbol, Symbol]] = Counter()
        for i in self._holders.pop(pair):
            word = merge_pair(self._words[i], pair, merged)
            if len(word) == len(self._words[i]):
                continue
            for old in itertools.pairwise(self._words[i]):
                change[old] -= self._frequencies[i]
            for new in itertools.pairwise(word):
                change[new] += self._frequencies[i]
                if merged in new:
                    self._holders[new].add(i)
            self._words[i] = word
        for changed, difference in change.items():
            if difference:
                self._count[changed] += difference
                if self._count[changed] > 0:
                    heapq.heappush(self._heap, (-self._count[changed], changed))
                else:
                    del self._count[changed]


def merge_pair(word: Sequence[Symbol], pair: tuple[Symbol, Symbol], merged: Symbol) -> list[Symbol]:
    """Replace each occurrence of `pair`, from left to right, with `merged`."""
    first, second = pair
    result: list[Symbol] = []
    i, last = 0, len(word) - 1
    while i <= last:
        if i < last and word[i] == first and word[i + 1] == second:
            result.append(merged)
            i += 2
        else:
            result.append(word[i])
            i += 1
    return result


def checked_ids(tokens: Any, vocab_size: int, operation: str) -> list[int]:
    """Return one-dimensional ids as a list, or say which of them the vocabulary does not have."""
    ids = whole_numbers(tokens, f"{operation}: token ids")
    if ids.ndim != 1:
        raise ValueError(
            f"{operation}: expected one sequence of ids, shape (T,), got shape {ids.shape}. "
            "Decode a batch row by row: [tokenizer.decode(row) for row in tokens]."
        )
    outside = (ids < 0) | (ids >= vocab_size)
    if outside.any():
        position = int(np.argmax(outside))
        raise ValueError(
            f"{operation}: id {ids[position]} at position {position} is not in the vocabulary "
            f"of {vocab_size} tokens (0 to {vocab_size - 1}). Was it made by another tokenizer?"
        )
    return ids.tolist()


def as_text(text: Any, operation: str) -> str:
    """Return `text` if it is a string, and say so if it isn't."""
    if not isinstance(text, str):
        raise TypeError(f"{operation}: expected text (str), got {type(text).__name__}.")
    return text


def checked_vocab_size(vocab_size: int, operation: str = "BPETokenizer", least: int = 1) -> int:
    """Return a vocabulary size as an int, or say that it is none."""
    if not isinstance(vocab_size, (int, np.integer)) or vocab_size < least:
        what = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{operation}: vocab_size must be {what}, got {vocab_size!r}.")
    return int(vocab_size)
