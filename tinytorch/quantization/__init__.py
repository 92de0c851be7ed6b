"""Module 17: a trained model in 8-bit integers, from its input to its logits.

A float x stands as an integer q with x ≈ scale · (q - zero_point). Weights are symmetric (zero_point 0), with
one scale for each output channel; activations are asymmetric uint8, with one scale for each layer, found by
running a few samples through the float model (calibration) or from each input itself (dynamic). `quantize`
keeps every value an integer between layers where it can: products are int8 · uint8 summed in int32, and each
sum is scaled once to the next layer's uint8.

- `scales.py`, `observers.py`: which integers stand for which numbers.
- `stages.py`: each layer on integers. `static.py`, `convert.py`: from a float model to them.
- `weights.py`: INT4 weights, and the naive way. `layers.py`: a quantized layer in a Linear's place.
- `training.py`: training with the rounding in the loop. `sensitivity.py`: which layer suffers.
- `storage.py`: files. `course.py`: the course's functions. `lecture/`: its models on arrays.

Method: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", 2018.
"""

from tinytorch.tensor import BYTES_PER_FLOAT32, MB_TO_BYTES

from .convert import quantize
from .course import (
    Quantizer,
    compare_model_sizes,
    dequantize_int8,
    quantize_int8,
    quantize_model,
)
from .layers import QuantizedLinear
from .lecture import (
    BaselineCNN,
    EfficientCNN,
    INT8Quantizer,
    ProperINT8Quantizer,
    QuantizationPerformanceAnalyzer,
    QuantizedCNN,
    QuantizedConv2d,
    QuantizedEfficientCNN,
    QuantizedRealisticCNN,
    RealisticCNN,
    analyze_quantization_scaling,
    test_proper_quantization_performance,
)
from .observers import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    MSEObserver,
    PercentileObserver,
    quantize_weight,
)
from .scales import BYTES_PER_INT8, EPSILON, INT8_MAX_VALUE, INT8_MIN_VALUE, INT8_RANGE, Scale
from .sensitivity import LayerSensitivity, RoundingErrors, rounding_errors, sensitivity
from .stages import ConvolutionInt8, DenseDynamic, DenseInt8, InFloat, Quantize, ResidualInt8
from .static import quantize_stage
from .storage import load_quantized, save_quantized
from .training import FakeQuantize, convert, fake_quantize, prepare_qat
from .weights import (
    ConvolutionInt4,
    DenseInt4,
    Dequantized,
    image_patches,
    quantize_int4,
    quantize_naive,
)

__all__ = [
    "BYTES_PER_FLOAT32",
    "BYTES_PER_INT8",
    "EPSILON",
    "INT8_MAX_VALUE",
    "INT8_MIN_VALUE",
    "INT8_RANGE",
    "MB_TO_BYTES",
    "BaselineCNN",
    "ConvolutionInt4",
    "ConvolutionInt8",
    "DenseDynamic",
    "DenseInt4",
    "DenseInt8",
    "Dequantized",
    "EfficientCNN",
    "FakeQuantize",
    "HistogramObserver",
    "INT8Quantizer",
    "InFloat",
    "LayerSensitivity",
    "MSEObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "PercentileObserver",
    "ProperINT8Quantizer",
    "QuantizationPerformanceAnalyzer",
    "Quantize",
    "QuantizedCNN",
    "QuantizedConv2d",
    "QuantizedEfficientCNN",
    "QuantizedLinear",
    "QuantizedRealisticCNN",
    "Quantizer",
    "RealisticCNN",
    "ResidualInt8",
    "RoundingErrors",
    "Scale",
    "analyze_quantization_scaling",
    "compare_model_sizes",
    "convert",
    "dequantize_int8",
    "fake_quantize",
    "image_patches",
    "load_quantized",
    "prepare_qat",
    "quantize",
    "quantize_int4",
    "quantize_int8",
    "quantize_model",
    "quantize_naive",
    "quantize_stage",
    "quantize_weight",
    "rounding_errors",
    "save_quantized",
    "sensitivity",
    "test_proper_quantization_performance",
]
