"""The stages of a model in INT8: integers in, integers out.

Each holds its integers and scales and nothing else; a stage whose `output` is None ends the integer part and
gives float32. Products are int8 · uint8, summed exactly in int32; each sum is scaled once, by one float32
multiplication, so every CPU gives the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import Convolution, Dense, Pooling, Stage, Weighted, run_stages

from .observers import MinMaxObserver, quantize_weight
from .scales import Array, Scale


@dataclass(frozen=True)
class Quantize:
    """Floats in, integers out: the entrance of a quantized model."""

    output: Scale
    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return self.output.quantize(x)


@dataclass(frozen=True)
class Dequantize:
    """Integers in, floats out: the exit, where the last stage cannot give floats itself."""

    input: Scale
    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return self.input.dequantize(x)


@dataclass(frozen=True)
class ConvolutionInt8(Weighted):
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
class DenseInt8(Weighted):
    """Integers in, integers out; float32 out where `output` is None. bias: float32, one for each column."""

    weight: kernels.PackedInt8
    bias: Array | None
    activation: str | None
    input: Scale
    output: Scale | None

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
class ResidualInt8:
    """activation(main(x) + shortcut(x)): two arrays of integers with different scales, added as integers."""

    main: tuple[Stage, ...]
    shortcut: tuple[Stage, ...]
    main_scale: Scale
    shortcut_scale: Scale
    activation: str | None
    output: Scale

    @property
    def nbytes(self) -> int:
        return sum(stage.nbytes for stage in (*self.main, *self.shortcut))

    def __call__(self, x: Array) -> Array:
        a, b = run_stages(self.main, x), run_stages(self.shortcut, x)
        return kernels.add_int8(
            a, self.main_scale.scale, self.main_scale.zero_point,
            b, self.shortcut_scale.scale, self.shortcut_scale.zero_point,
            activation=self.activation, **_output_arguments(self.output),
        )  # fmt: skip


@dataclass(frozen=True)
class GlobalAverageInt8:
    """The mean of each channel: the exact sum of its integers, scaled once."""

    input: Scale
    output: Scale
    input_layout: str = "NCHW"
    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        axes = (2, 3) if self.input_layout == "NCHW" else (1, 2)
        count = x.shape[axes[0]] * x.shape[axes[1]]
        sums = x.sum(axis=axes, dtype=np.int32) - np.int32(count * self.input.zero_point)
        means = sums.astype(np.float32) * np.float32(self.input.scale / count)
        return self.output.quantize(means)[:, :, None, None]


@dataclass(frozen=True)
class TableInt8:
    """Any function of one number: an 8-bit input has 256 values, so all answers fit in a table."""

    table: Array  # uint8 (256,)

    @classmethod
    def of(cls, stage: Stage, input: Scale, output: Scale) -> TableInt8:
        every_integer = np.arange(256, dtype=np.uint8)
        return cls(output.quantize(stage(input.dequantize(every_integer))))

    @property
    def nbytes(self) -> int:
        return self.table.nbytes

    def __call__(self, x: Array) -> Array:
        return self.table.take(x)


@dataclass(frozen=True)
class ToPlanes:
    """(N, H, W, C) to (N, C, H, W), for a stage that reads no other order."""

    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


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


@dataclass(frozen=True)
class DenseDynamic(Weighted):
    """Float32 in and out, integers between: each row of the input brings its own scale."""

    weight: kernels.PackedInt8
    bias: Array | None
    activation: str | None = None

    def __call__(self, x: Array) -> Array:
        return kernels.linear_int8_dynamic(x, self.weight, self.bias, activation=self.activation)


@dataclass(frozen=True)
class ConvolutionDynamic(Weighted):
    """Float32 in and out, integers between: the scale is that of the images at hand, all together."""

    weight: kernels.PackedInt8
    bias: Array | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: str | None

    def __call__(self, x: Array) -> Array:
        observer = MinMaxObserver()
        observer.observe(x)
        scale = observer.scale()
        return kernels.conv2d_int8(
            scale.quantize(x), scale.scale, scale.zero_point, self.weight, self.bias,
            stride=self.stride, padding=self.padding, activation=self.activation,
        )  # fmt: skip


def pack_weight(stage: Convolution | Dense, per_channel: bool = True, **options: Any) -> kernels.PackedInt8:
    """The stage's weights in INT8, symmetric, with a scale for each output or one for all."""
    axis = 0 if isinstance(stage, Convolution) else 1
    q, scale = quantize_weight(np.asarray(stage.weight), axis if per_channel else None, **options)
    return kernels.pack_int8(q, scale)


def _output_arguments(output: Scale | None) -> dict[str, Any]:
    if output is None:
        return {}
    return {"out_scale": output.scale, "out_zero_point": output.zero_point, "out_dtype": output.dtype}
