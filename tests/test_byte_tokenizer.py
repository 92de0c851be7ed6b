"""The byte-level tokenizer: any text comes back, and GPT-2's files give GPT-2's ids."""

import itertools
import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import golden
from tests.golden.tokens import END, SIZE, TEXTS, library
from tinytorch.byte_tokenizer import byte_characters, word_pattern
from tinytorch.datasets import load_text
from tinytorch.tensor import Tensor
from tinytorch.tokenization import ByteBPETokenizer


@pytest.fixture(scope="module")
def trained():
    tokenizer = ByteBPETokenizer([END])
    tokenizer.train(load_text("alice"), vocab_size=SIZE)
    return tokenizer


def test_training_finds_the_stored_merges(trained):
    stored = golden.load("tokens")
    assert [" ".join(pair) for pair in trained.merges] == stored["merges"].tolist()
    assert trained.vocab == stored["vocab"].tolist()


@pytest.mark.parametrize("i", range(len(TEXTS)))
def test_ids_are_the_stored_ones(trained, i):
    assert trained.encode(TEXTS[i]) == golden.load("tokens")[f"ids{i}"].tolist()


@given(st.text(), st.booleans())
@settings(deadline=None)
def test_round_trip_of_any_text(trained, text, special):
    for tokenizer in (trained, ByteBPETokenizer()):
        assert tokenizer.decode(tokenizer.encode(text, special)) == text
    assert ByteBPETokenizer().decode_bytes(ByteBPETokenizer().encode(text)) == text.encode()


@given(st.text(" '_\n\tabst19.²é\u3000\x1c"))
def test_words_make_up_the_text(text):
    assert "".join(word_pattern().findall(text)) == text


def test_character_classes_are_those_of_unicode():
    """One word of each kind: a character joins letters or numbers exactly when it is one."""
    for code in range(0, 0x110000, 7):
        character, kind = chr(code), unicodedata.category(chr(code))
        assert (len(word_pattern().findall("a" + character)) == 1) == (kind[0] == "L"), hex(code)
        assert (len(word_pattern().findall("1" + character)) == 1) == (kind[0] == "N"), hex(code)


def test_a_long_word_takes_no_quadratic_time(trained):
    text = "thequickbrownfox" * 10_000
    assert trained.decode(trained.encode(text)) == text


@settings(deadline=None, max_examples=60)
@given(st.text("abcd", min_size=1, max_size=40), st.text("abcd", max_size=40))
def test_encoding_applies_merges_in_order(corpus, text):
    tokenizer = ByteBPETokenizer()
    tokenizer.train(corpus, vocab_size=270)
    symbols = list(text)
    rank = {pair: i for i, pair in enumerate(tokenizer.merges)}
    while pairs := [p for p in itertools.pairwise(symbols) if p in rank]:
        i = list(itertools.pairwise(symbols)).index(min(pairs, key=rank.__getitem__))
        symbols[i : i + 2] = ["".join(symbols[i : i + 2])]
    assert [tokenizer.vocab[i] for i in tokenizer.encode(text)] == symbols


def test_special_tokens_are_one_id_unless_read_as_text(trained):
    text = f"one{END}two"
    assert trained.encode(text).count(trained.token_to_id[END]) == 1
    plain = trained.encode(text, special=False)
    assert trained.token_to_id[END] not in plain and trained.decode(plain) == text
    longest = ByteBPETokenizer(["<a>", "<a><b>"])
    assert longest.encode("<a><b>") == [1]


def test_half_a_character(trained):
    ids = ByteBPETokenizer().encode("é")
    assert len(ids) == 2
    assert ByteBPETokenizer().decode(ids[:1]) == "\ufffd"
    assert ByteBPETokenizer().decode_bytes(Tensor(ids[:1])) == b"\xc3"


def test_save_and_load(trained, tmp_path):
    trained.save(tmp_path / "new")
    loaded = ByteBPETokenizer.load(tmp_path / "new")
    assert (loaded.vocab, loaded.merges) == (trained.vocab, trained.merges)
    assert loaded.special_tokens == [END]
    assert loaded.encode(TEXTS[-1]) == trained.encode(TEXTS[-1])


def test_files_may_be_laid_out_as_gpt2_has_them(trained, tmp_path):
    """Special token last, escapes in the JSON, Windows line ends, no version."""
    vocab = [*trained.vocab[1:], END]
    (tmp_path / "encoder.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    lines = "".join(f"{a} {b}\r\n" for a, b in trained.merges)
    (tmp_path / "vocab.bpe").write_bytes(lines.encode())
    loaded = ByteBPETokenizer.from_files(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
    assert loaded.encode(f"the bank{END}") == [i - 1 for i in trained.encode("the bank")] + [len(vocab) - 1]


def test_bytes_have_the_characters_of_gpt2():
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert [characters[b] for b in b" \n!~\x00\xad"] == ["Ġ", "Ċ", "!", "~", "Ā", "Ń"]


def test_agrees_with_tokenizers(trained):
    pytest.importorskip("tokenizers")
    text = load_text("as_you_like_it")
    theirs = library(text)
    ours = ByteBPETokenizer([END])
    ours.train(text, vocab_size=SIZE)
    assert ours.token_to_id == theirs.get_vocab()
    # Unassigned characters are left out: the two may know different versions of Unicode.
    rng = np.random.default_rng(0)
    assigned = [chr(c) for c in range(0x3000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")]
    for pool in (assigned[:128], assigned[:400], assigned, list(" '\n\tst19_²\u3000\x1c")):
        for _ in range(100):
            sample = "".join(rng.choice(pool, rng.integers(30)).tolist())
            assert ours.encode(sample) == theirs.encode(sample).ids, ascii(sample)
    assert ours.encode(load_text("alice")) == theirs.encode(load_text("alice")).ids


def written(folder, change_vocab=lambda vocab: vocab, change_merges=lambda lines: lines):
    """Load the files of a small tokenizer after a change of them."""
    tokenizer = ByteBPETokenizer([END])
    tokenizer.train("the cat the hat the bat", vocab_size=265)
    tokenizer.save(folder)
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    changed = change_vocab(json.loads(vocab.read_text(encoding="utf-8")))
    vocab.write_text(changed if isinstance(changed, str) else json.dumps(changed), encoding="utf-8")
    merges.write_text(
        "\n".join(change_merges(merges.read_text(encoding="utf-8").split("\n"))), encoding="utf-8"
    )
    return ByteBPETokenizer.load(folder)


def without(vocab, token):
    return {other: i for i, other in enumerate(t for t in vocab if t != token)}


MISUSE = {
    "an id out of range": (lambda _: ByteBPETokenizer().decode([1, 256]), r"id 256 at position 1.*0 to 255"),
    "half an id": (lambda _: ByteBPETokenizer().decode([1.5]), "must be whole numbers"),
    "a batch": (lambda _: ByteBPETokenizer().decode([[1, 2]]), "row by row"),
    "bytes": (lambda _: ByteBPETokenizer().encode(b"a"), r"expected text \(str\), got bytes"),
    "half a surrogate pair": (lambda _: ByteBPETokenizer().encode("a\ud83d"), "half of a surrogate pair"),
    "empty text": (lambda _: ByteBPETokenizer().train(""), "corpus is empty"),
    "no texts": (lambda _: ByteBPETokenizer().train([]), "corpus is empty"),
    "no room for bytes": (lambda _: ByteBPETokenizer().train("a", vocab_size=255), "integer of at least 256"),
    "one text of specials": (lambda _: ByteBPETokenizer(END), "must be a list of texts"),
    "an empty special": (lambda _: ByteBPETokenizer([""]), "cannot be a special token"),
    "a special twice": (lambda _: ByteBPETokenizer([END, END]), "given once"),
    "a word as special": (lambda _: ByteBPETokenizer(["the"]).train("the the"), "special token 'the'"),
    "merges cut in a line": (
        lambda d: written(d, change_merges=lambda m: [*m[:4], m[4].split(" ")[0]]),
        r"merges.txt, line 5: expected two tokens.*cut short",
    ),
    "merges cut at a line": (lambda d: written(d, change_merges=lambda m: m[:4]), "makes.*cut short"),
    "merges of another": (lambda d: written(d, change_merges=lambda m: [*m, "q z"]), "needs the token 'qz'"),
    "vocabulary of another": (lambda d: written(d, lambda v: without(v, "the")), "merge 2.*token 'the'"),
    "vocabulary cut short": (lambda d: written(d, lambda v: json.dumps(v)[:500]), "not a whole JSON file"),
    "a gap in the ids": (lambda d: written(d, lambda v: v | {"the": 999}), "without gaps"),
    "a list": (lambda d: written(d, lambda v: list(v)), r"\{token: id\}"),
    "a missing byte": (lambda d: written(d, lambda v: without(v, "!")), "lacks 1 of the 256 bytes"),
    "no such special": (lambda d: (written(d), ByteBPETokenizer.load(d, ["<s>"])), "'<s>' cannot be"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what, tmp_path):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake(tmp_path)
