"""2017: the transformer, which reads and writes sequences by attention alone.

A. Vaswani and others' *Attention Is All You Need* did without recurrence: each position looks at the others,
and learns where to. What it learns is seen where the right place is known: a model with a single head writes
sequences of letters backwards, so each letter that it writes has to be looked up at the mirrored place. A
larger one, with the parts that such models have today, reads *Alice's Adventures in Wonderland*, character by
character, and writes on.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tinytorch import viz
from tinytorch.autograd import no_grad
from tinytorch.datasets import load_text, next_token_windows
from tinytorch.models import Llama, next_token_loss
from tinytorch.optimizers import AdamW
from tinytorch.schedules import OneCycleSchedule
from tinytorch.tokenization import CharTokenizer
from tinytorch.training import Trainer
from tinytorch.transformers import GPT, LanguageModel

from .outcome import Outcome, batches, curve

TITLE = "A transformer turns sequences round by looking them up, and learns to spell"
TARGET = 100.0  # per cent of unseen sequences, every letter right
LETTERS, SEQUENCES, HELD_OUT, EPOCHS = 8, 6400, 1000, 4
READ, EPOCHS_OF_TEXT = 128, 6  # characters at a time
WORDS = 80.0  # per cent of the words written that the text has, too
PROMPTS = ["Alice ", "The ", "She ", "said the "]
IGNORED = -100


def run(seed: int = 0) -> Outcome:
    """Train both, and judge what they write."""
    np.random.seed(seed)
    sequences = np.random.randint(1, 27, (SEQUENCES + HELD_OUT, LETTERS))
    known, unseen = np.split(sequences, [SEQUENCES])
    unseen = unseen[~(unseen[:, None] == known).all(axis=2).any(axis=1)]
    reverser = GPT(27, embed_dim=32, num_layers=1, num_heads=1, max_seq_len=2 * LETTERS)
    tasks = turned_round(known)
    losses = train(reverser, tasks[:, :-1], only_answers(tasks), 64, EPOCHS, 1e-2, seed)
    question = turned_round(unseen)[:, : LETTERS + 1]
    answers = reverser.generate(question, LETTERS, temperature=0).data[:, LETTERS + 1 :]
    accuracy = 100 * float((answers == unseen[:, ::-1]).all(axis=1).mean())

    text = load_text()
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    writer = Llama(
        tokenizer.vocab_size, embed_dim=96, num_layers=2, num_heads=4, num_kv_heads=2, max_seq_len=READ
    )
    before = share_of_words(written(writer, tokenizer, seed), text)
    windows = next_token_windows(tokenizer.encode(text), READ)
    text_losses = train(writer, *windows, 16, EPOCHS_OF_TEXT, 6e-3, seed)
    samples = written(writer, tokenizer, seed)
    share = share_of_words(samples, text)
    return Outcome(
        accuracy,
        accuracy >= TARGET and share >= WORDS,
        [
            f"Of {len(unseen)} unseen sequences of {LETTERS} letters, {accuracy:.1f} % came back in reverse.",
            f"Of the words it writes, {share:.0f} % are words of the text; before training, {before:.0f} %.",
            *(f"It writes: {' '.join(sample.split())}" for sample in samples[: len(PROMPTS)]),
        ],
        {
            "curve": curve(TITLE, {"sequences": losses, "text": text_losses}),
            "attention": viz.heat_map(
                attention(reverser, turned_round(unseen)),
                title="Where it looks: at the mirrored place",
                x_label="letter that is read",
                y_label="letter that is written",
                color_label="attention",
            ),
        },
    )


def turned_round(sequences: np.ndarray) -> np.ndarray:
    """Sequences of letters (N, L), a 0, and the same in reverse: (N, 2 L + 1)."""
    return np.concatenate([sequences, np.zeros((len(sequences), 1), int), sequences[:, ::-1]], axis=1)


def only_answers(tasks: np.ndarray) -> np.ndarray:
    """The next token at each position, but only where it can be known: after the 0."""
    targets = tasks[:, 1:].copy()
    targets[:, :LETTERS] = IGNORED
    return targets


def train(
    model: LanguageModel,
    inputs: np.ndarray,
    targets: np.ndarray,
    size: int,
    epochs: int,
    lr: float,
    seed: int,
) -> list[float]:
    """AdamW under a learning rate that rises and falls; returns the loss of each epoch."""
    loader = batches(inputs, targets, size, seed)
    schedule = OneCycleSchedule(max_lr=lr, total_steps=epochs * len(loader))
    optimizer = AdamW(model.parameters(), weight_decay=0.05)
    trainer = Trainer(model, optimizer, next_token_loss, schedule, grad_clip_norm=1.0, schedule_steps=True)
    return trainer.fit(loader, epochs)["train_loss"]


def written(model: LanguageModel, tokenizer: CharTokenizer, seed: int, samples: int = 4) -> list[str]:
    """How the model goes on after each prompt, `samples` times each."""
    rng, texts = np.random.default_rng(seed), []
    for prompt in PROMPTS:
        ids = np.tile(tokenizer.encode(prompt), (samples, 1))
        texts.append([
            tokenizer.decode(row)
            for row in model.generate(ids, READ - ids.shape[1], temperature=0.6, seed=rng).data
        ])  # fmt: skip
    return [text for sample in zip(*texts, strict=True) for text in sample]


def share_of_words(samples: list[str], text: str) -> float:
    """Per cent of the samples' words that the text has, without prompts and words cut at the end."""
    known = set(words_of(text))
    found = []
    for sample, prompt in zip(samples, PROMPTS * len(samples), strict=False):
        found += words_of(sample.removeprefix(prompt))[:-1]
    return 100 * float(np.mean([word in known for word in found])) if found else 0.0


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())


@no_grad()
def attention(model: GPT, tasks: np.ndarray) -> Any:
    """How much each written letter (row) looks at each letter that was read, on the mean of all sequences."""
    ids = tasks[:, :-1]
    block = model.blocks[0]
    x = model.token_embedding(ids) + model.position_embedding(np.arange(ids.shape[1]))
    _, weights = block.attention(block.ln1(x), causal=True, return_weights=True)
    return weights.data[:, 0, LETTERS:, :LETTERS].mean(axis=0)
