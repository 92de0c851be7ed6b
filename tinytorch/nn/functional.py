"""Layers without state, as functions on tensors."""

from tinytorch.activations import gelu, log_softmax, relu, sigmoid, softmax, tanh
from tinytorch.layers import dropout, linear
from tinytorch.losses import binary_cross_entropy, cross_entropy, mse_loss
from tinytorch.spatial import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    batch_norm,
    conv2d,
    max_pool2d,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "conv2d",
    "cross_entropy",
    "dropout",
    "gelu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
