"""2012: the deeper convolutional network, on photographs.

A. Krizhevsky, I. Sutskever and G. Hinton's AlexNet won ImageNet with depth, ReLU, dropout, and images that
are shifted and mirrored while it trains. This one has six convolutions and sees CIFAR-10's photographs of
32 x 32 pixels, whose files have to be downloaded first: they are looked for in the folder that
``TINYTORCH_DATA`` names, else in ``data``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from tinytorch import viz
from tinytorch.activations import ReLU
from tinytorch.autograd import no_grad
from tinytorch.dataloader import DataLoader, Subset
from tinytorch.datasets import CIFAR10
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.module import Module
from tinytorch.optimizers import AdamW
from tinytorch.schedules import OneCycleSchedule
from tinytorch.spatial import BatchNorm2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from tinytorch.tensor import Tensor
from tinytorch.training import Trainer
from tinytorch.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

from .outcome import Outcome, Unavailable, curve

TITLE = "Six convolutions recognize photographs (needs CIFAR-10's files)"
TARGET = 55.0  # per cent of held-out images, after what two cores can train in two minutes; guessing gives 10
IMAGES, HELD_OUT, EPOCHS, BATCH = 15_000, 2_000, 2, 64
# The training images' means and standard deviations (quoted from common practice).
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def run(seed: int = 0, folder: str | None = None, verify: bool = True) -> Outcome:
    """Train it and judge it; `verify` as for `CIFAR10`."""
    np.random.seed(seed)
    folder = folder or os.environ.get("TINYTORCH_DATA", "data")
    steady: list[Callable] = [ToTensor(), Normalize(MEAN, STD)]
    varied = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), *steady])
    try:
        photographs = CIFAR10(folder, train=True, transform=varied, verify=verify)
        held_out = CIFAR10(folder, train=False, transform=Compose(steady), verify=verify)
    except FileNotFoundError as missing:
        raise Unavailable(str(missing)) from None
    chosen = Subset(photographs, range(min(IMAGES, len(photographs))))
    batches = DataLoader(chosen, BATCH, shuffle=True, seed=seed, drop_last=True, num_workers=2)

    model = network()
    schedule = OneCycleSchedule(max_lr=4e-3, total_steps=EPOCHS * len(batches))
    optimizer = AdamW(model.parameters(), weight_decay=0.01)
    trainer = Trainer(model, optimizer, CrossEntropyLoss(), schedule, schedule_steps=True)
    losses = trainer.fit(batches, EPOCHS)["train_loss"]

    judged = DataLoader(Subset(held_out, range(min(HELD_OUT, len(held_out)))), BATCH)
    _, share = trainer.evaluate(judged)
    accuracy = 100 * share
    first = model.layers[0].weight.data
    return Outcome(
        accuracy,
        accuracy >= TARGET,
        [f"{len(judged.dataset)} held-out photographs, {EPOCHS} epochs over {len(chosen)} others."],
        {
            "curve": curve(TITLE, {"six convolutions": losses}),
            "filters": viz.images(first.reshape(-1, *first.shape[2:])[:24], columns=8),
            "answers": answers(model, held_out),
        },
    )


def network() -> Sequential:
    """Photographs (N, 3, 32, 32) to logits (N, 10)."""
    layers: list[Module] = []
    channels = 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [Conv2d(channels, width, 3, padding=1, bias=False), BatchNorm2d(width), ReLU()]
            channels = width
        layers.append(MaxPool2d(2))
    return Sequential(*layers, GlobalAvgPool2d(), Flatten(), Dropout(0.1), Linear(channels, 10))


@no_grad()
def answers(model: Sequential, photographs: CIFAR10) -> object:
    """The picture of some photographs, in grey, with what the model takes them for."""
    model.eval()
    images = [photographs[i][0].data for i in range(min(16, len(photographs)))]
    guesses = model(Tensor(np.stack(images))).data.argmax(axis=1)
    return viz.images([-image.mean(axis=0) for image in images], [photographs.classes[g] for g in guesses])
