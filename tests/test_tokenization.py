"""Tokenizers: what goes in comes out, and what can't be tokenized is said."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch.datasets import load_text
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, CharTokenizer, Tokenizer


def test_base_class_asks_for_both_methods():
    with pytest.raises(NotImplementedError, match="encode"):
        Tokenizer().encode("a")
    with pytest.raises(NotImplementedError, match="decode"):
        Tokenizer().decode([1])


def test_char_vocabulary_is_sorted_with_unk_first():
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(["hello", "world"])
    assert tokenizer.vocab == ["<UNK>", "d", "e", "h", "l", "o", "r", "w"]
    assert tokenizer.vocab_size == 8 and tokenizer.unk_id == 0
    assert tokenizer.char_to_id["d"] == 1 and tokenizer.id_to_char[1] == "d"
    assert CharTokenizer(["a", "b"]).encode("ba") == [2, 1]


@given(st.text(min_size=1))
def test_char_round_trip(text):
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_char_round_trip_of_the_shipped_text():
    text = load_text()
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    assert tokenizer.decode(np.array(tokenizer.encode(text))) == text


def test_unknown_characters_become_unk():
    tokenizer = CharTokenizer(["a", "b"])
    assert tokenizer.encode("aéb") == [1, 0, 2]
    assert tokenizer.decode([1, 0, 2]) == "a<UNK>b"


@pytest.mark.parametrize("tokens", [[3], [-1], [1, 99]])
def test_ids_outside_the_vocabulary_are_refused(tokens):
    with pytest.raises(ValueError, match="not in the vocabulary"):
        CharTokenizer(["a", "b"]).decode(tokens)


def test_a_batch_is_refused_with_a_hint():
    with pytest.raises(ValueError, match="row by row"):
        CharTokenizer(["a"]).decode([[1, 1], [1, 1]])


def test_text_must_be_text():
    with pytest.raises(TypeError, match="expected text"):
        CharTokenizer(["a"]).encode(b"bytes")
    with pytest.raises(TypeError, match="expected text"):
        CharTokenizer().build_vocab([1, 2])
    with pytest.raises(TypeError, match="expected text"):
        BPETokenizer().train([1, 2])


def test_an_empty_corpus_is_refused():
    with pytest.raises(ValueError, match="empty"):
        CharTokenizer().build_vocab("")
    with pytest.raises(ValueError, match="no words"):
        BPETokenizer().train(["", "  "])
    with pytest.raises(ValueError, match="train"):
        BPETokenizer().encode("hello")


def test_empty_text_is_no_tokens():
    tokenizer = CharTokenizer(["a"])
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


def test_bpe_helpers():
    tokenizer = BPETokenizer()
    assert tokenizer._get_word_tokens("the") == ["t", "h", "e</w>"]
    assert tokenizer._get_word_tokens("") == []
    assert tokenizer._get_pairs(["a", "b", "a", "b"]) == {("a", "b"), ("b", "a")}


def naive_merges(words, count):
    """The definition: recount all pairs after each merge."""
    frequency = Counter(words)
    split = {w: [*w[:-1], w[-1] + "</w>"] for w in frequency}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, symbols in split.items():
            for pair in pairwise(symbols):
                pairs[pair] += frequency[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols in split.values():
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i : i + 2] = ["".join(best)]
                i += 1
    return merges


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=8), min_size=1, max_size=12))
def test_bpe_learns_the_merges_of_the_definition(words):
    tokenizer = BPETokenizer(vocab_size=40)
    tokenizer.train(words)
    assert tokenizer.merges == naive_merges(words, len(tokenizer.merges))
    assert len(tokenizer.vocab) == 40 or not naive_merges(words, 1000)[len(tokenizer.merges) :]
    assert len(set(tokenizer.vocab)) == len(tokenizer.vocab)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="abcd", min_size=1, max_size=9), min_size=1, max_size=10))
def test_bpe_round_trip_over_the_training_alphabet(words):
    tokenizer = BPETokenizer(vocab_size=30)
    tokenizer.train(["abcd"])
    text = " ".join(words)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bpe_compresses_and_round_trips_the_shipped_text():
    text = " ".join(load_text().split())
    tokenizer = BPETokenizer()
    tokenizer.train(text.split(), vocab_size=600)
    ids = tokenizer.encode(text)
    assert len(tokenizer.vocab) == 600
    assert tokenizer.decode(ids) == text
    assert len(ids) < 0.5 * len(text)


def test_bpe_vocabulary_and_mappings_agree():
    tokenizer = BPETokenizer()
    tokenizer.train(["low", "low", "lower", "newest", "newest", "widest"], vocab_size=40)
    assert tokenizer.vocab[0] == "<UNK>"
    assert all(tokenizer.id_to_token[tokenizer.token_to_id[t]] == t for t in tokenizer.vocab)
    assert all("".join(pair) in tokenizer.token_to_id for pair in tokenizer.merges)


def test_bpe_unknown_symbols_become_unk():
    tokenizer = BPETokenizer()
    tokenizer.train(["abc"])
    assert 0 in tokenizer.encode("axc")


@pytest.mark.parametrize("size", [0, -5, 2.5])
def test_bpe_vocabulary_size_must_be_positive(size):
    with pytest.raises(ValueError, match="positive integer"):
        BPETokenizer(vocab_size=size)


@pytest.mark.parametrize("tokens", [[1, 1.7], [np.nan], ["a"], [True]])
def test_ids_must_be_whole_numbers(tokens):
    with pytest.raises(ValueError, match="token ids must be whole numbers"):
        CharTokenizer(["a", "b"]).decode(tokens)


def test_ids_may_come_in_a_tensor():
    assert CharTokenizer(["a", "b"]).decode(Tensor([1, 2, 1])) == "aba"
