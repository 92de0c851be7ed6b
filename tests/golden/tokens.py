"""Texts and their ids by a small byte-level vocabulary, from the library `tokenizers` (not PyTorch)."""

import json

import numpy as np

from tinytorch.datasets import load_text

END = "<|endoftext|>"
SIZE = 600
TEXTS = [
    "",
    " ",
    "Alice was beginning to get very tired of sitting by her sister on the bank",
    "I'll say it's they've we're I'm he'd don't 'S 'Tis ''ll",
    "  two  spaces\tand a tab\n\n\nthree lines   \n end  ",
    "snake_case __init__ x=1.5e-3; 12345 1,000 ²³ Ⅷ ½",
    "Zürich façade naïve Ελληνικά Русский עברית العربية",
    "日本語の文章 한국어 中文。ไทย हिन्दी",
    "👩‍👩‍👧 🇨🇭 e\u0301 \ufeff\u200b\u00a0\u3000|\x1c|\x85|\x00",
    f"one{END}two {END}{END}\nthree",
]


def library(text: str):
    """`tokenizers`, trained on a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=[END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def make() -> dict[str, np.ndarray]:
    tokenizer = library(load_text("alice"))
    merges = [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    vocab = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    ids = {f"ids{i}": np.array(tokenizer.encode(text).ids, np.int32) for i, text in enumerate(TEXTS)}
    return {"vocab": np.array(vocab), "merges": np.array(merges), **ids}
