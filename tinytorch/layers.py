"""Layers: what models are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import kernels
from ._arrays import is_number
from .autograd.engine import Function, record
from .autograd.rules import LinearBackward
from .module import Module, Parameter
from .tensor import Tensor, array_of

__all__ = [
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "RMSNorm",
    "Sequential",
]

XAVIER_SCALE_FACTOR = 1.0
HE_SCALE_FACTOR = 2.0
DROPOUT_MIN_PROB = 0.0
DROPOUT_MAX_PROB = 1.0

Layer = Module


def check_positive(name: str, **sizes: int) -> None:
    """Raise ValueError, naming the layer and the argument, unless all sizes are positive whole numbers."""
    for size_name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or size <= 0:
            raise ValueError(f"{name}: {size_name} must be a positive whole number, got {size!r}")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (…, in) @ weight (in, out) + bias (out,); PyTorch keeps its weight the other way round."""
    array = array_of("Linear", x)
    if array.shape[-1:] != weight.shape[:1]:
        raise ValueError(
            f"Linear: the last axis of the input must have {weight.shape[0]} features, "
            f"but its shape is {x.shape}"
        )
    y = kernels.linear(array, weight.data, None if bias is None else bias.data)
    return record(y, LinearBackward, x, weight, bias)


class Linear(Module):
    """y = x @ weight + bias

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether to add a bias, which starts at zero.

    Attributes
    ----------
    weight : Parameter, (in_features, out_features)
        Starts normally distributed with variance 1 / in_features, which keeps the scale of the input.
    bias : Parameter, (out_features,), or None
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        check_positive("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        scale = np.sqrt(XAVIER_SCALE_FACTOR / in_features)
        self.weight = Parameter(np.random.randn(in_features, out_features) * scale)
        self.bias = Parameter(np.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in_features) → (…, out_features)"""
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability p and scale the others by 1 / (1 - p), if `training`."""
    keep = 1 - _check_probability(p)
    if not training or keep == 1:
        return x
    array_of("Dropout", x)
    mask = (np.random.random(x.shape) < keep).astype(x.dtype)
    return x * Tensor._wrap(mask / keep if keep > 0 else mask)


def _check_probability(p: float) -> float:
    if not is_number(p) or not DROPOUT_MIN_PROB <= p <= DROPOUT_MAX_PROB:
        raise ValueError(f"Dropout: p is a probability and must be between 0 and 1, got {p!r}")
    return p


class Dropout(Module):
    """In training, zero each element with probability p and scale the others by 1 / (1 - p).

    Source: Srivastava et al. 2014, in the inverted form that leaves inference alone.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = _check_probability(p)

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        """`training`, when given, wins over the module's own mode."""
        return dropout(x, self.p, self.training if training is None else training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Flatten(Module):
    """(N, …) → (N, features)"""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)


class LayerNormBackward(Function):
    """Layer normalisation with its scale and shift"""

    owns_gradients = True

    def __init__(self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> None:
        super().__init__(x, gamma, beta)
        self.eps = eps

    def backward(self, grad: np.ndarray) -> tuple:
        x, gamma, _ = self.saved_tensors
        return kernels.layer_norm_backward(grad, x.data, gamma.data, eps=self.eps)


class LayerNorm(Module):
    """Give the last axis mean 0 and variance 1, then scale by gamma and shift by beta.

    Source: Ba, Kiros and Hinton 2016.

    Parameters
    ----------
    normalized_shape : int or tuple of one int
        Size of the last axis.
    eps : float
        Added to the variance.
    """

    def __init__(self, normalized_shape: int | tuple[int], eps: float = 1e-5) -> None:
        self.normalized_shape = _last_axis("LayerNorm", normalized_shape)
        self.eps = _check_eps("LayerNorm", eps)
        self.gamma = Parameter(np.ones(self.normalized_shape))
        self.beta = Parameter(np.zeros(self.normalized_shape))

    def forward(self, x: Tensor) -> Tensor:
        _check_last_axis("LayerNorm", x, self.normalized_shape)
        y = kernels.layer_norm(x.data, self.gamma.data, self.beta.data, eps=self.eps)
        return record(y, LayerNormBackward, x, self.gamma, self.beta, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape[0]}, eps={self.eps}"


class RMSNormBackward(Function):
    """Root-mean-square normalisation with its scale"""

    owns_gradients = True

    def __init__(self, x: Tensor, gamma: Tensor, eps: float) -> None:
        super().__init__(x, gamma)
        self.eps = eps

    def backward(self, grad: np.ndarray) -> tuple:
        x, gamma = self.saved_tensors
        return kernels.rms_norm_backward(grad, x.data, gamma.data, eps=self.eps)


class RMSNorm(Module):
    """Divide the last axis by its root mean square, then scale by gamma. Source: Zhang and Sennrich 2019."""

    def __init__(self, normalized_shape: int | tuple[int], eps: float = 1e-5) -> None:
        self.normalized_shape = _last_axis("RMSNorm", normalized_shape)
        self.eps = _check_eps("RMSNorm", eps)
        self.gamma = Parameter(np.ones(self.normalized_shape))

    def forward(self, x: Tensor) -> Tensor:
        _check_last_axis("RMSNorm", x, self.normalized_shape)
        y = kernels.rms_norm(x.data, self.gamma.data, eps=self.eps)
        return record(y, RMSNormBackward, x, self.gamma, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape[0]}, eps={self.eps}"


def _last_axis(name: str, shape: int | tuple[int]) -> tuple[int]:
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if len(sizes) != 1:
        raise ValueError(f"{name}: normalises the last axis only, so give one size, not {shape}")
    check_positive(name, normalized_shape=sizes[0])
    return sizes


def _check_eps(name: str, eps: float) -> float:
    if not is_number(eps) or not 0 <= eps < math.inf:
        raise ValueError(f"{name}: eps keeps a division from that by 0, so it is at least 0, not {eps!r}")
    return eps


def _check_last_axis(name: str, x: Tensor, shape: tuple[int]) -> None:
    if array_of(name, x).shape[-1:] != shape:
        raise ValueError(
            f"{name}: the last axis of the input must have {shape[0]} elements, its shape is {x.shape}"
        )


class Sequential(Module):
    """Run modules one after the other."""

    def __init__(self, *layers: Any) -> None:
        for layer in layers:
            if not callable(layer):
                raise TypeError(f"Sequential: takes layers one by one, Sequential(a, b, …), not {layer!r}")
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]
