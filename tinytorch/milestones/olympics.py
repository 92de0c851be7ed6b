"""2018: the optimization olympics, in which trained models are made small and fast.

The benchmark MLPerf was founded in 2018 to compare whole systems by rules that all keep. Here a convolutional
network and a GPT enter as they were trained; quantized to integers; with weights or units pruned and the rest
trained on; with a cache; and with these combined. Each entry is judged on data that it has not seen, weighed
in bytes, and raced in turn against the others. Not every optimization pays for every model: the leaderboard
says which did here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinytorch import _text, timing, viz
from tinytorch.acceleration import optimize
from tinytorch.dataloader import DataLoader
from tinytorch.datasets import load_digits, load_text, next_token_windows
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models import char_gpt, next_token_loss
from tinytorch.models.cnn import DigitsCNN
from tinytorch.optimizers import AdamW
from tinytorch.pruning import Masks, prune, remove_units, sparsify
from tinytorch.quantities import format_value
from tinytorch.quantization import quantize
from tinytorch.replacing import stored_bytes
from tinytorch.schedules import OneCycleSchedule
from tinytorch.tensor import Tensor
from tinytorch.tokenization import CharTokenizer
from tinytorch.training import Trainer

from .outcome import Outcome, batches, curve

TITLE = "Smaller and faster models that know as much"
TARGET = 98.5  # per cent of held-out images, by the fastest network that still reaches it
LOST_PERPLEXITY = 1.02  # times the perplexity as trained, at most, of the GPT that counts
EPOCHS, FINE_TUNING, VARIANTS = 8, 3, 3  # passes over the images, which come in so many variants
EPOCHS_OF_TEXT, WIDTH = 3, 256
READ, WRITTEN = 128, 96  # characters: read at a time, and written in a race
BATCH, RACE_SECONDS = 64, 8.0


@dataclass
class Entry:
    """One way to run a trained model: what it knows, weighs and takes."""

    name: str
    quality: float
    nbytes: int
    call: Callable[[], Any]


def run(seed: int = 0) -> Outcome:
    """Train both models, enter them in every way, and draw up the leaderboards."""
    losses: dict[str, list[float]] = {}
    networks, writers = cnn_entries(seed, losses), gpt_entries(seed, losses)
    reads, writes = "A CNN reads 64 digits", f"A GPT writes {WRITTEN} characters"
    best, network_won, read_board, read_bars = compete(reads, "% right", networks, lambda q: q >= TARGET)
    most = LOST_PERPLEXITY * writers[0].quality
    _, writer_won, write_board, write_bars = compete(writes, "perplexity", writers, lambda q: q <= most)
    return Outcome(
        best.quality,
        network_won and writer_won,
        [read_board, write_board],
        {"curve": curve(TITLE, losses), "reading": read_bars, "writing": write_bars},
    )


def compete(
    title: str, unit: str, entries: list[Entry], counts: Callable[[float], bool]
) -> tuple[Entry, bool, str, Any]:
    """Race all; the fastest whose quality counts has won if it is smaller and faster than as trained."""
    races = timing.race_many(
        {entry.name: entry.call for entry in entries}, seconds=RACE_SECONDS, compare=False
    )
    gains = {entry.name: races.between(entries[0].name, entry.name) for entry in entries[1:]}
    ranked = sorted(entries, key=lambda entry: races.time(entry.name).value)
    winner = next(entry for entry in ranked if counts(entry.quality))
    won = (
        winner.name in gains and gains[winner.name].verdict == "faster" and winner.nbytes < entries[0].nbytes
    )
    times = [races.time(entry.name) for entry in ranked]
    bars = viz.bars(
        [
            {
                "name": title,
                "x": [entry.name for entry in ranked],
                "y": [1e3 * time.value for time in times],
                "low": [1e3 * (time.low or time.value) for time in times],
                "high": [1e3 * (time.high or time.value) for time in times],
            }
        ],
        title=title,
        y_label="ms (measured)",
    )
    return winner, won, f"{title} (measured):\n{leaderboard(ranked, unit, races, gains)}", bars


def leaderboard(ranked: list[Entry], unit: str, races: timing.Races, gains: dict[str, timing.Race]) -> str:
    """The fastest first; how many times faster than as trained, with its interval."""
    rows = [
        [
            entry.name,
            f"{entry.quality:.2f}",
            format_value(entry.nbytes, "B"),
            str(races.time(entry.name)),
            str(gains[entry.name].ratio) if entry.name in gains else "",
        ]
        for entry in ranked
    ]
    return _text.table(["entry", unit, "bytes", "time", "gain"], rows)


def train(
    model: Any, loader: DataLoader, loss: Any, lr: float, epochs: int, masks: Masks | None = None
) -> list[float]:
    """AdamW under a learning rate that rises and falls, zeros held by the masks; the loss of each epoch."""
    optimizer: Any = AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    optimizer = masks.wrap(optimizer) if masks else optimizer
    schedule = OneCycleSchedule(max_lr=lr, total_steps=epochs * len(loader))
    trainer = Trainer(model, optimizer, loss, schedule, grad_clip_norm=1.0, schedule_steps=True)
    history = trainer.fit(loader, epochs)["train_loss"]
    model.eval()
    return history


def cnn_entries(seed: int, losses: dict[str, list[float]]) -> list[Entry]:
    """The digit reader: float32 at its best, in INT8, with few weights, with half the units, and combined."""
    np.random.seed(seed)
    images, labels = load_digits(32, "train", seed, augment=VARIANTS)
    held_out, truth = load_digits(32, "test", seed)
    batch = np.ascontiguousarray(held_out[:BATCH])
    fit = partial(train, loader=batches(images, labels, 32, seed), loss=CrossEntropyLoss())

    def enter(name: str, model: Any) -> Entry:
        right = float((model.predict(held_out) == truth).mean())
        return Entry(name, 100 * right, model.nbytes, partial(model, batch))

    model = DigitsCNN()
    losses["CNN"] = fit(model, lr=3e-3, epochs=EPOCHS)
    sparse, halved = copy.deepcopy(model), remove_units(model, 0.5)
    losses["CNN, 90 % of its weights gone"] = fit(
        sparse, lr=1e-3, epochs=FINE_TUNING, masks=prune(sparse, 0.9, block=4)
    )
    losses["CNN, half its units gone"] = fit(halved, lr=1e-3, epochs=FINE_TUNING)
    calibration = images[:256]
    return [
        enter("as trained", optimize(model)),
        enter("INT8", quantize(model, calibration)),
        enter("90 % pruned, trained on", sparsify(sparse, batch, block=4)),
        enter("half the units, trained on", optimize(halved)),
        enter("half the units, trained on, INT8", quantize(halved, calibration)),
    ]


def gpt_entries(seed: int, losses: dict[str, list[float]]) -> list[Entry]:
    """The writer: without a cache, with one, and with smaller weights besides."""
    np.random.seed(seed)
    text = load_text()
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    ids = np.asarray(tokenizer.encode(text))
    cut = len(ids) * 9 // 10
    known, unseen = next_token_windows(ids[:cut], READ), next_token_windows(ids[cut:], READ)
    prompt = ids[None, :8]
    fit = partial(train, loader=batches(*known, 16, seed), loss=next_token_loss)

    def enter(name: str, model: Any, use_cache: bool = True) -> Entry:
        logits = np.concatenate([model.infer(part) for part in np.array_split(unseen[0], 8)])
        perplexity = math.exp(next_token_loss(Tensor(logits), unseen[1]).item())
        write = partial(model.generate, prompt, WRITTEN, temperature=0, use_cache=use_cache)
        return Entry(name, perplexity, stored_bytes(model), write)

    model = char_gpt(tokenizer.vocab_size, embed_dim=WIDTH, max_seq_len=READ)
    losses["GPT"] = fit(model, lr=2e-3, epochs=EPOCHS_OF_TEXT)
    sparse = copy.deepcopy(model)
    losses["GPT, half its weights gone"] = fit(sparse, lr=5e-4, epochs=1, masks=prune(sparse, 0.5, block=4))
    small = quantize(model)
    return [
        enter("as trained", model, use_cache=False),
        enter("INT8", small, use_cache=False),
        enter("cache", model),
        enter("cache, INT8", small),
        enter("cache, INT4", quantize(model, weights="int4")),
        enter("cache, 50 % pruned, trained on", sparsify(sparse, prompt[:, :1], block=4)),
        enter("cache, 50 % pruned, trained on, INT8", quantize(sparse)),
    ]
