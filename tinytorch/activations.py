"""Activation functions, as functions on tensors and as layers."""

from __future__ import annotations

import numpy as np

from . import kernels
from ._arrays import as_float
from .autograd import rules
from .autograd.engine import record
from .module import Module
from .tensor import Tensor, array_of

__all__ = [
    "ELU",
    "GELU",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "elu",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]

TOLERANCE = 1e-10


def relu(x: Tensor) -> Tensor:
    """max(x, 0)"""
    y = kernels.relu(array_of("relu", x))
    return record(y, rules.ReLUBackward, x, y)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), without overflow for large |x|"""
    y = kernels.sigmoid(array_of("sigmoid", x))
    return record(y, rules.SigmoidBackward, x, y)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    y = kernels.tanh(array_of("tanh", x))
    return record(y, rules.TanhBackward, x, y)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x·Φ(x), Φ being the normal distribution function (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    x : Tensor
    approximate : {"none", "tanh", "sigmoid"}
        "none" is exact (erf); "tanh" is GPT-2's; "sigmoid" is x·σ(1.702x).
    """
    y = kernels.gelu(array_of("gelu", x), approximate=approximate)
    return record(y, rules.GELUBackward, x, approximate)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else negative_slope·x (Maas, Hannun and Ng 2013)."""
    array = as_float(array_of("leaky_relu", x))
    slope, one = array.dtype.type(negative_slope), array.dtype.type(1)
    y = np.where(array > 0, array, slope * array)
    return record(y, rules.ElementwiseBackward, x, lambda x: np.where(x > 0, one, slope), x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha·(exp(x) - 1) (Clevert, Unterthiner and Hochreiter 2016)."""
    array = as_float(array_of("elu", x))
    scale, one = array.dtype.type(alpha), array.dtype.type(1)
    y = np.where(array > 0, array, scale * np.expm1(np.minimum(array, 0)))

    def derivative(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, one, scale * np.exp(np.minimum(x, 0)))

    return record(y, rules.ElementwiseBackward, x, derivative, x)


def silu(x: Tensor) -> Tensor:
    """x·σ(x), also called swish (Hendrycks and Gimpel 2016; Ramachandran, Zoph and Le 2017)."""
    share = kernels.sigmoid(array_of("silu", x))
    y = as_float(x.data) * share

    def derivative(x: np.ndarray) -> np.ndarray:
        slope = 1 - share  # share * (1 + x * (1 - share)), in one array
        slope *= x
        slope += 1
        slope *= share
        return slope

    return record(y, rules.ElementwiseBackward, x, derivative, x)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along `dim`."""
    y = kernels.softmax(array_of("softmax", x), axis=dim)
    return record(y, rules.SoftmaxBackward, x, y, dim)


def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """log(softmax(x)) along `dim`, without underflow."""
    y = kernels.log_softmax(array_of("log_softmax", x), axis=dim)
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


class LogSoftmax(Softmax):
    """log(softmax(x)) along `dim`, without underflow."""

    def forward(self, x: Tensor, dim: int | None = None) -> Tensor:
        return log_softmax(x, self.dim if dim is None else dim)


class LeakyReLU(Module):
    """x where it is positive, else negative_slope·x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x where it is positive, else alpha·(exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return elu(x, self.alpha)


class SiLU(Module):
    """x·σ(x)"""

    def forward(self, x: Tensor) -> Tensor:
        return silu(x)
