"""Byte-level BPE, as GPT-2 has it: any text is bytes, so no character is unknown."""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .byte_pairs import PairIndex, Tokenizer, as_text, checked_ids, checked_vocab_size

CACHED_WORDS = 65536  # a text's frequent words are far fewer; a bound keeps strange text from filling memory
SPECIAL_LOOK = re.compile(r"<.+>|\[.+\]")

# White space as the Unicode standard has it; Python's \s adds four separators (U+001C to U+001F).
WHITE_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@functools.cache
def word_pattern() -> re.Pattern[str]:
    r"""GPT-2's pattern of what is a word, in terms of the `re` module.

    The original is ``'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+``. `re`
    has no \p{L}, but its \w is letters, numbers and the underscore: letters are what remains of it without
    the underscore, the decimal digits \d and the other numbers, which are listed here.
    """
    codes = [c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) in ("Nl", "No")]
    starts = [c for c, before in zip(codes, [-1, *codes], strict=False) if c != before + 1]
    ends = [c for c, after in zip(codes, [*codes[1:], -1], strict=True) if c != after - 1]
    others = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    letters = rf"(?:[a-zA-Z]+|[^\W\d_{others}])+"  # the short class first: most letters are found quickly
    space = WHITE_SPACE
    return re.compile(
        rf"'(?:[stmd]|re|ve|ll)| ?{letters}| ?[\d{others}]+| ?(?:[^{space}\w]|_)+"
        rf"|[{space}]+(?![^{space}])|[{space}]+"
    )


@functools.cache
def byte_characters() -> tuple[str, ...]:
    """A printable character for each byte: itself where Latin-1 prints it, else one from U+0100 on.

    Vocabulary files are text, so a token, which is bytes, is written in these.
    """
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    substitutes = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(substitutes)) for byte in range(256))


class ByteBPETokenizer(Tokenizer):
    """Byte-pair encoding over the bytes of UTF-8: every text has ids, and they give the same text back.

    Text is first cut into words by GPT-2's pattern (a space belongs to the word that follows it), and merges
    stay inside a word. Untrained, it has one id for each of the 256 bytes.

    Parameters
    ----------
    special_tokens : sequence of str
        Marks such as ``"<|endoftext|>"`` that always are one token of their own. They get the first ids.

    Attributes
    ----------
    vocab : list of str
        A token's position is its id. Bytes are written as in GPT-2's files: ``"Ġthe"`` is ``" the"``.
    vocab_size : int
    merges : list of (str, str)
        First learned first.
    special_tokens : list of str
    token_to_id, id_to_token : dict

    References
    ----------
    A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019, section 2.2; its
    `encoder.py` has the pattern and the table of bytes.
    """

    def __init__(self, special_tokens: Sequence[str] = ()):
        self._set([*_checked_special(special_tokens), *sorted(byte_characters())], [], list(special_tokens))

    def train(
        self, corpus: str | Iterable[str], vocab_size: int = 1000, special_tokens: Sequence[str] | None = None
    ) -> None:
        """Learn merges from a text, or from a list of texts.

        Merging stops at `vocab_size` tokens (special ones and the 256 bytes included), or when no pair is
        left. Of equally frequent pairs the one with the smaller ids comes first.

        Raises
        ------
        ValueError
            The corpus is empty, or `vocab_size` leaves no room for the bytes.
        """
        if special_tokens is None:
            special_tokens = self.special_tokens
        start = [*_checked_special(special_tokens), *sorted(byte_characters())]
        vocab_size = checked_vocab_size(vocab_size, "ByteBPETokenizer.train", len(start))
        frequency: Counter[str] = Counter()
        for entry in [corpus] if isinstance(corpus, str) else corpus:
            frequency.update(word_pattern().findall(as_text(entry, "ByteBPETokenizer.train")))
        if not frequency:
            raise ValueError("ByteBPETokenizer.train: the corpus is empty, so there is nothing to learn.")
        self._set(start, [], list(special_tokens))
        words = [self._byte_ids(word, "ByteBPETokenizer.train") for word in frequency]
        index = PairIndex(words, list(frequency.values()))
        vocab, merges, ids = self.vocab, self.merges, self.token_to_id
        while len(vocab) < vocab_size and (pair := index.most_frequent()):
            left, right = vocab[pair[0]], vocab[pair[1]]
            if left + right in special_tokens:
                raise ValueError(
                    f"ByteBPETokenizer.train: the corpus has the special token {left + right!r} as a word. "
                    'Choose a mark that no text has, such as "<|endoftext|>".'
                )
            merges.append((left, right))
            merged = ids.setdefault(left + right, len(vocab))  # two merges can spell the same token
            if merged == len(vocab):
                vocab.append(left + right)
            index.merge(pair, merged)
        self._set(vocab, merges, list(special_tokens))

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Return the ids of a text.

        Parameters
        ----------
        text : str
        special : bool
            Whether special tokens in the text are read as such. Say False for text that others wrote: theirs
            should not be able to end yours.
        """
        text = as_text(text, "ByteBPETokenizer.encode")
        parts = self._special_pattern.split(text) if special and self.special_tokens else [text]
        ids: list[int] = []
        for i, part in enumerate(parts):
            if i % 2:  # split puts what it was split at in between
                ids.append(self.token_to_id[part])
            else:
                ids.extend(self._encode_ordinary(part))
        return ids

    def decode(self, tokens: Any) -> str:
        """Return the text of ids (list, array or Tensor, one-dimensional).

        Bytes that are no UTF-8, as where a character was cut in two, become U+FFFD; see `decode_bytes`.

        Raises
        ------
        ValueError
            An id is not in the vocabulary.
        """
        return self.decode_bytes(tokens).decode("utf-8", errors="replace")

    def decode_bytes(self, tokens: Any) -> bytes:
        """Return the bytes of ids: what to collect when tokens, maybe halves of characters, arrive singly."""
        ids = checked_ids(tokens, len(self.vocab), "ByteBPETokenizer.decode")
        return b"".join(map(self._bytes.__getitem__, ids))

    def save(self, folder: str | Path) -> None:
        """Write ``vocab.json`` and ``merges.txt``, the files that GPT-2 comes in."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(self.token_to_id, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in self.merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, special_tokens: Sequence[str] | None = None) -> ByteBPETokenizer:
        """Read ``vocab.json`` and ``merges.txt`` of a folder; see `from_files`."""
        return cls.from_files(Path(folder) / "vocab.json", Path(folder) / "merges.txt", special_tokens)

    @classmethod
    def from_files(
        cls, vocab_file: str | Path, merges_file: str | Path, special_tokens: Sequence[str] | None = None
    ) -> ByteBPETokenizer:
        """Read a vocabulary and its merges, as GPT-2 and those after it have them.

        Parameters
        ----------
        vocab_file : path
            JSON, token to id (``vocab.json``; ``encoder.json`` in the original).
        merges_file : path
            A pair on each line, separated by a space (``merges.txt``, ``vocab.bpe``).
        special_tokens : sequence of str, optional
            Otherwise those tokens that no merge makes and that look like ``<...>`` or ``[...]``.

        Raises
        ------
        ValueError
            A file is not of its format, or the two do not belong together.
        """
        vocab = _read_vocab(Path(vocab_file))
        merges = _read_merges(Path(merges_file))
        made = {*byte_characters(), *map("".join, merges)}
        if special_tokens is None:
            special_tokens = [token for token in vocab if token not in made and SPECIAL_LOOK.fullmatch(token)]
        _check_match(vocab, merges, made, list(special_tokens))
        tokenizer = cls()
        tokenizer._set(vocab, merges, list(special_tokens))
        return tokenizer

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def _set(self, vocab: list[str], merges: list[tuple[str, str]], special_tokens: list[str]) -> None:
        """Take over a vocabulary and derive the look-up tables."""
        self.vocab, self.merges, self.special_tokens = vocab, merges, special_tokens
        ids = self.token_to_id = {token: i for i, token in enumerate(vocab)}
        self.id_to_token = dict(enumerate(vocab))
        byte_of = {character: byte for byte, character in enumerate(byte_characters())}
        special = set(special_tokens)
        self._bytes = [
            token.encode() if token in special else bytes(map(byte_of.__getitem__, token)) for token in vocab
        ]
        self._id_of_byte = [ids[character] for character in byte_characters()]
        # Pair of ids to its rank and the id that takes its place.
        self._merge_of = {(ids[a], ids[b]): (rank, ids[a + b]) for rank, (a, b) in enumerate(merges)}
        longest_first = sorted(special_tokens, key=len, reverse=True)
        self._special_pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self._word_ids: dict[str, list[int]] = {}

    def _encode_ordinary(self, text: str) -> list[int]:
        known, result = self._word_ids, list[int]()
        for word in word_pattern().findall(text):
            ids = known.get(word)
            if ids is None:
                if len(known) >= CACHED_WORDS:
                    known.clear()
                ids = known[word] = self._merge_all(self._byte_ids(word, "ByteBPETokenizer.encode"))
            result += ids
        return result

    def _byte_ids(self, word: str, operation: str) -> list[int]:
        """The ids of a word's bytes, before any merge."""
        try:
            return [self._id_of_byte[byte] for byte in word.encode()]
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{operation}: {word[error.start]!r} is half of a surrogate pair, so the text is not valid "
                "Unicode. Replace such halves: text.encode('utf-8', 'replace').decode()."
            ) from None

    def _merge_all(self, ids: list[int]) -> list[int]:
        """Merge until no learned pair is left, earliest learned first, from left to right.

        A heap holds the pairs that can be merged, and each place knows the next one that is left, so that
        even a word of a million bytes takes n log n steps.
        """
        merge_of, end = self._merge_of, len(ids)
        after, before = list(range(1, end + 1)), list(range(-1, end - 1))
        heap = [
            (*merge_of[pair], i, pair) for i, pair in enumerate(itertools.pairwise(ids)) if pair in merge_of
        ]
        heapq.heapify(heap)
        while heap:
            _, merged, i, pair = heapq.heappop(heap)
            j = after[i]
            if j >= end or (ids[i], ids[j]) != pair:
                continue  # one of the two has become part of another token
            ids[i], ids[j], after[i] = merged, -1, after[j]
            if after[i] < end:
                before[after[i]] = i
            for left, right in ((before[i], i), (i, after[i])):
                if left >= 0 and right < end and (new := (ids[left], ids[right])) in merge_of:
                    heapq.heappush(heap, (*merge_of[new], left, new))
        return [token for token in ids if token >= 0]


def _checked_special(special_tokens: Sequence[str]) -> list[str]:
    if isinstance(special_tokens, str):
        raise TypeError(f"ByteBPETokenizer: special_tokens must be a list of texts: [{special_tokens!r}]")
    tokens = [as_text(token, "ByteBPETokenizer: special_tokens") for token in special_tokens]
    for token in tokens:
        if not token or token in byte_characters() or tokens.count(token) > 1:
            raise ValueError(
                f"ByteBPETokenizer: {token!r} cannot be a special token: it must have more than one "
                'character, and be given once. Choose a mark that no text has, such as "<|endoftext|>".'
            )
    return tokens


def _read_vocab(path: Path) -> list[str]:
    """The tokens of a vocab.json, in the order of their ids."""
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a whole JSON file ({error}). Was it cut short?") from None
    if not isinstance(ids, dict) or sorted(ids.values(), key=repr) != sorted(range(len(ids)), key=repr):
        raise ValueError(
            f"{path}: a vocabulary gives each token its id, {{token: id}}, from 0 on without gaps."
        )
    return sorted(ids, key=ids.__getitem__)


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a merges.txt; its first line may tell a version."""
    merges = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != 2 or not all(parts):
            raise ValueError(
                f"{path}, line {number}: expected two tokens with a space between, got {line!r}. "
                "Was the file cut short?"
            )
        merges.append((parts[0], parts[1]))
    return merges


def _check_match(vocab: list[str], merges: list[tuple[str, str]], made: set[str], special: list[str]) -> None:
    """Raise ValueError unless bytes, merges and special tokens make this vocabulary."""
    known = set(vocab)
    if missing := [character for character in byte_characters() if character not in known]:
        raise ValueError(
            f"ByteBPETokenizer: the vocabulary lacks {len(missing)} of the 256 bytes, the first "
            f"{missing[0]!r}. Is it that of a byte-level tokenizer?"
        )
    for rank, pair in enumerate(merges):
        for token in (*pair, "".join(pair)):
            if token not in known:
                raise ValueError(
                    f"ByteBPETokenizer: merge {rank}, {' '.join(pair)!r}, needs the token {token!r}, which "
                    "the vocabulary does not have. The two files must come from the same tokenizer."
                )
    if absent := [token for token in special if token not in known or token in made]:
        raise ValueError(
            f"ByteBPETokenizer: {absent[0]!r} cannot be a special token: it must be in the vocabulary, "
            "and not be made by merges."
        )
    if unmade := known - made - set(special):
        raise ValueError(
            f"ByteBPETokenizer: no merge makes {len(unmade)} tokens of the vocabulary, such as "
            f"{min(unmade)!r}. Was the merges file cut short? "
            "If they are special tokens, name them: special_tokens=[...]."
        )
