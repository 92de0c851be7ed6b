"""1957: the perceptron, a single layer that learns from its mistakes.

F. Rosenblatt's machine weighed the light on each of its photocells, added up, and answered yes or no. Here it
tells zeros from ones: 64 pixels, 64 weights and a bias. With a smooth answer in place of a hard yes or no,
gradient descent finds the weights.
"""

from __future__ import annotations

import numpy as np

from tinytorch import viz
from tinytorch.activations import Sigmoid
from tinytorch.datasets import load_digits
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import BinaryCrossEntropyLoss
from tinytorch.optimizers import SGD
from tinytorch.tensor import Tensor
from tinytorch.training import Trainer

from .outcome import Outcome, batches, curve

TITLE = "The perceptron tells handwritten zeros from ones"
TARGET = 99.0  # per cent of held-out images
EPOCHS = 20


def run(seed: int = 0) -> Outcome:
    """Train and judge it."""
    np.random.seed(seed)
    images, labels = zeros_and_ones("train", seed)
    held_out, truth = zeros_and_ones("test", seed)

    model = Sequential(Flatten(), Linear(64, 1), Sigmoid())
    trainer = Trainer(model, SGD(model.parameters(), lr=0.5), BinaryCrossEntropyLoss())
    trainer.fit(batches(images, labels, 16, seed), EPOCHS)

    answers = model(Tensor(held_out)).data > 0.5
    accuracy = 100 * float((answers == truth).mean())
    weights = model.layers[1].weight.data.reshape(8, 8)
    return Outcome(
        accuracy,
        accuracy >= TARGET,
        [f"{len(truth)} held-out images, {(answers != truth).sum()} of them wrong."],
        {
            "curve": curve(TITLE, {"perceptron": trainer.history["train_loss"]}),
            "weights": viz.heat_map(weights, title="Ink here speaks for a one (blue) or a zero (red)"),
        },
    )


def zeros_and_ones(split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) of the two digits, and their labels (N, 1)."""
    images, labels = load_digits(8, split, seed)
    chosen = labels <= 1
    return images[chosen], labels[chosen, None].astype(np.float32)
