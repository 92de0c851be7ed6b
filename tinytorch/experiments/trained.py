"""The digit classifiers that experiments measure: trained on the shipped images, kept for the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tinytorch.acceleration import optimize
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.datasets import augment_digits, digits_folds, load_digits
from tinytorch.experiments.context import Context
from tinytorch.intervals import corrected, interval
from tinytorch.layers import Layer
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models.cnn import DigitsCNN
from tinytorch.models.mlp import MLPClassifier
from tinytorch.optimizers import Adam
from tinytorch.quantities import Measured
from tinytorch.tensor import Tensor
from tinytorch.training import CosineSchedule, Trainer

Array = np.ndarray
LEARNING_RATE = 2e-3


VARIANTS = 6  # of the training images, shifted and rotated; epochs take them in turn


@dataclass
class Data:
    """Images and labels to train on, and those held out."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    seed: int

    def __post_init__(self) -> None:
        self._variants: dict[int, Array] = {}

    def variant(self, epoch: int) -> Array:
        """The training images for one epoch."""
        index = epoch % VARIANTS
        if index not in self._variants:
            self._variants[index] = augment_digits(self.train_images, self.seed * VARIANTS + index)
        return self._variants[index]


@dataclass
class Classifier:
    """A trained model in eval mode, with the data of its seed."""

    model: Layer
    data: Data


def seeds(context: Context) -> list[int]:
    """One seed when quick, else three; thorough: one for each of five folds over all images."""
    return list(range(context.choose(1, 3, 5)))


@cache
def digits(seed: int, folds: bool) -> Data:
    """Images at 32 × 32, a quarter of them held out; or the seed-th of five folds instead."""
    if folds:
        return Data(*list(digits_folds(5, size=32))[seed], seed)
    return Data(*load_digits(32, "train", seed), *load_digits(32, "test", seed), seed)


def digits_cnn(context: Context, seed: int) -> Classifier:
    """The CNN: convolutions of 32, 64 and 128 channels with batch norm and pooling, two linear layers."""
    return _classifier(context, "digits-cnn", DigitsCNN, seed, context.choose(4, 10, 15))


def digits_mlp(context: Context, seed: int) -> Classifier:
    """The MLP 1024-512-256-10."""
    return _classifier(context, "digits-mlp", MLPClassifier, seed, context.choose(12, 25, 40))


def _classifier(context: Context, name: str, make: Callable[[], Layer], seed: int, epochs: int) -> Classifier:
    data = digits(seed, context.thorough)

    def train() -> dict[str, Array]:
        with seeded(seed):
            model = make()
            fit(model, data, epochs=epochs)
        return model.state_dict()

    model = make()
    model.load_state_dict(context.trained(name, train, seed=seed, epochs=epochs, folds=context.thorough))
    model.eval()
    return Classifier(model, data)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, from which layers draw their weights, seeded here and as before afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def fit(model: Layer, data: Data, *, epochs: int, lr: float = LEARNING_RATE, optimizer: Any = None) -> None:
    """Train with Adam and a cosine schedule on shifted and rotated images."""
    schedule = CosineSchedule(lr, lr / 50, epochs)
    optimizer = optimizer or Adam(model.parameters(), lr=lr)
    trainer = Trainer(model, optimizer, CrossEntropyLoss(), schedule, progress=False)
    model.train()
    for epoch in range(epochs):
        dataset = TensorDataset(Tensor(data.variant(epoch)), Tensor(data.train_labels))
        trainer.train_epoch(DataLoader(dataset, batch_size=64, shuffle=True, seed=1000 * data.seed + epoch))
    model.eval()


def correct(predict: Callable[[Array], Array], data: Data) -> Array:
    """Which of the held-out images are classified right, (N,) bool."""
    return predict(data.test_images) == data.test_labels


def float_correct(classifier: Classifier) -> Array:
    """`correct` for the float32 model."""
    return correct(optimize(classifier.model).predict, classifier.data)


def accuracy(hits: Array, context: Context) -> Measured:
    """Share of right answers in percent, with its interval over images."""
    low, high = _mean_interval(hits.astype(np.float64), context)
    return Measured(100 * float(hits.mean()), "%", 100 * max(low, 0), 100 * min(high, 1), len(hits))


def accuracy_loss(before: Array, after: Array, context: Context) -> Measured:
    """Points of accuracy lost, from paired answers to the same images: positive when `after` is worse.

    Where hardly an answer flips, resampling sees no spread; the interval then reaches at least as far as the loss
    that n unchanged answers cannot rule out, -ln(1 - confidence) / n (the "rule of three" at 95 %).
    """
    difference = before.astype(np.float64) - after.astype(np.float64)
    low, high = _mean_interval(difference, context)
    blind = -np.log(1 - corrected(context.confidence, context.claims)) / len(difference)
    mean = float(difference.mean())
    return Measured(
        100 * mean, "points", 100 * min(low, mean - blind), 100 * max(high, mean + blind), len(before)
    )


def _mean_interval(values: Array, context: Context) -> tuple[float, float]:
    return interval(values, corrected(context.confidence, context.claims), np.mean)
