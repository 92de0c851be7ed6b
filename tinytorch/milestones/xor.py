"""1969: exclusive or, which no single layer can learn and two layers can.

M. Minsky and S. Papert proved what a perceptron cannot do: a single layer cuts the plane with one straight
line, and no line has (0, 1) and (1, 0) on one side, (0, 0) and (1, 1) on the other. A hidden layer bends it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import viz
from tinytorch.activations import Sigmoid, Tanh
from tinytorch.autograd import no_grad
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import BinaryCrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.tensor import Tensor
from tinytorch.training import Trainer

from .outcome import Outcome, batches, curve

TITLE = "Exclusive or: one layer cannot, two layers can"
TARGET = 100.0  # per cent of the four cases, by two layers; at most 75 by one
EPOCHS = 400

CASES = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
ANSWERS = np.array([[0], [1], [1], [0]], np.float32)


def run(seed: int = 0) -> Outcome:
    """Train one layer and two, and compare."""
    np.random.seed(seed)
    networks = {
        "one layer": Sequential(Linear(2, 1), Sigmoid()),
        "two layers": Sequential(Linear(2, 8), Tanh(), Linear(8, 1), Sigmoid()),
    }
    losses, right = {}, {}
    for name, model in networks.items():
        trainer = Trainer(model, Adam(model.parameters(), lr=0.05), BinaryCrossEntropyLoss(), progress=False)
        losses[name] = trainer.fit(batches(CASES, ANSWERS, 4, seed), EPOCHS)["train_loss"]
        right[name] = 100 * float(((answer(model, CASES) > 0.5) == ANSWERS).mean())
    return Outcome(
        right["two layers"],
        right["two layers"] >= TARGET and right["one layer"] <= 75,
        [f"{name.capitalize()}: {share:.0f} % of the four cases." for name, share in right.items()],
        {"curve": curve(TITLE, losses), "plane": plane(networks["two layers"])},
    )


@no_grad()
def answer(model: Sequential, points: np.ndarray) -> np.ndarray:
    """What the model makes of points (N, 2): numbers (N, 1) between no (0) and yes (1)."""
    return model(Tensor(points)).data


def plane(model: Sequential, side: int = 41) -> Any:
    """The answer at every point of the square that the four cases span."""
    ticks = np.linspace(0, 1, side, dtype=np.float32)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    values = answer(model, points).reshape(side, side)
    return viz.heat_map(values, title="The hidden layer bends the border", color_label="answer")
