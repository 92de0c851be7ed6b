"""Weights in fewer bits, activations in float32: INT4 kernels, and the naive way.

`quantize_naive` stores INT8 too, but makes float32 weights of it on every call. It is here because so much
published code does that: it saves bytes, and cannot save time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import Convolution, Dense, InferenceModel, Stage, Weighted, lower, map_stages
from tinytorch.layers import Layer

from .observers import quantize_weight
from .scales import Array


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

    return InferenceModel(map_stages(naive, lower(model)))


@dataclass(frozen=True)
class DenseInt4(Weighted):
    """INT4 weights in groups along the inputs; float32 in and out."""

    weight: kernels.PackedInt4
    bias: Array | None
    activation: str | None

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

    return InferenceModel(map_stages(int4, lower(model)))
