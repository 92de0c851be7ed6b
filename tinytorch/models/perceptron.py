"""The perceptron (F. Rosenblatt, 1958): one layer of weights, from pixels to classes."""

from __future__ import annotations

from tinytorch.layers import Flatten, Linear, Sequential


class Perceptron(Sequential):
    """A linear classifier: features (N, ...) to logits (N, num_classes).

    It is trained by gradient descent rather than by Rosenblatt's rule.

    Parameters
    ----------
    in_features : int
        64 for 8x8 digits.
    num_classes : int
    """

    def __init__(self, in_features: int = 64, num_classes: int = 10):
        super().__init__(Flatten(), Linear(in_features, num_classes))
