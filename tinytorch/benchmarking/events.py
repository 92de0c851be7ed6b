"""The events of TinyMLPerf that run on data which comes with TinyTorch, each with a small trained model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tinytorch.autograd.engine import no_grad
from tinytorch.datasets import load_digits, load_text, next_token_windows
from tinytorch.losses import cross_entropy
from tinytorch.models import LeNet, MLPClassifier, char_gpt, next_token_loss
from tinytorch.module import Module
from tinytorch.optimizers import Adam
from tinytorch.profiling import Timer
from tinytorch.tensor import Tensor
from tinytorch.tokenization import CharTokenizer
from tinytorch.training import manual_seed

Data = tuple[np.ndarray, np.ndarray]
SEED = 0
CONTEXT = 32  # characters that the transformer sees


@dataclass(frozen=True)
class Event:
    """A task with its data and a baseline.

    Attributes
    ----------
    description : str
        With the honest name of the data.
    target_accuracy : float
        Of the held-out data.
    max_latency_ms : float
        For one sample.
    data : function
        Returns training and held-out data, inputs and targets each.
    train : function
        Returns the baseline model, trained.
    """

    name: str
    description: str
    target_accuracy: float
    max_latency_ms: float
    data: Callable[[], tuple[Data, Data]]
    train: Callable[[], Module]


@cache
def _digits(size: int) -> tuple[Data, Data]:
    train, test = (load_digits(size, split, SEED) for split in ("train", "test"))
    return train, test


@cache
def _characters() -> tuple[Data, Data]:
    """Windows of the shipped text; the last tenth held out."""
    text = load_text()
    tokenizer = CharTokenizer()
    tokenizer.build_vocab([text])
    inputs, targets = next_token_windows(tokenizer.encode(text), CONTEXT)
    held_out = len(inputs) // 10
    train = inputs[:-held_out], targets[:-held_out]
    return train, (inputs[-held_out:][:200], targets[-held_out:][:200])


def _train(
    model: Module, data: Data, loss_fn: Callable[[Any, Any], Tensor], *, steps: int, lr: float
) -> Module:
    """Adam on random batches of 64."""
    inputs, targets = data
    rng = np.random.default_rng(SEED)
    optimizer = Adam(model.parameters(), lr=lr)
    model.train()
    for step in range(steps):
        chosen = rng.integers(0, len(inputs), 64)
        optimizer.lr = lr * (1 - step / steps)
        optimizer.zero_grad()
        loss_fn(model(as_input(inputs[chosen])), targets[chosen]).backward()
        optimizer.step()
    model.eval()
    return model


@cache
def _mlp() -> Module:
    manual_seed(SEED)
    return _train(MLPClassifier((64, 128, 10)), _digits(8)[0], cross_entropy, steps=300, lr=5e-3)


@cache
def _lenet() -> Module:
    manual_seed(SEED)
    return _train(LeNet(), _digits(32)[0], cross_entropy, steps=150, lr=3e-3)


@cache
def _gpt() -> Module:
    manual_seed(SEED)
    (inputs, targets), _ = _characters()
    vocabulary = int(max(inputs.max(), targets.max())) + 1
    model = char_gpt(vocabulary, embed_dim=64, num_layers=2, num_heads=4, max_seq_len=CONTEXT)
    return _train(model, (inputs, targets), next_token_loss, steps=150, lr=5e-3)


EVENTS = {
    event.name: event
    for event in (
        Event(
            "mlp_sprint", "handwritten digits, 8 × 8 (UCI), by an MLP", 0.93, 1.0, lambda: _digits(8), _mlp
        ),
        Event(
            "cnn_marathon",
            "handwritten digits, 32 × 32 (UCI, enlarged), by LeNet",
            0.95,
            5.0,
            lambda: _digits(32),
            _lenet,
        ),
        Event(
            "transformer_decathlon",
            "the next character of the shipped text, by a small GPT",
            0.35,
            5.0,
            _characters,
            _gpt,
        ),
    )
}


def as_input(inputs: np.ndarray) -> np.ndarray | Tensor:
    """What a model takes: ids as an array, numbers as a tensor."""
    return inputs if inputs.dtype.kind == "i" else Tensor(inputs)


def latencies(model: Any, x: Any, runs: int) -> np.ndarray:
    """Milliseconds of each run, (runs,), after a tenth as many that don't count."""
    timer = Timer()
    with no_grad():
        timer.measure(model, max(runs // 10, 1), runs, (x,))
    return np.asarray(timer.measurements)


def accuracy(model: Any, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Share of right answers."""
    with no_grad():
        scores = model(as_input(inputs))
    answers = np.asarray(getattr(scores, "data", scores)).argmax(axis=-1)
    if answers.shape != targets.shape:
        raise ValueError(
            f"accuracy: the model gives answers of shape {answers.shape}, but the targets have shape "
            f"{targets.shape}; it must return one score for each class on its last axis"
        )
    return float((answers == targets).mean())
