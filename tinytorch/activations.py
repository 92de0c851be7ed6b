"""Activation functions, as functions on tensors and as layers."""

from __future__ import annotations

from . import kernels
from .autograd import rules
from .autograd.engine import record
from .module import Module
from .tensor import Tensor

__all__ = [
    "GELU",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "gelu",
    "log_softmax",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

TOLERANCE = 1e-10


def relu(x: Tensor) -> Tensor:
    """max(x, 0)"""
    y = kernels.relu(x.data)
    return record(y, rules.ReLUBackward, x, y)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), without overflow for large |x|"""
    y = kernels.sigmoid(x.data)
    return record(y, rules.SigmoidBackward, x, y)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return x.tanh()


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x), Φ being the normal distribution function (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    x : Tensor
    approximate : {"none", "tanh", "sigmoid"}
        "none" is exact (erf); "tanh" is GPT-2's; "sigmoid" is x·σ(1.702x).
    """
    return record(kernels.gelu(x.data, approximate=approximate), rules.GELUBackward, x, approximate)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along `dim`."""
    y = kernels.softmax(x.data, axis=dim)
    return record(y, rules.SoftmaxBackward, x, y, dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log(softmax(x)) along `dim`, without underflow."""
    y = kernels.log_softmax(x.data, axis=dim)
    return record(y, rules.LogSoftmaxBackward, x, y, dim)


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))"""

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return tanh(x)


class GELU(Module):
    """x·Φ(x); see `gelu` for `approximate`."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x, self.approximate)


class Softmax(Module):
    """exp(x) / Σ exp(x) along `dim`; `dim` given in the call wins over that of the constructor."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor, dim: int | None = None) -> Tensor:
        return softmax(x, self.dim if dim is None else dim)
