"""Whole channels and neurons removed: what is left is an ordinary model, only smaller.

A unit is one output of a linear layer or one channel of a convolution. It ends in the layers that follow:
batch norm, and then the next product, whose inputs go, too. `remove_units` takes the weakest out of a copy of
the model; no kernel need know of zeros, so time falls with the size.

Method: Li et al., "Pruning Filters for Efficient ConvNets", 2017; norms are those of the filter with its
batch norm folded in, which batch norm's own scale decides as well (Liu et al., "Network Slimming", 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..acceleration import flat_layers
from ..activations import ELU, GELU, LeakyReLU, ReLU, SiLU, Tanh
from ..layers import Dropout, Flatten, Layer, Linear, Module, Sequential
from ..pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, GlobalAvgPool2d, GlobalMaxPool2d
from ..replacing import copy_model
from ..spatial import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from ..tensor import Tensor
from ..transformers import MLP
from .masks import check_sparsity, checked_layers, smallest

Array = np.ndarray

# What a channel of zeros passes through and stays zero: then it can go without a trace.
KEEPS_ZERO = (
    ReLU, GELU, Tanh, LeakyReLU, ELU, SiLU, Dropout, Flatten, MaxPool2d, AvgPool2d,
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, GlobalAvgPool2d, GlobalMaxPool2d,
)  # fmt: skip


@dataclass(frozen=True)
class Link:
    """A product whose units can go, and where they are felt.

    Attributes
    ----------
    producer : Linear or Conv2d whose outputs go
    norm : the batch norm behind it, or None
    consumer : Linear or Conv2d that reads them
    spread : how many of the consumer's inputs come from one unit; more than 1 behind a Flatten
    """

    producer: Linear | Conv2d
    norm: BatchNorm2d | None
    consumer: Linear | Conv2d
    spread: int

    @property
    def units(self) -> int:
        return _outputs(self.producer)

    def strengths(self) -> Array:
        """The L2 norm of what makes each unit, (units,), batch norm folded in."""
        weight = self.producer.weight.data
        rows = weight.T if isinstance(self.producer, Linear) else weight.reshape(len(weight), -1)
        norms = np.linalg.norm(rows, axis=1)
        if self.norm is not None and self.norm.running_var is not None:
            norms = norms / np.sqrt(self.norm.running_var + self.norm.eps)
        return norms if self.norm is None or self.norm.gamma is None else norms * np.abs(self.norm.gamma.data)

    def zero(self, removed: Array) -> None:
        """Silence units, (units,) bool, without removing them."""
        for tensor, axis in self._made_of():
            np.moveaxis(tensor.data, axis, 0)[removed] = 0
        if self.norm is not None and self.norm.running_mean is not None:
            self.norm.running_mean[removed] = 0  # else a norm without a scale would bring it back

    def keep(self, kept: Array) -> None:
        """Remove all other units: the layers are smaller afterwards."""
        for tensor, axis in self._made_of():
            tensor.data = np.compress(kept, tensor.data, axis)
        inputs = 0 if isinstance(self.consumer, Linear) else 1
        self.consumer.weight.data = np.compress(
            np.repeat(kept, self.spread), self.consumer.weight.data, inputs
        )
        if self.norm is not None:
            self.norm.num_features = int(kept.sum())
            for name, buffer in list(self.norm.named_buffers()):
                if np.ndim(buffer):
                    setattr(self.norm, name, buffer[kept])
        _tell_sizes(self.producer)
        _tell_sizes(self.consumer)

    def _made_of(self) -> Iterator[tuple[Tensor, int]]:
        """The tensors with an entry for each unit, and the axis it is along."""
        yield self.producer.weight, 1 if isinstance(self.producer, Linear) else 0
        others = [self.producer.bias]
        if self.norm is not None:
            others += [self.norm.gamma, self.norm.beta]
        yield from ((tensor, 0) for tensor in others if tensor is not None)


def _outputs(layer: Linear | Conv2d) -> int:
    return layer.weight.shape[1 if isinstance(layer, Linear) else 0]


def _inputs(layer: Linear | Conv2d) -> int:
    return layer.weight.shape[0 if isinstance(layer, Linear) else 1]


def _tell_sizes(layer: Linear | Conv2d) -> None:
    """Let a layer's own words for its sizes be true again."""
    if isinstance(layer, Linear):
        layer.in_features, layer.out_features = layer.weight.shape
    else:
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]


# --- which units there are ----------------------------------------------------------------------------------


def chains(model: Any) -> Iterator[list[Layer]]:
    """Runs of layers applied one after the other, each with nothing else reading what is between them."""
    if isinstance(model, Sequential) or hasattr(model, "layers"):
        chain = list(flat_layers(model))
        yield chain
        inside = [layer for layer in chain if isinstance(layer, Module)]
    elif isinstance(model, MLP):
        yield [model.linear1, model.gelu, model.linear2]
        return
    else:
        inside = [child for _, child in model.named_children()] if isinstance(model, Module) else []
    for layer in inside:
        yield from chains(layer)


def links(model: Any) -> list[Link]:
    """The places of a model where units can go, in its order."""
    return [link for chain in chains(model) for link in _links_of(chain)]


def _links_of(chain: list[Layer]) -> Iterator[Link]:
    producer: Linear | Conv2d | None = None
    norm: BatchNorm2d | None = None
    for layer in chain:
        if isinstance(layer, Linear | Conv2d):
            alone = getattr(layer, "groups", 1) == 1 and chain.count(layer) == 1
            if producer is not None and alone:
                yield Link(producer, norm, layer, _inputs(layer) // _outputs(producer))
            producer, norm = layer if alone else None, None
        elif isinstance(layer, BatchNorm2d) and norm is None:
            norm = layer
            if producer is not None and norm.num_features != _outputs(producer):
                producer = None
        elif not isinstance(layer, KEEPS_ZERO):
            producer = None  # a unit of zeros would not stay one


# --- removing them ------------------------------------------------------------------------------------------


def weakest_units(model: Any, ratio: float) -> list[Array]:
    """For each of `links`, which units to remove (True): the share `ratio` of it, those of least norm.

    Raises
    ------
    ValueError
        Where there are no units to remove, or none would be left.
    """
    check_sparsity("remove_units", ratio)
    checked_layers("remove_units", model)
    found = links(model)
    if not found:
        raise ValueError(
            f"remove_units: {type(model).__name__} has no two Linear or Conv2d layers that follow each "
            "other. The outputs of its last layer are the answer and stay, convolutions in groups are left "
            "alone, and so is a layer whose activation makes something of 0, as Sigmoid does"
        )
    removed = []
    for link in found:
        count = round(ratio * link.units)
        if count == link.units:
            raise ValueError(
                f"remove_units: a ratio of {ratio:g} would leave none of the {link.units} units of "
                f"{link.producer!r}, and nothing would reach what follows. "
                f"At most {(link.units - 1) / link.units:.3g} here"
            )
        removed.append(smallest(link.strengths(), count))
    return removed


def zero_units(model: Any, ratio: float) -> list[Array]:
    """Silence the weakest units in place, their weights, biases and batch norm; returns which, as `links`."""
    removed = weakest_units(model, ratio)
    for link, gone in zip(links(model), removed, strict=True):
        link.zero(gone)
    return removed


def remove_units(model: Any, ratio: float) -> Any:
    """A copy of the model without the share `ratio` of each hidden layer's units, the weakest.

    It computes what the model computes when those units are silenced (`zero_units`), and is smaller in every
    respect. Train it on like any other model.

    Parameters
    ----------
    model
        A `Sequential` or another model with `layers`; or one with such parts inside. In a GPT, it is the
        hidden units of each block's MLP that go.
    ratio : float
        0 to below 1.
    """
    removed = weakest_units(model, ratio)
    smaller = copy_model("remove_units", model)
    for link, gone in zip(links(smaller), removed, strict=True):
        link.keep(~gone)
    for parameter in smaller.parameters():
        parameter.grad = None
    return smaller
