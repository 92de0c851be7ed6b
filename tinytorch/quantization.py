"""Module 17: a trained model in 8-bit integers, from its input to its logits.

A float x stands as an integer q with x ≈ scale · (q - zero_point). Weights are symmetric (zero_point 0), with
one scale for each output channel; activations are asymmetric uint8, with one scale for each layer, found by
running a few samples through the float model (calibration). `quantize` keeps every value an integer between
layers: products are int8 · uint8 summed in int32, and each sum is scaled once to the next layer's uint8.
Images stay as the kernels read them, channels last, and pooling happens before sums leave the registers.

`quantize_naive` stores INT8 too, but makes float32 weights of it on every call. It is here because so much
published code does that: it saves bytes, and cannot save time.

Method: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import kernels
from .acceleration import (
    Convolution,
    Dense,
    Flattening,
    InferenceModel,
    Pointwise,
    Pooling,
    Stage,
    flat_layers,
    lower,
)
from .layers import Layer, Linear
from .tensor import BYTES_PER_FLOAT32, MB_TO_BYTES, Tensor

Array = np.ndarray

INT8_MIN_VALUE, INT8_MAX_VALUE, INT8_RANGE = -128, 127, 256
EPSILON = 1e-8
BYTES_PER_INT8 = 1

# --- scales ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """How integers stand for floats: x ≈ scale · (q - zero_point), q of `dtype`."""

    scale: float
    zero_point: int
    dtype: str = "uint8"

    @classmethod
    def of_range(cls, low: float, high: float, dtype: str = "uint8") -> Scale:
        """The finest scale that covers [low, high] and represents 0 exactly, so that padding stays 0."""
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(
                f"quantization: the range [{low}, {high}] is not finite; look for NaN or Inf in the data"
            )
        least = np.iinfo(dtype).min
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255
        if scale < np.finfo(np.float32).tiny:
            return cls(1.0, 0, dtype)
        return cls(scale, int(np.clip(round(least - low / scale), least, least + 255)), dtype)

    def quantize(self, x: Array) -> Array:
        return kernels.quantize(x, self.scale, self.zero_point, dtype=self.dtype)

    def dequantize(self, q: Array) -> Array:
        return kernels.dequantize(q, self.scale, self.zero_point)


class MinMaxObserver:
    """Remembers the smallest and the largest value that passed, over any number of batches."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def observe(self, x: Array) -> None:
        if x.size:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def scale(self, dtype: str = "uint8") -> Scale:
        if self.low > self.high:
            raise ValueError("quantization: nothing was observed; calibrate with at least one sample")
        return Scale.of_range(self.low, self.high, dtype)


def quantize_weight(weight: Array, axis: int) -> tuple[Array, Array]:
    """int8 weights and one float32 scale for each index of `axis`: max |w| becomes 127, -128 stays unused."""
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    if not np.isfinite(weight).all():
        raise ValueError(
            "quantization: the weights hold NaN or Inf; train again with a smaller learning rate"
        )
    largest = np.abs(weight).max(axis=others, initial=0.0)
    scale = np.where(largest > 0, largest / INT8_MAX_VALUE, 1.0).astype(np.float32)
    return kernels.quantize(weight, scale, np.zeros(len(scale), np.int32), axis=axis % weight.ndim), scale


# --- INT8 from input to logits -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Quantize:
    """Floats in, integers out: the entrance of a quantized model."""

    output: Scale
    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return self.output.quantize(x)


@dataclass(frozen=True)
class ConvolutionInt8:
    """Integers in, integers out; float32 out where `output` is None. bias: float32, one for each channel."""

    weight: kernels.PackedInt8
    bias: Array | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: str | None
    input: Scale
    output: Scale | None
    max_pool: tuple[int, int] = (1, 1)
    input_layout: str = "NCHW"
    output_layout: str = "NCHW"

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: Array) -> Array:
        return kernels.conv2d_int8(
            x, self.input.scale, self.input.zero_point, self.weight, self.bias, stride=self.stride,
            padding=self.padding, activation=self.activation, max_pool=self.max_pool,
            x_layout=self.input_layout, out_layout=self.output_layout, **_output_arguments(self.output),
        )  # fmt: skip

    def joins(self, pooling: Pooling) -> bool:
        """Whether the kernel can pool like this: windows side by side, not too large, none yet."""
        side_by_side = pooling.stride == pooling.kernel_size and pooling.padding == (0, 0)
        area = pooling.kernel_size[0] * pooling.kernel_size[1]
        return side_by_side and area <= kernels.int8.MAX_POOLED and self.max_pool == (1, 1)


@dataclass(frozen=True)
class DenseInt8:
    """Integers in, integers out; float32 out where `output` is None. bias: float32, one for each column."""

    weight: kernels.PackedInt8
    bias: Array | None
    activation: str | None
    input: Scale
    output: Scale | None

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: Array) -> Array:
        return kernels.linear_int8(
            x, self.input.scale, self.input.zero_point, self.weight, self.bias,
            activation=self.activation, **_output_arguments(self.output),
        )  # fmt: skip

    def reading_channels_last(self, channels: int) -> DenseInt8:
        """The layer for inputs flattened from NHWC: rows of weights (c, h, w) in the order (h, w, c)."""
        w = self.weight.unpack()
        w = w.reshape(channels, -1, w.shape[1]).swapaxes(0, 1).reshape(w.shape)
        return replace(self, weight=kernels.pack_int8(w, self.weight.scale))


@dataclass(frozen=True)
class InFloat:
    """A stage that has no integer kernel: dequantize, compute, quantize again."""

    stage: Stage
    input: Scale
    output: Scale | None

    @property
    def nbytes(self) -> int:
        return self.stage.nbytes

    def __call__(self, x: Array) -> Array:
        y = self.stage(self.input.dequantize(x))
        return y if self.output is None else self.output.quantize(y)


def _output_arguments(output: Scale | None) -> dict[str, Any]:
    if output is None:
        return {}
    return {"out_scale": output.scale, "out_zero_point": output.zero_point, "out_dtype": output.dtype}


def quantize(model: Layer, calibration: Array | Tensor | Iterable[Array | Tensor]) -> InferenceModel:
    """The model in INT8 from input to logits (post-training quantization).

    Parameters
    ----------
    model : Layer
        A trained model that `acceleration.lower` can read.
    calibration : array (N, ...) or batches of them
        Samples like those the model will see, from the training set; a hundred are enough for most models.

    Returns
    -------
    InferenceModel
        Takes float32 input and gives float32 logits; all between is uint8. It holds no float32 weights.
    """
    stages = list(_split_gelu(lower(model)))
    observers = _observe(stages, calibration)
    scales = [observer.scale() for observer in observers]
    result: list[Stage] = [Quantize(scales[0])]
    held = scales[0]  # what the integers mean at this point
    for i, stage in enumerate(stages):
        last = i == len(stages) - 1
        # Moving or choosing among integers leaves their meaning as it is.
        output = None if last else held if _keeps_scale(stage) else scales[i + 1]
        result.append(quantize_stage(stage, held, output))
        held = output or held
    return InferenceModel(_fuse(result))


def _fuse(stages: list[Stage]) -> list[Stage]:
    """Max pooling joins the convolution before it, and what only convolutions and Dense see stays NHWC."""
    fused: list[Stage] = []
    for stage in stages:
        last = fused[-1] if fused else None
        before = fused[-2] if len(fused) > 1 else None
        if isinstance(last, ConvolutionInt8) and isinstance(stage, Pooling) and last.joins(stage):
            fused[-1] = replace(last, max_pool=stage.kernel_size)
            continue
        if isinstance(last, ConvolutionInt8) and isinstance(stage, ConvolutionInt8):
            fused[-1] = replace(last, output_layout="NHWC")
            stage = replace(stage, input_layout="NHWC")
        elif (
            isinstance(before, ConvolutionInt8)
            and isinstance(last, Flattening)
            and isinstance(stage, DenseInt8)
        ):
            fused[-2] = replace(before, output_layout="NHWC")
            stage = stage.reading_channels_last(before.weight.shape[0])
        fused.append(stage)
    return fused


def _split_gelu(stages: Iterable[Stage]) -> Iterable[Stage]:
    """GELU stands alone here: the integer kernels fuse ReLU only."""
    for stage in stages:
        if isinstance(stage, Convolution | Dense) and stage.activation == "gelu":
            yield replace(stage, activation=None)
            yield Pointwise("GELU", kernels.gelu)
        else:
            yield stage


def _observe(
    stages: list[Stage], calibration: Array | Tensor | Iterable[Array | Tensor]
) -> list[MinMaxObserver]:
    """One observer for the input and one for the output of each stage."""
    observers = [MinMaxObserver() for _ in range(len(stages) + 1)]
    for batch in [calibration] if isinstance(calibration, np.ndarray | Tensor) else calibration:
        x = batch.data if isinstance(batch, Tensor) else np.asarray(batch, dtype=np.float32)
        observers[0].observe(x)
        for stage, observer in zip(stages, observers[1:], strict=True):
            x = stage(x)
            observer.observe(x)
    return observers


def _keeps_scale(stage: Stage) -> bool:
    return isinstance(stage, Flattening) or (isinstance(stage, Pooling) and stage.kind == "max")


def quantize_stage(stage: Stage, input: Scale, output: Scale | None) -> Stage:
    """The integer form of a float stage, for an input and an output of these scales (None: float32 out)."""
    if isinstance(stage, Convolution):
        packed = kernels.pack_int8(*quantize_weight(np.asarray(stage.weight), axis=0))
        return ConvolutionInt8(
            packed, stage.bias, stage.stride, stage.padding, stage.activation, input, output
        )
    if isinstance(stage, Dense):
        packed = kernels.pack_int8(*quantize_weight(np.asarray(stage.weight), axis=1))
        return DenseInt8(packed, stage.bias, stage.activation, input, output)
    if output is not None and _keeps_scale(stage):
        return stage
    return InFloat(stage, input, output)


# --- the naive way, and INT4 -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dequantized:
    """INT8 weights at rest, float32 weights made of them on every call: fewer bytes, more work."""

    stage: Convolution | Dense
    weight: Array
    scale: Array
    axis: int

    @property
    def nbytes(self) -> int:
        bias = self.stage.bias
        return self.weight.nbytes + self.scale.nbytes + (0 if bias is None else bias.nbytes)

    def __call__(self, x: Array) -> Array:
        zero = np.zeros(len(self.scale), np.int32)
        weight = kernels.dequantize(self.weight, self.scale, zero, axis=self.axis)
        return replace(self.stage, weight=weight)(x)


def quantize_naive(model: Layer) -> InferenceModel:
    """The model with INT8 weights that are dequantized on every forward pass, then used in float32."""

    def naive(stage: Stage) -> Stage:
        if not isinstance(stage, Convolution | Dense):
            return stage
        axis = 0 if isinstance(stage, Convolution) else 1
        weight, scale = quantize_weight(np.asarray(stage.weight), axis)
        return Dequantized(replace(stage, weight=weight), weight, scale, axis)

    return InferenceModel([naive(stage) for stage in lower(model)])


@dataclass(frozen=True)
class DenseInt4:
    """INT4 weights in groups along the inputs; float32 in and out."""

    weight: kernels.PackedInt4
    bias: Array | None
    activation: str | None

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: Array) -> Array:
        y = kernels.linear_int4(x, self.weight, self.bias)
        if self.activation == "relu":
            return np.maximum(y, 0, out=y)
        return kernels.gelu(y) if self.activation == "gelu" else y


@dataclass(frozen=True)
class ConvolutionInt4:
    """A convolution as patches times INT4 weights."""

    dense: DenseInt4
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def nbytes(self) -> int:
        return self.dense.nbytes

    def __call__(self, x: Array) -> Array:
        patches = image_patches(x, self.kernel_size, self.stride, self.padding)
        return np.ascontiguousarray(self.dense(patches).transpose(0, 3, 1, 2))


def image_patches(
    x: Array, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Array:
    """x (N, C, H, W) as the patches that a convolution sees: (N, OH, OW, C · kh · kw)."""
    (ph, pw), (sh, sw) = padding, stride
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_size, axis=(2, 3))[:, :, ::sh, ::sw]
    n, c, oh, ow, kh, kw = windows.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, oh, ow, c * kh * kw)


def quantize_int4(model: Layer, group_size: int = 32) -> InferenceModel:
    """The model with 4-bit weights, one float16 scale for each group of inputs; activations stay float32."""

    def int4(stage: Stage) -> Stage:
        if isinstance(stage, Dense):
            return DenseInt4(
                kernels.pack_int4(np.asarray(stage.weight), group_size), stage.bias, stage.activation
            )
        if isinstance(stage, Convolution):
            weight = np.asarray(stage.weight)
            matrix = np.ascontiguousarray(weight.reshape(len(weight), -1).T)
            dense = DenseInt4(kernels.pack_int4(matrix, group_size), stage.bias, stage.activation)
            return ConvolutionInt4(dense, (weight.shape[2], weight.shape[3]), stage.stride, stage.padding)
        return stage

    return InferenceModel([int4(stage) for stage in lower(model)])


# --- the course's functions --------------------------------------------------------------------------------


def quantize_int8(tensor: Tensor) -> tuple[Tensor, float, int]:
    """q (int8), scale and zero_point of a whole tensor: x ≈ scale · (q - zero_point)."""
    x = tensor.data
    observer = MinMaxObserver()
    observer.observe(x)
    if x.size == 0 or observer.high - observer.low < EPSILON:
        return Tensor(np.zeros(x.shape, np.int8)), 1.0, 0
    scale = observer.scale("int8")
    return Tensor(scale.quantize(x)), scale.scale, scale.zero_point


def dequantize_int8(q: Tensor, scale: float, zero_point: int) -> Tensor:
    """scale · (q - zero_point), float32."""
    return Tensor((q.data.astype(np.float32) - zero_point) * np.float32(scale))


class QuantizedLinear:
    """A Linear layer whose weights and inputs are INT8 during the product.

    Until `calibrate` has seen data, the scale of the input is taken from each input itself.
    """

    def __init__(self, linear_layer: Linear) -> None:
        self.in_features, self.out_features = linear_layer.weight.shape
        q, scale = quantize_weight(linear_layer.weight.data, axis=1)
        self._packed = kernels.pack_int8(q, scale)
        self._bias = None if linear_layer.bias is None else linear_layer.bias.data.copy()
        self.weight_scale, self.weight_zero_point = scale, 0
        self.q_bias, self.bias_scale, self.bias_zero_point = None, None, None
        if linear_layer.bias is not None:
            self.q_bias, self.bias_scale, self.bias_zero_point = quantize_int8(linear_layer.bias)
        self.input_scale: float | None = None
        self.input_zero_point: int | None = None

    @property
    def q_weight(self) -> Tensor:
        """The int8 weights, (in, out), unpacked on request."""
        return Tensor(self._packed.unpack())

    def calibrate(self, sample_inputs: Iterable[Tensor]) -> None:
        observer = MinMaxObserver()
        for sample in sample_inputs:
            observer.observe(sample.data)
        scale = observer.scale()
        self.input_scale, self.input_zero_point = scale.scale, scale.zero_point

    def forward(self, x: Tensor) -> Tensor:
        if self.input_scale is None or self.input_zero_point is None:
            observer = MinMaxObserver()
            observer.observe(x.data)
            scale = observer.scale()
        else:
            scale = Scale(self.input_scale, self.input_zero_point)
        q = scale.quantize(x.data)
        return Tensor(kernels.linear_int8(q, scale.scale, scale.zero_point, self._packed, self._bias))

    __call__ = forward

    def parameters(self) -> list[Tensor]:
        return [self.q_weight] if self.q_bias is None else [self.q_weight, self.q_bias]

    def memory_usage(self) -> dict[str, float]:
        """Bytes of the float32 layer, bytes held here, and their ratio."""
        bias = 0 if self._bias is None else self._bias.nbytes
        original = self.in_features * self.out_features * BYTES_PER_FLOAT32 + bias
        held = self._packed.nbytes + bias
        return {"original_bytes": original, "quantized_bytes": held, "compression_ratio": original / held}


def quantize_model(model: Layer, calibration_data: Any = None) -> dict[str, Any]:
    """The course's dictionary: every parameter of `model.layers` in INT8, with its scale and the bytes saved.

    It describes; `quantize` builds the model that runs.
    """
    layers: dict[str, Any] = {}
    original = held = 0
    parameters = [p for layer in flat_layers(model) for p in layer.parameters()]
    for i, parameter in enumerate(parameters):
        q, scale, zero_point = quantize_int8(parameter)
        layers[f"param_{i}"] = {
            "quantized": q, "scale": scale, "zero_point": zero_point, "original_shape": parameter.shape,
        }  # fmt: skip
        original += parameter.data.nbytes
        held += q.data.nbytes
    return {
        "quantized_layers": layers,
        "original_size_mb": original / MB_TO_BYTES,
        "quantized_size_mb": held / MB_TO_BYTES,
        "compression_ratio": original / held if held else 1.0,
    }


def compare_model_sizes(original: Layer, quantized: dict[str, Any]) -> dict[str, float]:
    """Parameters and bytes of a model beside those of `quantize_model`'s result."""
    arrays = [p.data for p in original.parameters()]
    quantized_arrays = [entry["quantized"].data for entry in quantized["quantized_layers"].values()]
    original_bytes, quantized_bytes = sum(a.nbytes for a in arrays), sum(a.nbytes for a in quantized_arrays)
    saved = original_bytes - quantized_bytes
    return {
        "original_params": sum(a.size for a in arrays),
        "quantized_params": sum(a.size for a in quantized_arrays),
        "original_bytes": original_bytes,
        "quantized_bytes": quantized_bytes,
        "compression_ratio": original_bytes / quantized_bytes if quantized_bytes else 1.0,
        "memory_saved_mb": saved / MB_TO_BYTES,
        "memory_saved_percent": 100 * saved / original_bytes if original_bytes else 0.0,
    }


class Quantizer:
    """The functions above under one name."""

    quantize_tensor = staticmethod(quantize_int8)
    dequantize_tensor = staticmethod(dequantize_int8)
    quantize_model = staticmethod(quantize_model)
    compare_models = staticmethod(compare_model_sizes)
