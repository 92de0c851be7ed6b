"""1986: the multi-layer perceptron, trained by backpropagation.

D. Rumelhart, G. Hinton and R. Williams showed that the chain rule, run backwards through the layers,
gives every weight its share of the blame. Here 64 pixels pass one hidden layer of 128 to ten digits.
"""

from __future__ import annotations

import numpy as np

from tinytorch import viz
from tinytorch.datasets import load_digits
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models import MLPClassifier
from tinytorch.optimizers import Adam
from tinytorch.tensor import Tensor
from tinytorch.training import CosineSchedule, Trainer

from .outcome import Outcome, batches, curve

TITLE = "Backpropagation trains a hidden layer to read digits"
TARGET = 96.0  # per cent of held-out images
EPOCHS = 20


def run(seed: int = 0) -> Outcome:
    """Train and judge it."""
    np.random.seed(seed)
    images, labels = load_digits(8, "train", seed, augment=4)
    held_out, truth = load_digits(8, "test", seed)

    model = MLPClassifier((64, 128, 10))
    schedule = CosineSchedule(max_lr=3e-3, min_lr=1e-4, total_epochs=EPOCHS)
    trainer = Trainer(model, Adam(model.parameters()), CrossEntropyLoss(), schedule)
    trainer.fit(batches(images, labels, 32, seed), EPOCHS)

    guesses = model(Tensor(held_out)).data.argmax(axis=1)
    wrong = np.flatnonzero(guesses != truth)
    accuracy = 100 * float((guesses == truth).mean())
    pictures = {"curve": curve(TITLE, {"64-128-10": trainer.history["train_loss"]})}
    if wrong.size:
        captions = [f"{guesses[i]}, not {truth[i]}" for i in wrong]
        pictures["mistakes"] = viz.images(held_out[wrong, 0], captions)
    return Outcome(
        accuracy,
        accuracy >= TARGET,
        [f"{len(truth)} held-out images, {wrong.size} of them wrong."],
        pictures,
    )
