"""Quantization-aware training: the rounding takes part in training, so that weights learn to live with it.

In the forward pass, weights and inputs of each layer are rounded to the numbers that integers can stand for
("fake" quantization: the values are rounded, the arithmetic is float32). Rounding has the derivative 0 almost
everywhere, so backward pretends that it was not there: the straight-through estimator hands the gradient on
where the value was not clipped, and stops it where it was.

    aware = prepare_qat(model, weight_bits=3)
    ...                                     # train `aware` as any model, at a small learning rate
    small = convert(aware, train_images[:256])

Batch norm needs no special care: with one scale for each output channel, folding multiplies a channel's
weights and its scale alike, and the integers stay what they were.

Source: B. Jacob et al., 2018, section 3; Y. Bengio et al., *Estimating or Propagating Gradients Through
Stochastic Neurons*, 2013 (straight-through estimator).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import InferenceModel, lower
from tinytorch.autograd import Function, no_grad, record
from tinytorch.layers import Linear, linear
from tinytorch.module import Module, Parameter
from tinytorch.replacing import copy_model
from tinytorch.spatial import Conv2d, conv2d
from tinytorch.tensor import Tensor

from .convert import Batches, batches_of, calibrating, is_chain, quantize
from .layers import QuantizedLinear, replace_modules
from .observers import MinMaxObserver, observer_type, quantize_weight
from .scales import Array, Scale, integer_limits
from .stages import pack_weight
from .static import quantize_stages

GROUP_SIZE = 32  # inputs that share a scale where weights have 4 bits


class StraightThroughBackward(Function):
    """Rounding, whose gradient is that of the identity where nothing was clipped"""

    def __init__(self, x: Tensor, inside: Array | None = None) -> None:
        super().__init__(x)
        self._inside = inside

    def backward(self, grad: Array) -> tuple[Array]:
        return (grad if self._inside is None else grad * self._inside,)


def fake_quantize(x: Tensor, scale: Scale) -> Tensor:
    """x rounded to what the integers of a scale can stand for; the gradient goes straight through.

    Parameters
    ----------
    x : Tensor
    scale : Scale

    Returns
    -------
    Tensor, like x
    """
    lowest, highest = (
        (np.float32(q) - np.float32(scale.zero_point)) * np.float32(scale.scale)
        for q in integer_limits(scale.dtype, scale.bits)
    )
    inside = (x.data >= lowest) & (x.data <= highest)
    return record(scale.round(x.data), StraightThroughBackward, x, None if inside.all() else inside)


class FakeQuantize(Module):
    """Rounds what passes, by a scale that follows the batches while training and stands still in eval mode.

    Parameters
    ----------
    bits : int
    observer : MinMaxObserver
    """

    def __init__(self, bits: int, observer: MinMaxObserver) -> None:
        self.bits, self.observer = bits, observer

    def forward(self, x: Tensor) -> Tensor:
        """x to a Tensor of its shape."""
        if self.training:
            self.observer.observe(x.data)
        return fake_quantize(x, self.observer.scale(bits=self.bits))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, {type(self.observer).__name__}"


@dataclass(frozen=True)
class WeightRounding:
    """How weights are rounded: so many bits, with a scale for each output, or for each group of inputs."""

    bits: int
    in_groups: bool

    def __call__(self, weight: Tensor, out_axis: int) -> Tensor:
        """The rounded weight; its largest values set the scales, so nothing is clipped."""
        w = weight.data
        if self.in_groups:
            matrix = w if out_axis == 1 else np.ascontiguousarray(w.reshape(len(w), -1).T)
            rounded = kernels.pack_int4(matrix, GROUP_SIZE).unpack()
            rounded = rounded if out_axis == 1 else np.ascontiguousarray(rounded.T).reshape(w.shape)
        else:
            q, scale = quantize_weight(w, out_axis, bits=self.bits)
            rounded = kernels.dequantize(q, scale, np.zeros(len(scale), np.int32), axis=out_axis)
        return record(rounded, StraightThroughBackward, weight)


class QATLinear(Linear):
    """A Linear that rounds its input and its weight on every pass; it has the other layer's parameters."""

    def __init__(self, layer: Linear, rounding: WeightRounding, input_rounding: Module | None) -> None:
        vars(self).update(vars(layer))
        self.rounding, self.input_rounding = rounding, input_rounding

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in_features) → (…, out_features)"""
        x = x if self.input_rounding is None else self.input_rounding(x)
        return linear(x, self.rounding(self.weight, 1), self.bias)


class QATConv2d(Conv2d):
    """A Conv2d that rounds its input and its weight on every pass; it has the other layer's parameters."""

    def __init__(self, layer: Conv2d, rounding: WeightRounding, input_rounding: Module | None) -> None:
        vars(self).update(vars(layer))
        self.rounding, self.input_rounding = rounding, input_rounding

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, O, OH, OW)"""
        x = x if self.input_rounding is None else self.input_rounding(x)
        weight = self.rounding(self.weight, 0)
        return conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def aware_layer(
    layer: Module, weight_bits: int, activation_bits: int | None, observer: type[MinMaxObserver]
) -> QATLinear | QATConv2d | None:
    """A Linear or Conv2d with rounding in its forward pass; None for other layers."""
    if not isinstance(layer, Linear | Conv2d):
        return None
    rounding = WeightRounding(weight_bits, in_groups=weight_bits == 4)
    entrance = None if activation_bits is None else FakeQuantize(activation_bits, observer())
    made = QATLinear if isinstance(layer, Linear) else QATConv2d
    return made(layer, rounding, entrance)  # type: ignore[arg-type]


def prepare_qat(
    model: Module,
    *,
    weight_bits: int = 8,
    activation_bits: int | None = None,
    observer: str | type[MinMaxObserver] = "moving average",
) -> Any:
    """A copy of the model whose Linear and Conv2d layers round their weights and inputs as they train.

    Parameters
    ----------
    model : Module
        Best one that is trained already: it is then fine-tuned at a small learning rate.
    weight_bits : int
        2 to 8. Each output has a scale; with 4 bits each group of 32 inputs, as in `quantize_int4`.
    activation_bits : int, optional
        Of each layer's input; 8 unless given, and float32 with 4-bit weights, as in the converted model.
    observer : str or class
        How the inputs' scales follow from the batches.

    Raises
    ------
    ValueError
        The model is prepared or quantized already.
    TypeError
        It has no Linear or Conv2d.
    """
    integer_limits("int8", weight_bits)
    if not isinstance(model, Module) or any(
        isinstance(m, QATLinear | QATConv2d | QuantizedLinear) for m in model.modules()
    ):
        raise ValueError(
            "prepare_qat: this model is prepared or quantized already; give the float32 model it was made of"
        )
    if activation_bits is None and weight_bits != 4:
        activation_bits = 8
    make = partial(
        aware_layer,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        observer=observer_type(observer),
    )
    model = copy_model("prepare_qat", model)
    if not replace_modules(model, make):
        raise TypeError(f"prepare_qat: {type(model).__name__} has no Linear or Conv2d layer to round")
    return model


@no_grad()
def with_rounded_weights(model: Module) -> Any:
    """A copy of a prepared model with ordinary layers that hold the rounded weights.

    Training leaves many weights at the brink between two integers (M. Nagel et al., *Overcoming Oscillations
    in Quantization-Aware Training*, 2022). Rounded once more, with scales that batch norm has multiplied,
    they would fall to either side; the rounded ones lie in the middle and stay what they are.
    """

    def plain(module: Module) -> Module | None:
        if not isinstance(module, QATLinear | QATConv2d):
            return None
        layer: Any = Linear.__new__(Linear) if isinstance(module, Linear) else Conv2d.__new__(Conv2d)
        inside = ("rounding", "input_rounding")
        vars(layer).update({name: value for name, value in vars(module).items() if name not in inside})
        out_axis = 1 if isinstance(module, Linear) else 0
        layer.weight = Parameter(module.rounding(module.weight, out_axis).data)
        return layer

    model = copy_model("convert", model)
    if not replace_modules(model, plain):
        raise ValueError(
            f"convert: this {type(model).__name__} was not prepared; call prepare_qat before training, "
            "or quantize a model that was trained without rounding"
        )
    return model


def convert(model: Module, calibration: Batches | None = None, *, observer: Any = "minmax") -> Any:
    """The integer model of what `prepare_qat` prepared and training changed.

    Parameters
    ----------
    model : Module
        From `prepare_qat`.
    calibration : array (N, ...), or batches of them
        The scales between layers are measured once more, on the trained weights; 4-bit weights need none.
    observer : str or class
        As for `quantize`.

    Returns
    -------
    InferenceModel or Module
        As `quantize` gives it.
    """
    floats = with_rounded_weights(model)
    bits = next(m.rounding.bits for m in model.modules() if isinstance(m, QATLinear | QATConv2d))
    if bits == 4:
        return quantize(floats, weights="int4", group_size=GROUP_SIZE)
    if bits == 8:
        return quantize(floats, calibration, activations="static", observer=observer)
    if not is_chain(floats):
        raise TypeError(
            f"convert: {type(floats).__name__} is no chain of layers, which {bits}-bit weights need; "
            "train it with 4 or 8 bits"
        )
    with calibrating(floats):
        batches = batches_of(calibration, np.float32)
        pack = partial(pack_weight, bits=bits)
        return InferenceModel(quantize_stages(lower(floats), batches, observer_type(observer), pack))
