"""The course's profiler: what a whole model needs, in one dict."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tinytorch import timing
from tinytorch.autograd.engine import no_grad
from tinytorch.module import Module
from tinytorch.profiling import rooflines
from tinytorch.profiling.counting import (
    example_input,
    gflops,
    layer_flops,
    parameter_bytes,
    run_watched,
    traced_peak,
)
from tinytorch.tensor import MB_TO_BYTES

OPTIMIZER_BUFFERS = {"sgd": 0, "adam": 2, "adamw": 2}  # arrays kept for each parameter


class Profiler:
    """Counts and measures what a model needs.

    Attributes
    ----------
    measurements : dict of the last results by name
    operation_counts : dict of layer name → operations in the last count
    memory_tracker : dict of the last memory measurement
    """

    def __init__(self) -> None:
        self.measurements: dict[str, Any] = {}
        self.operation_counts: dict[str, int] = {}
        self.memory_tracker: dict[str, float] = {}

    def count_parameters(self, model: Any) -> int:
        """How many numbers the model learns."""
        return sum(parameter.data.size for parameter in model.parameters())

    def count_flops(self, model: Module, input_shape: tuple[int, ...]) -> int:
        """Operations of one forward pass on an input of this shape, counted layer by layer as it runs."""
        self.operation_counts = {}
        for call in run_watched(model, example_input(model, input_shape)):
            flops = layer_flops(call)
            if flops:
                self.operation_counts[call.name] = self.operation_counts.get(call.name, 0) + flops
        return sum(self.operation_counts.values())

    def measure_memory(self, model: Module, input_shape: tuple[int, ...]) -> dict[str, float]:
        """Megabytes of parameters, of all layers' outputs, and at the peak of a forward pass."""
        x = example_input(model, input_shape)
        parameters = parameter_bytes(model)
        activations = sum(call.output.data.nbytes for call in run_watched(model, x))
        with no_grad():
            peak = parameters + traced_peak(lambda: model(x))
        self.memory_tracker = {
            "parameter_memory_mb": parameters / MB_TO_BYTES,
            "activation_memory_mb": activations / MB_TO_BYTES,
            "peak_memory_mb": peak / MB_TO_BYTES,
            "memory_efficiency": parameters / peak if peak else 1.0,
        }
        return self.memory_tracker

    def measure_latency(self, model: Any, x: Any, warmup: int = 10, iterations: int = 100) -> float:
        """Median milliseconds of a forward pass, without a graph."""
        if iterations < 1:
            raise ValueError(f"measure_latency: iterations must be at least 1, got {iterations}")
        seconds = []
        with no_grad():
            for _ in range(warmup):
                model.forward(x)
            for _ in range(iterations):
                start = time.perf_counter()
                model.forward(x)
                seconds.append(time.perf_counter() - start)
        latency = float(np.median(seconds)) * 1e3
        self.measurements["latency_ms"] = latency
        return latency

    def profile_layer(self, layer: Module, input_shape: tuple[int, ...]) -> dict[str, Any]:
        """Parameters, operations, time and memory of one layer."""
        flops = self.count_flops(layer, input_shape)
        latency = self.measure_latency(layer, example_input(layer, input_shape), 3, 20)
        return {
            "layer_type": type(layer).__name__,
            "parameters": self.count_parameters(layer),
            "flops": flops,
            "latency_ms": latency,
            "gflops_per_second": gflops(flops, latency),
            **self.measure_memory(layer, input_shape),
        }

    def profile_forward_pass(self, model: Module, x: Any) -> dict[str, Any]:
        """What a forward pass on `x` does and how close it comes to this machine's ceilings."""
        flops = self.count_flops(model, x.shape)
        memory = self.measure_memory(model, x.shape)
        latency = self.measure_latency(model, x, 3, 20)
        machine = timing.machine()
        peak, bandwidth = rooflines.ceilings(machine["level"], machine["threads"])
        moved = (memory["parameter_memory_mb"] + memory["activation_memory_mb"]) * MB_TO_BYTES + x.data.nbytes
        speed = gflops(flops, latency)
        memory_bound = flops / moved * bandwidth.value < peak.value
        return {
            "parameters": self.count_parameters(model),
            "flops": flops,
            "latency_ms": latency,
            **memory,
            "gflops_per_second": speed,
            "memory_bandwidth_mbs": moved / MB_TO_BYTES / (latency / 1e3),
            "computational_efficiency": speed / peak.value,
            "is_memory_bound": memory_bound,
            "is_compute_bound": not memory_bound,
            "bottleneck": "memory" if memory_bound else "compute",
        }

    def profile_backward_pass(self, model: Module, x: Any, _loss_fn: Any = None) -> dict[str, Any]:
        """What a forward and a backward pass take together; the loss is the outputs' sum unless one is
        given.
        """
        forward = self.profile_forward_pass(model, x)
        seconds = []
        for _ in range(10):
            output = model(x)
            loss = output.sum() if _loss_fn is None else _loss_fn(output)
            start = time.perf_counter()
            loss.backward()
            seconds.append(time.perf_counter() - start)
            model.zero_grad()
        latency = float(np.median(seconds)) * 1e3
        flops = 2 * forward["flops"]  # one product for the input's gradient, one for the weight's
        gradients = parameter_bytes(model) / MB_TO_BYTES
        total = forward["latency_ms"] + latency
        return {
            **{f"forward_{name}": forward[name] for name in ("flops", "latency_ms", "peak_memory_mb")},
            "forward_memory_mb": forward["peak_memory_mb"],
            "backward_flops": flops,
            "backward_latency_ms": latency,
            "gradient_memory_mb": gradients,
            "total_flops": forward["flops"] + flops,
            "total_latency_ms": total,
            "total_gflops_per_second": gflops(forward["flops"] + flops, total),
            "total_memory_mb": forward["peak_memory_mb"] + gradients,
            "optimizer_memory_estimates": {
                name: count * gradients for name, count in OPTIMIZER_BUFFERS.items()
            },
            "memory_efficiency": forward["memory_efficiency"],
            "bottleneck": "backward" if latency > forward["latency_ms"] else "forward",
        }


def quick_profile(model: Module, input_tensor: Any, profiler: Profiler | None = None) -> dict[str, Any]:
    """Print and return the profile of a forward pass."""
    profile = (profiler or Profiler()).profile_forward_pass(model, input_tensor)
    for name, value in profile.items():
        print(f"{name:<26} {value:,.4g}" if isinstance(value, float) else f"{name:<26} {value}")
    return profile


def analyze_weight_distribution(
    model: Any, percentiles: tuple[float, ...] = (10, 25, 50, 75, 90)
) -> dict[str, float]:
    """Statistics of all weights, the percentiles and counts of small ones by magnitude."""
    arrays = [parameter.data.ravel() for parameter in model.parameters()]
    if not arrays:
        return {}
    weights = np.concatenate(arrays)
    magnitudes = np.abs(weights)
    result: dict[str, float] = {"total_weights": weights.size}
    result |= {name: float(getattr(weights, name)()) for name in ("mean", "std", "min", "max")}
    result |= {f"percentile_{p}": float(np.percentile(magnitudes, p)) for p in percentiles}
    for label, limit in (("0001", 0.001), ("001", 0.01), ("01", 0.1)):
        result[f"below_threshold_{label}"] = float((magnitudes < limit).mean() * 100)
    return result
