"""Module 10: tokenization. Text to integer ids and back, by characters or by byte-pair encoding.

The tokenizer of GPT-2, over bytes, is in `byte_tokenizer`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .byte_pairs import PairIndex, Tokenizer, as_text, checked_ids, checked_vocab_size, merge_pair
from .byte_tokenizer import ByteBPETokenizer

UNKNOWN = "<UNK>"
END_OF_WORD = "</w>"

Pair = tuple[str, str]

__all__ = ["BPETokenizer", "ByteBPETokenizer", "CharTokenizer", "Tokenizer"]


class CharTokenizer(Tokenizer):
    """One id for each character; id 0 is ``<UNK>``, for characters that were never seen.

    Parameters
    ----------
    vocab : sequence of str, optional
        The characters, without ``<UNK>``. `build_vocab` finds them in a text.

    Attributes
    ----------
    vocab : list of str
        ``["<UNK>", ...]``; a character's position is its id.
    vocab_size : int
    char_to_id, id_to_char : dict
    unk_id : int
        Always 0.
    """

    unk_id = 0

    def __init__(self, vocab: Sequence[str] | None = None):
        self._set_vocab(list(vocab or []))

    def build_vocab(self, corpus: str | Iterable[str]) -> None:
        """Take the sorted distinct characters of a text, or of a list of texts, as the vocabulary."""
        entries = [corpus] if isinstance(corpus, str) else corpus
        characters = {c for entry in entries for c in as_text(entry, "CharTokenizer.build_vocab")}
        if not characters:
            raise ValueError(
                "CharTokenizer.build_vocab: the corpus is empty, so there is no character to learn."
            )
        self._set_vocab(sorted(characters))

    def encode(self, text: str) -> list[int]:
        """Return one id for each character; characters outside the vocabulary become `unk_id`."""
        get = self.char_to_id.get
        return [get(character, self.unk_id) for character in as_text(text, "CharTokenizer.encode")]

    def decode(self, tokens: Any) -> str:
        """Return the text of ids (list, array or Tensor, one-dimensional).

        Raises
        ------
        ValueError
            An id is not in the vocabulary.
        """
        ids = checked_ids(tokens, self.vocab_size, "CharTokenizer.decode")
        return "".join(map(self.vocab.__getitem__, ids))

    def _set_vocab(self, characters: list[str]) -> None:
        self.vocab = [UNKNOWN, *(c for c in characters if c != UNKNOWN)]
        self.vocab_size = len(self.vocab)
        self.char_to_id = {character: i for i, character in enumerate(self.vocab)}
        self.id_to_char = dict(enumerate(self.vocab))


class BPETokenizer(Tokenizer):
    """Byte-pair encoding: start from characters, merge the most frequent pair, repeat.

    A word's last symbol carries the mark ``</w>``, so that decoding knows where the
    spaces go. White space itself is not stored: decoding puts one space between words.

    Source: R. Sennrich, B. Haddow, A. Birch, *Neural Machine Translation of Rare Words
    with Subword Units*, 2016, arXiv:1508.07909.

    Parameters
    ----------
    vocab_size : int
        How large `train` lets the vocabulary grow. The alphabet (each character of the
        corpus inside and at the end of a word, and ``<UNK>``) is always kept whole.

    Attributes
    ----------
    vocab : list of str
        A token's position is its id; id 0 is ``<UNK>``.
    merges : list of (str, str)
        The learned merges, first learned first.
    token_to_id, id_to_token : dict
    """

    unk_id = 0

    def __init__(self, vocab_size: int = 1000):
        self.vocab_size = checked_vocab_size(vocab_size)
        self.vocab: list[str] = []
        self.merges: list[Pair] = []
        self._build_mappings()

    def train(self, corpus: str | Iterable[str], vocab_size: int | None = None) -> None:
        """Learn merges from a corpus: a list of words, or texts that are split at white space.

        Merging stops at `vocab_size` tokens, or when no pair is left. Equally frequent
        pairs are taken in alphabetical order, so the same corpus gives the same tokens.
        """
        if vocab_size is not None:
            self.vocab_size = checked_vocab_size(vocab_size)
        entries = [corpus] if isinstance(corpus, str) else corpus
        frequency = Counter(
            word for entry in entries for word in as_text(entry, "BPETokenizer.train").split()
        )
        if not frequency:
            raise ValueError("BPETokenizer.train: the corpus has no words, so there is nothing to learn.")
        alphabet = set("".join(frequency))
        self.vocab = [UNKNOWN, *sorted(alphabet | {c + END_OF_WORD for c in alphabet})]
        self.merges = []
        self._learn_merges(PairIndex([self._get_word_tokens(w) for w in frequency], list(frequency.values())))
        self._build_mappings()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; symbols outside the vocabulary become ``<UNK>`` (id 0).

        Raises
        ------
        ValueError
            The tokenizer has not been trained.
        """
        if not self.vocab:
            raise ValueError("BPETokenizer.encode: the vocabulary is empty. Call train(corpus) first.")
        ids: list[int] = []
        for word in as_text(text, "BPETokenizer.encode").split():
            if word not in self._word_ids:
                symbols = self._apply_merges(self._get_word_tokens(word))
                self._word_ids[word] = [self.token_to_id.get(symbol, self.unk_id) for symbol in symbols]
            ids.extend(self._word_ids[word])
        return ids

    def decode(self, tokens: Any) -> str:
        """Return the text of ids (list, array or Tensor, one-dimensional), words joined by single spaces.

        Raises
        ------
        ValueError
            An id is not in the vocabulary.
        """
        ids = checked_ids(tokens, len(self.vocab), "BPETokenizer.decode")
        symbols = map(self.vocab.__getitem__, ids)
        return " ".join("".join(symbols).replace(END_OF_WORD, " ").split())

    def _learn_merges(self, index: PairIndex[str]) -> None:
        known = set(self.vocab)
        while len(self.vocab) < self.vocab_size and (pair := index.most_frequent()):
            merged = "".join(pair)
            index.merge(pair, merged)
            self.merges.append(pair)
            if merged not in known:  # two different merges can spell the same token
                known.add(merged)
                self.vocab.append(merged)

    def _get_word_tokens(self, word: str) -> list[str]:
        """Split a word into characters, the last one marked: ``"the"`` to ``["t", "h", "e</w>"]``."""
        return [*word[:-1], word[-1] + END_OF_WORD] if word else []

    def _get_pairs(self, word_tokens: Sequence[str]) -> set[Pair]:
        """Return the distinct neighbouring pairs of a word."""
        return set(itertools.pairwise(word_tokens))

    def _apply_merges(self, tokens: list[str]) -> list[str]:
        """Merge a word's symbols until no learned pair is left, earliest learned first."""
        while pairs := self._get_pairs(tokens) & self._rank.keys():
            pair = min(pairs, key=self._rank.__getitem__)
            tokens = merge_pair(tokens, pair, "".join(pair))
        return tokens

    def _build_mappings(self) -> None:
        """Derive the look-up tables from `vocab` and `merges`."""
        self.token_to_id = {token: i for i, token in enumerate(self.vocab)}
        self.id_to_token = dict(enumerate(self.vocab))
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._word_ids: dict[str, list[int]] = {}
