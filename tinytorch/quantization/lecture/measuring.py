"""What INT8 gains and costs, measured against the float model at its fastest, which `optimize` makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import _text, timing
from tinytorch.acceleration import optimize
from tinytorch.quantization.scales import Array
from tinytorch.tensor import KB_TO_BYTES

from .models import (
    IMAGE_SIDE,
    ImageClassifier,
    RealisticCNN,
    as_images,
    check_float_model,
    float_bytes,
)
from .quantizers import ProperINT8Quantizer

# Channels of the convolutions, features between the Linear layers.
SCALING = {
    "small": ((16, 32), 128), "medium": ((32, 64, 128), 256), "large": ((64, 128, 256), 512),
}  # fmt: skip


class QuantizationPerformanceAnalyzer:
    """Measures a float model against its quantized one.

    Attributes
    ----------
    results : dict
        The last `benchmark_models`'.
    """

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}

    def benchmark_models(
        self, baseline_model: ImageClassifier, quantized_model: Any, test_data: Array, num_runs: int = 10
    ) -> dict[str, Any]:
        """Race the two, in turns, `num_runs` times each; the float model packed and fused by `optimize`.

        Parameters
        ----------
        baseline_model : BaselineCNN
        quantized_model : QuantizedCNN
            Made of the same weights, or agreement means nothing.
        test_data : array (N, C, 32, 32)

        Returns
        -------
        dict
            ``memory_baseline_kb``, ``memory_quantized_kb``, ``memory_reduction``, ``speed_baseline_ms`` and
            ``speed_quantized_ms`` (medians), ``speedup``, ``speedup_interval``, ``verdict``,
            ``output_difference`` (mean absolute), ``output_mse``, ``prediction_agreement``, ``batch_size``.
        """
        check_float_model("benchmark_models", baseline_model)
        if num_runs < 2:
            raise ValueError(f"benchmark_models: num_runs must be at least 2, got {num_runs}")
        images = as_images(test_data, baseline_model.input_channels, "benchmark_models")
        if len(images) == 0:
            raise ValueError("benchmark_models: test_data holds no images")
        fastest = optimize(baseline_model)
        race = timing.race(
            lambda: fastest(images), lambda: quantized_model.forward(images), names=("float32", "INT8"),
            rounds=num_runs, compare=False,
        )  # fmt: skip
        expected, given = fastest(images), quantized_model.forward(images)
        before, after = float_bytes(baseline_model), quantized_model.nbytes
        milliseconds = [1e3 * float(np.median(seconds)) for seconds in race.seconds]
        self.results = {
            "memory_baseline_kb": before / KB_TO_BYTES,
            "memory_quantized_kb": after / KB_TO_BYTES,
            "memory_reduction": before / after,
            "speed_baseline_ms": milliseconds[0],
            "speed_quantized_ms": milliseconds[1],
            "speedup": race.ratio.value,
            "speedup_interval": [race.ratio.low, race.ratio.high],
            "verdict": race.verdict,
            "output_difference": float(np.abs(expected - given).mean()),
            "output_mse": float(np.square(expected - given).mean()),
            "prediction_agreement": float((expected.argmax(axis=1) == given.argmax(axis=1)).mean()),
            "batch_size": len(images),
        }
        rows = [
            (name, f"{size / KB_TO_BYTES:.1f}", f"{time:.3g}")
            for name, size, time in zip(race.names, (before, after), milliseconds, strict=True)
        ]
        print(_text.table(("", "KB", "ms, measured"), rows))
        print(
            f"{race.ratio.value:.2f}× as fast, same class for "
            f"{100 * self.results['prediction_agreement']:.1f} % of {len(images)} images"
        )
        return self.results


def test_proper_quantization_performance() -> dict[str, float]:
    """Race `RealisticCNN` against itself in INT8 on 32 random images, ten rounds, and print the result.

    Returns
    -------
    dict
        ``speedup``, ``memory`` (how many times fewer bytes; also as ``memory_reduction``),
        ``prediction_agreement`` (share of images), ``output_mse``.
    """
    found = _race_quantized(RealisticCNN())
    keys = ("speedup", "memory_reduction", "prediction_agreement", "output_mse")
    return {"memory": found["memory_reduction"], **{key: found[key] for key in keys}}


# The name is the lecture's; pytest is not to take it for a test of whoever imports it.
test_proper_quantization_performance.__test__ = False  # type: ignore[attr-defined]


def analyze_quantization_scaling() -> list[dict[str, Any]]:
    """What INT8 gains for a small, a medium and a large network, measured; printed, too.

    Returns
    -------
    list of dict
        ``model``, ``parameters`` and the keys of `QuantizationPerformanceAnalyzer.benchmark_models`.
    """
    found = []
    for name, (channels, hidden) in SCALING.items():
        sizes = (3,) * len(channels)
        model = ImageClassifier(3, 10, channels, sizes, pools=len(channels), hidden=(hidden,))
        print(f"{name}: {model._count_parameters():,} parameters")
        measured = _race_quantized(model)
        found.append({"model": name, "parameters": model._count_parameters(), **measured})
    return found


def _race_quantized(model: ImageClassifier) -> dict[str, Any]:
    generator = np.random.default_rng(17)
    calibration, images = (
        generator.normal(0.5, 0.5, (n, 3, IMAGE_SIDE, IMAGE_SIDE)).astype(np.float32) for n in (100, 32)
    )
    quantized = ProperINT8Quantizer().calibrate_and_quantize_model(model, calibration)
    return QuantizationPerformanceAnalyzer().benchmark_models(model, quantized, images)
