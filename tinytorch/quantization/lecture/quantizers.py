"""Arrays, a convolution and a whole model to INT8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import Convolution
from tinytorch.quantization.convert import quantize
from tinytorch.quantization.observers import MinMaxObserver, quantize_weight
from tinytorch.quantization.scales import Array, Scale
from tinytorch.quantization.stages import ConvolutionDynamic
from tinytorch.spatial import Conv2d

from .models import ImageClassifier, QuantizedRealisticCNN, check_float_model, float_bytes, print_bytes


class INT8Quantizer:
    """Arrays to int8 and back: x ≈ scale · (q - zero_point)."""

    def compute_quantization_params(self, tensor: Array, symmetric: bool = True) -> tuple[float, int]:
        """scale and zero_point that cover the array.

        Symmetric: ``max|x| / 127`` and 0. Otherwise all 256 integers, of which one stands for 0 exactly.
        """
        observer = MinMaxObserver(symmetric=symmetric)
        observer.observe(np.asarray(tensor, np.float32))
        found = observer.scale("int8")
        return found.scale, found.zero_point

    def quantize_tensor(self, tensor: Array, scale: float, zero_point: int) -> Array:
        """round(x / scale) + zero_point in int8, of the array's shape; what lies outside is clipped."""
        return Scale(scale, zero_point, "int8").quantize(np.asarray(tensor, np.float32))

    def dequantize_tensor(self, quantized_tensor: Array, scale: float, zero_point: int) -> Array:
        """scale · (q - zero_point), float32."""
        return Scale(scale, zero_point, "int8").dequantize(quantized_tensor)

    def quantize_weights(self, weights: Array, calibration_data: Any = None) -> dict[str, Any]:
        """Symmetric int8 weights with one scale; calibration data are not needed for weights.

        Returns
        -------
        dict
            ``quantized_weights`` (int8), ``scale``, ``zero_point``, ``quantization_error`` (mean absolute),
            ``compression_ratio`` against float32, ``original_shape``.
        """
        weights = np.asarray(weights, np.float32)
        q, scale = quantize_weight(weights, None)
        error = float(np.abs(weights - self.dequantize_tensor(q, float(scale[0]), 0)).mean())
        print(f"weights {weights.shape}: scale {scale[0]:.4g}, mean error {error:.4g}")
        return {
            "quantized_weights": q,
            "scale": float(scale[0]),
            "zero_point": 0,
            "quantization_error": error,
            "compression_ratio": weights.nbytes / q.nbytes,
            "original_shape": weights.shape,
        }


class QuantizedConv2d:
    """A convolution without padding: float32 at first, int8 · uint8 products after `quantize_weights`.

    Attributes
    ----------
    weight_fp32 : float32 array (out_channels, in_channels, kernel_size, kernel_size), or None
        None once quantized.
    weight_quantized : int8 array of that shape, or None
    weight_scale, weight_zero_point
    bias : float32 array (out_channels,)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        layer = Conv2d(in_channels, out_channels, kernel_size)
        self.weight_fp32: Array | None = layer.weight.data
        self.bias = np.zeros(out_channels, np.float32)
        self.weight_quantized: Array | None = None
        self.weight_scale: float | None = None
        self.weight_zero_point: int | None = None
        self._packed: kernels.PackedInt8 | None = None

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are INT8."""
        return self._packed is not None

    def quantize_weights(self, quantizer: INT8Quantizer) -> None:
        """Make the weights int8, and drop those in float32."""
        if self.weight_fp32 is None:
            raise ValueError("QuantizedConv2d: quantized already, its float32 weights are gone")
        result = quantizer.quantize_weights(self.weight_fp32)
        self.weight_quantized, self.weight_scale = result["quantized_weights"], result["scale"]
        self.weight_zero_point, self.weight_fp32 = result["zero_point"], None
        scales = np.full(self.out_channels, self.weight_scale, np.float32)
        self._packed = kernels.pack_int8(self.weight_quantized, scales)

    def forward(self, x: Array) -> Array:
        """(N, in_channels, H, W) to float32 (N, out_channels, H - kernel_size + 1, W - kernel_size + 1)."""
        x = np.asarray(x, np.float32)
        if self._packed is not None:
            return ConvolutionDynamic(self._packed, self.bias, (1, 1), (0, 0), None)(x)
        assert self.weight_fp32 is not None
        return Convolution(self.weight_fp32, self.bias, (1, 1), (0, 0))(x)

    __call__ = forward


class ProperINT8Quantizer:
    """A float model to INT8, after training."""

    def calibrate_and_quantize_model(
        self, model: ImageClassifier, calibration_data: Array | Iterable[Array]
    ) -> QuantizedRealisticCNN:
        """The model in INT8 from its first layer to its logits.

        Parameters
        ----------
        model : RealisticCNN
            Not changed. One scale for each output channel of its weights.
        calibration_data : array (N, C, 32, 32) or a list of them
            Images like those to come: they set the scales of what lies between the layers.
        """
        check_float_model("calibrate_and_quantize_model", model)
        quantized = QuantizedRealisticCNN(model.input_channels, model.num_classes)
        quantized.inference = quantize(model, calibration_data, activations="static")
        print_bytes(float_bytes(model), quantized.nbytes)
        return quantized

    def _quantize_weights(self, weights: Array, layer_name: str) -> tuple[Array, float]:
        """int8 weights and their one scale, max|w| / 127."""
        print(layer_name, end=" ")
        result = INT8Quantizer().quantize_weights(weights)
        return result["quantized_weights"], result["scale"]
