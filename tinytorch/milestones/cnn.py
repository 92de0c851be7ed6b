"""1998: the convolutional network, which looks for the same small patterns everywhere.

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner's LeNet-5 read the amounts on cheques. A convolution has a few
weights that it uses at every place, and finds out by itself which patterns to look for. Whether ours does is
seen: the network is trained twice, once with its convolutions left as they were drawn at random.
"""

from __future__ import annotations

import numpy as np

from tinytorch import viz
from tinytorch.datasets import load_digits
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models import LeNet
from tinytorch.optimizers import Adam
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor
from tinytorch.training import CosineSchedule, Trainer

from .outcome import Outcome, batches, curve

TITLE = "LeNet-5 reads digits with convolutions that it learned"
TARGET = 98.5  # per cent of held-out images
EPOCHS = 12


def run(seed: int = 0) -> Outcome:
    """Train it, once for real and once with random convolutions, and judge both."""
    images, labels = load_digits(32, "train", seed, augment=5)
    held_out, truth = load_digits(32, "test", seed)
    losses, accuracies, findings = {}, {}, []
    for name, learning in (("convolutions learn", True), ("convolutions stay random", False)):
        np.random.seed(seed)
        model = LeNet()
        convolutions = [layer for layer in model if isinstance(layer, Conv2d)]
        before = [layer.weight.data.copy() for layer in convolutions]
        for parameter in (parameter for layer in convolutions for parameter in layer.parameters()):
            parameter.requires_grad = learning
        losses[name] = train(model, images, labels, seed)
        guesses = model(Tensor(held_out)).data.argmax(axis=1)
        accuracies[name] = 100 * float((guesses == truth).mean())
        findings.append(f"Where {name}, {accuracies[name]:.2f} % of {len(truth)} held-out images are right.")
        if learning:
            first, drawn = convolutions[0].weight.data, before[0]
            for layer, start in zip(convolutions, before, strict=True):
                change = np.linalg.norm(layer.weight.data - start) / np.linalg.norm(start)
                channels = layer.weight.shape[0]
                findings.append(f"The {channels} filters moved by {change:.0%} of where they began.")
    accuracy = accuracies["convolutions learn"]
    captions = [f"{when} {i + 1}" for when in ("drawn", "learned") for i in range(len(first))]
    filters = viz.images(np.concatenate([drawn, first])[:, 0], captions, columns=len(first))
    return Outcome(
        accuracy, accuracy >= TARGET, findings, {"curve": curve(TITLE, losses), "filters": filters}
    )


def train(model: LeNet, images: np.ndarray, labels: np.ndarray, seed: int) -> list[float]:
    """Adam under a falling learning rate; returns the loss of each epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    schedule = CosineSchedule(max_lr=2e-3, min_lr=5e-5, total_epochs=EPOCHS)
    trainer = Trainer(model, Adam(parameters), CrossEntropyLoss(), schedule)
    return trainer.fit(batches(images, labels, 32, seed), EPOCHS)["train_loss"]
