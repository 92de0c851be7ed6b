"""A quantized layer in the place of a Linear, for models that are more than a chain of stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tinytorch import kernels
from tinytorch.acceleration import Dense, Stage, run_stages
from tinytorch.layers import Linear
from tinytorch.module import Module
from tinytorch.replacing import replace_layers
from tinytorch.tensor import BYTES_PER_FLOAT32, Tensor, from_numpy

from .course import quantize_int8
from .observers import MinMaxObserver
from .scales import Array, Scale
from .stages import DenseDynamic, DenseInt8, Quantize, pack_weight
from .weights import DenseInt4


class QuantizedLinear(Module):
    """Stands in for a Linear layer: float32 in and out, integers between.

    At first each row of the input brings its own scale (dynamic quantization). After `calibrate` one scale
    serves every input (static): less work, and what lies outside the calibrated range is clipped.

    Parameters
    ----------
    linear_layer : Linear
    weights : "int8" or "int4"
        int4: one scale for each group of inputs.
    group_size : int
        For int4.

    Attributes
    ----------
    stages : tuple of Stage
        What is computed.
    in_features, out_features : int
    """

    def __init__(self, linear_layer: Linear, weights: str = "int8", group_size: int = 32) -> None:
        if isinstance(linear_layer, QuantizedLinear):
            raise ValueError("QuantizedLinear: this layer is quantized already; give the float32 Linear")
        self.in_features, self.out_features = linear_layer.weight.shape
        bias = None if linear_layer.bias is None else linear_layer.bias.data.copy()
        self.stages: tuple[Stage, ...]
        if weights == "int4":
            packed = kernels.pack_int4(linear_layer.weight.data, group_size)
            self.stages = (DenseInt4(packed, bias, None),)
        else:
            self.stages = (DenseDynamic(pack_weight(Dense(linear_layer.weight.data, bias)), bias),)

    @classmethod
    def of_stages(cls, in_features: int, out_features: int, stages: tuple[Stage, ...]) -> QuantizedLinear:
        """A layer of what another's `stages` held."""
        layer = cls.__new__(cls)
        layer.in_features, layer.out_features, layer.stages = in_features, out_features, stages
        return layer

    def infer(self, x: Array) -> Array:
        """x (..., in_features), an array, to (..., out_features), without a graph."""
        return run_stages(self.stages, x)

    def weight_and_bias(self) -> tuple[kernels.PackedInt8, Array | None] | None:
        """What `kernels.decode_blocks` takes for this layer, or None where it computes otherwise."""
        match self.stages:
            case (DenseDynamic(weight, bias, None),):
                return weight, bias
        return None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) to (..., out_features); no gradient flows through integers."""
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"QuantizedLinear: the last axis of the input must have {self.in_features} features, "
                f"but its shape is {x.shape}"
            )
        return from_numpy(self.infer(x.data))

    def calibrate(
        self, sample_inputs: Iterable[Tensor | Array], observer: type[MinMaxObserver] = MinMaxObserver
    ) -> None:
        """Find one scale for the input from samples of it."""
        watcher = observer()
        for sample in sample_inputs:
            watcher.observe(sample.data if isinstance(sample, Tensor) else sample)
        self.use_input_scale(watcher.scale())

    def use_input_scale(self, scale: Scale) -> None:
        """Quantize every input by this scale."""
        product = self._product
        if isinstance(product, DenseInt4):
            raise ValueError("QuantizedLinear: INT4 weights take float32 inputs, which need no calibration")
        self.stages = Quantize(scale), DenseInt8(product.weight, product.bias, None, scale, None)

    @property
    def nbytes(self) -> int:
        """Bytes held: weights with their padding, scales, bias."""
        return sum(stage.nbytes for stage in self.stages)

    def memory_usage(self) -> dict[str, float]:
        """Bytes of the float32 layer, bytes held here, and their ratio."""
        bias = 0 if self._product.bias is None else self._product.bias.nbytes
        original = self.in_features * self.out_features * BYTES_PER_FLOAT32 + bias
        return {
            "original_bytes": original,
            "quantized_bytes": self.nbytes,
            "compression_ratio": original / self.nbytes,
        }

    def extra_repr(self) -> str:
        names = " → ".join(type(stage).__name__ for stage in self.stages)
        return f"in_features={self.in_features}, out_features={self.out_features}, {names}"

    @property
    def _product(self) -> Any:
        return self.stages[-1]

    # --- the course's names for the parts ---------------------------------------------------------

    @property
    def q_weight(self) -> Tensor:
        """The int8 weights (in, out), or what INT4 weights stand for, unpacked on request."""
        return Tensor(self._product.weight.unpack())

    @property
    def weight_scale(self) -> Array:
        """One scale for each output, float32 (out,)."""
        return self._product.weight.scale

    weight_zero_point = 0

    @property
    def input_scale(self) -> float | None:
        """The calibrated scale of the input, or None."""
        entrance = self.stages[0]
        return float(entrance.output.scale) if isinstance(entrance, Quantize) else None

    @property
    def input_zero_point(self) -> int | None:
        """The calibrated zero point of the input, or None."""
        entrance = self.stages[0]
        return int(entrance.output.zero_point) if isinstance(entrance, Quantize) else None

    @property
    def q_bias(self) -> Tensor | None:
        """The bias in int8. The products add it in float32: it is few bytes, and errors in it add up."""
        return self._quantized_bias()[0]

    @property
    def bias_scale(self) -> float | None:
        return self._quantized_bias()[1]

    @property
    def bias_zero_point(self) -> int | None:
        return self._quantized_bias()[2]

    def _quantized_bias(self) -> Any:
        bias = self._product.bias
        return (None, None, None) if bias is None else quantize_int8(Tensor(bias))

    def parameters(self) -> list[Tensor]:
        return [self.q_weight] if self.q_bias is None else [self.q_weight, self.q_bias]


def replace_modules(model: Module, make: Callable[[Module], Module | None]) -> int:
    """Put ``make(module)`` in the place of every module inside, where it is not None; how many there were."""
    others = {id(m): new for m in model.modules() if m is not model and (new := make(m)) is not None}
    replace_layers(model, others)
    return len(others)
