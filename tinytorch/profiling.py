"""Module 14: profiling. Where a model's time and memory go, and how close it comes to what the machine can
do.

Everything is measured on the model as it runs: layers are watched while it computes, never guessed from their
names. Counts of operations follow the usual convention, two for each multiply-add.
"""

from __future__ import annotations

import functools
import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import timing
from tinytorch.attention import MultiHeadAttention
from tinytorch.autograd.engine import no_grad
from tinytorch.layers import Linear
from tinytorch.module import Module
from tinytorch.quantities import Measured
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor
from tinytorch.watching import LayerCall, StepProfile, profile_step, watch

__all__ = [
    "Profiler",
    "Roofline",
    "StepProfile",
    "analyze_weight_distribution",
    "profile_step",
    "quick_profile",
    "roofline",
]

MB = 1024 * 1024
OPTIMIZER_BUFFERS = {"sgd": 0, "adam": 2, "adamw": 2}  # arrays kept for each parameter


def _layer_flops(call: LayerCall) -> int:
    """Operations of one layer's run, two for each multiply-add; one for each output of any other layer."""
    outputs = math.prod(call.output.shape)
    module = call.module
    if isinstance(module, Linear):
        return 2 * outputs * module.weight.shape[0]
    if isinstance(module, Conv2d):
        return 2 * outputs * math.prod(module.weight.shape[1:])
    if isinstance(module, MultiHeadAttention):
        batch, length, width = call.input_shape
        return (
            4 * batch * length * length * width
        )  # scores, then the weighted sum; projections count themselves
    if next(module.named_children(), None) is not None:
        return 0
    return outputs


# ---- roofline ----


@dataclass(frozen=True)
class Roofline:
    """One computation under the ceilings of this machine.

    Attributes
    ----------
    intensity : operations for each byte that has to be moved
    speed : GFLOP/s reached
    ceiling : GFLOP/s that this machine allows at this intensity
    bound : ``"memory"`` or ``"compute"``, whichever ceiling is the lower
    """

    name: str
    intensity: float
    speed: Measured
    ceiling: Measured
    bound: str
    peak: Measured
    bandwidth: Measured


@functools.cache
def ceilings(level: str, threads: int = 1) -> tuple[Measured, Measured]:
    """Peak (GFLOP/s) and memory bandwidth (GB/s) of this machine, measured once for each level."""
    return timing.measure_peak(threads), timing.measure_bandwidth()


def roofline(
    call: Callable[[], Any], flops: float, moved_bytes: float, *, name: str = "", seconds: float = 0.3
) -> Roofline:
    """Place a computation under the ceilings measured on this machine (Williams, Waterman and Patterson
    2009).

    Parameters
    ----------
    call : function of no arguments
    flops : float
        Floating-point operations of one call.
    moved_bytes : float
        Bytes that one call has to read and write at least: each operand once.
    """
    if not flops > 0 or not moved_bytes > 0:
        raise ValueError(f"roofline: flops and moved_bytes must be positive, got {flops} and {moved_bytes}")
    speed = timing.race_many({"it": call, "again": call}, seconds=seconds).rate("it", flops / 1e9, "GFLOP/s")
    return place(name, flops, moved_bytes, speed, threads=timing.machine()["threads"])


def place(name: str, flops: float, moved_bytes: float, speed: Measured, *, threads: int) -> Roofline:
    """Put a speed that was measured elsewhere (in GFLOP/s, by `threads`) under this machine's ceilings."""
    peak, bandwidth = ceilings(timing.machine()["level"], threads)
    intensity = flops / moved_bytes
    slope = bandwidth.scaled(intensity, "GFLOP/s")
    bound = "memory" if slope.value < peak.value else "compute"
    return Roofline(name, intensity, speed, slope if bound == "memory" else peak, bound, peak, bandwidth)


# ---- the course's profiler ----


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
        for call in _run_watched(model, _example_input(model, input_shape)):
            flops = _layer_flops(call)
            if flops:
                self.operation_counts[call.name] = self.operation_counts.get(call.name, 0) + flops
        return sum(self.operation_counts.values())

    def measure_memory(self, model: Module, input_shape: tuple[int, ...]) -> dict[str, float]:
        """Megabytes of parameters, of all layers' outputs, and at the peak of a forward pass."""
        x = _example_input(model, input_shape)
        parameters = _parameter_bytes(model)
        activations = sum(call.output.data.nbytes for call in _run_watched(model, x))
        with no_grad():
            peak = parameters + _traced_peak(lambda: model(x))
        self.memory_tracker = {
            "parameter_memory_mb": parameters / MB,
            "activation_memory_mb": activations / MB,
            "peak_memory_mb": peak / MB,
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
        latency = self.measure_latency(layer, _example_input(layer, input_shape), 3, 20)
        return {
            "layer_type": type(layer).__name__,
            "parameters": self.count_parameters(layer),
            "flops": flops,
            "latency_ms": latency,
            "gflops_per_second": _gflops(flops, latency),
            **self.measure_memory(layer, input_shape),
        }

    def profile_forward_pass(self, model: Module, x: Any) -> dict[str, Any]:
        """What a forward pass on `x` does and how close it comes to this machine's ceilings."""
        flops = self.count_flops(model, x.shape)
        memory = self.measure_memory(model, x.shape)
        latency = self.measure_latency(model, x, 3, 20)
        machine = timing.machine()
        peak, bandwidth = ceilings(machine["level"], machine["threads"])
        moved = (memory["parameter_memory_mb"] + memory["activation_memory_mb"]) * MB + x.data.nbytes
        speed = _gflops(flops, latency)
        memory_bound = flops / moved * bandwidth.value < peak.value
        return {
            "parameters": self.count_parameters(model),
            "flops": flops,
            "latency_ms": latency,
            **memory,
            "gflops_per_second": speed,
            "memory_bandwidth_mbs": moved / MB / (latency / 1e3),
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
        gradients = _parameter_bytes(model) / MB
        total = forward["latency_ms"] + latency
        return {
            **{f"forward_{name}": forward[name] for name in ("flops", "latency_ms", "peak_memory_mb")},
            "backward_flops": flops,
            "backward_latency_ms": latency,
            "gradient_memory_mb": gradients,
            "total_flops": forward["flops"] + flops,
            "total_latency_ms": total,
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


# ---- helpers ----


def _example_input(model: Module, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape: as token ids where the model starts with an embedding, else as float32."""
    from tinytorch.embeddings import Embedding

    reads_ids = any(isinstance(module, Embedding) for module in model.modules())
    return np.zeros(shape, np.int64) if reads_ids else Tensor(np.zeros(shape, np.float32))


def _run_watched(model: Module, x: Any) -> list[LayerCall]:
    calls: list[LayerCall] = []
    with no_grad(), watch(model, calls.append):
        model(x)
    return calls


def _traced_peak(call: Callable[[], Any]) -> int:
    """Most bytes that `call` held at once, beyond what was held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _parameter_bytes(model: Any) -> int:
    return sum(parameter.data.nbytes for parameter in model.parameters())


def _gflops(flops: float, latency_ms: float) -> float:
    return flops / 1e9 / (latency_ms / 1e3) if latency_ms else 0.0
