"""The multi-layer perceptron (D. Rumelhart, G. Hinton, R. Williams, 1986)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.module import Module


class MLPClassifier(Sequential):
    """Linear layers with ReLU between them: features (N, ...) to logits (N, sizes[-1]).

    Parameters
    ----------
    sizes : sequence of int
        Features in, sizes of the hidden layers, classes. ``(1024, 512, 256, 10)`` reads 32x32 digits.
    """

    def __init__(self, sizes: Sequence[int] = (1024, 512, 256, 10)):
        if len(sizes) < 2:
            raise ValueError(
                f"MLPClassifier: sizes needs at least features in and classes, got {tuple(sizes)}."
            )
        layers: list[Module] = [Flatten()]
        for fan_in, fan_out in pairwise(sizes):
            layers += [Linear(fan_in, fan_out), ReLU()]
        super().__init__(*layers[:-1])  # no ReLU after the logits
