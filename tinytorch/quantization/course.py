"""The course's functions: a tensor in INT8, a model described, sizes compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.acceleration import flat_layers
from tinytorch.layers import Layer
from tinytorch.tensor import MB_TO_BYTES, Tensor

from .observers import MinMaxObserver
from .scales import EPSILON


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
