"""A small convolutional network with batch normalisation, for 32x32 digits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.module import Module
from tinytorch.spatial import BatchNorm2d, Conv2d, MaxPool2d

IMAGE_SIDE = 32


class DigitsCNN(Sequential):
    """Images (N, 1, 32, 32) to logits (N, num_classes).

    Convolution, batch norm, ReLU and pooling, three times, then two Linear with a ReLU between. Each
    stage halves the side. The convolutions have no bias, since batch norm would subtract it again.

    Parameters
    ----------
    channels : sequence of int
        Output channels of the stages.
    hidden : int
        Features between the linear layers.
    num_classes : int
    """

    def __init__(self, channels: Sequence[int] = (32, 64, 128), hidden: int = 128, num_classes: int = 10):
        layers: list[Module] = []
        for before, after in pairwise((1, *channels)):
            convolution = Conv2d(before, after, kernel_size=3, padding=1, bias=False)
            layers += [convolution, BatchNorm2d(after), ReLU(), MaxPool2d(2)]
        side = IMAGE_SIDE // 2 ** len(channels)
        features = channels[-1] * side * side
        super().__init__(*layers, Flatten(), Linear(features, hidden), ReLU(), Linear(hidden, num_classes))
