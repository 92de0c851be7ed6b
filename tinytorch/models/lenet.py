"""LeNet (Y. LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998)."""

from __future__ import annotations

from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.spatial import Conv2d, MaxPool2d


class LeNet(Sequential):
    """LeNet-5 with today's ReLU and max pooling: images (N, 1, 32, 32) to logits (N, num_classes)."""

    def __init__(self, num_classes: int = 10):
        super().__init__(
            Conv2d(1, 6, kernel_size=5), ReLU(), MaxPool2d(2),  # to 28x28, then 14x14
            Conv2d(6, 16, kernel_size=5), ReLU(), MaxPool2d(2),  # to 10x10, then 5x5
            Flatten(),
            Linear(16 * 5 * 5, 120), ReLU(),
            Linear(120, 84), ReLU(),
            Linear(84, num_classes),
        )  # fmt: skip
