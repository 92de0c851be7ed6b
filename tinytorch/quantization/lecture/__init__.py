"""The lecture's image models and quantizers: plain arrays in and out, INT8 in the kernels underneath."""

from .measuring import (
    QuantizationPerformanceAnalyzer,
    analyze_quantization_scaling,
    test_proper_quantization_performance,
)
from .models import (
    BaselineCNN,
    EfficientCNN,
    ImageClassifier,
    QuantizedCNN,
    QuantizedEfficientCNN,
    QuantizedRealisticCNN,
    RealisticCNN,
)
from .quantizers import INT8Quantizer, ProperINT8Quantizer, QuantizedConv2d

__all__ = [
    "BaselineCNN",
    "EfficientCNN",
    "INT8Quantizer",
    "ImageClassifier",
    "ProperINT8Quantizer",
    "QuantizationPerformanceAnalyzer",
    "QuantizedCNN",
    "QuantizedConv2d",
    "QuantizedEfficientCNN",
    "QuantizedRealisticCNN",
    "RealisticCNN",
    "analyze_quantization_scaling",
    "test_proper_quantization_performance",
]
