"""The course's small tools: a timer, a memory meter, a counter of operations, and all three in one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinytorch import _text
from tinytorch.module import Module
from tinytorch.profiling.counting import traced
from tinytorch.profiling.profiles import Profiler
from tinytorch.tensor import MB_TO_BYTES

Options = Mapping[str, Any] | None


class Timer:
    """Times a function many times.

    Attributes
    ----------
    measurements : list of float
        Milliseconds of each run, the last `measure`'s.
    """

    def __init__(self) -> None:
        self.measurements: list[float] = []

    def measure(
        self, func: Callable, warmup: int = 3, runs: int = 100, args: tuple = (), kwargs: Options = None
    ) -> dict[str, float]:
        """Call ``func(*args, **kwargs)`` and return statistics in milliseconds.

        Returns
        -------
        dict
            ``mean_ms``, ``std_ms``, ``min_ms``, ``max_ms``, ``p50_ms``, ``p95_ms``, ``p99_ms``, ``runs``.

        Warns
        -----
        UserWarning
            Without warm-up: the first run fills caches and makes buffers, so it is no sample of the others.
        """
        if not callable(func):
            raise TypeError(
                f"Timer.measure: func must be a function, got {type(func).__name__}; pass it without "
                "calling it"
            )
        if runs < 1:
            raise ValueError(f"Timer.measure: runs must be at least 1, got {runs}")
        if warmup < 1:
            warnings.warn(
                "Timer.measure: without warm-up the first run counts, which fills caches and makes buffers; "
                "use warmup=3",
                stacklevel=2,
            )
        options = kwargs or {}
        for _ in range(warmup):
            func(*args, **options)
        self.measurements = []
        for _ in range(runs):
            start = time.perf_counter_ns()
            func(*args, **options)
            self.measurements.append((time.perf_counter_ns() - start) / 1e6)
        samples = np.asarray(self.measurements)
        return {
            "mean_ms": float(samples.mean()),
            "std_ms": float(samples.std(ddof=1)) if runs > 1 else 0.0,
            "min_ms": float(samples.min()),
            "max_ms": float(samples.max()),
            **{f"p{p}_ms": float(np.percentile(samples, p)) for p in (50, 95, 99)},
            "runs": runs,
        }

    def print_report(self, name: str = "Function") -> None:
        """Print the last measurement."""
        if not self.measurements:
            raise ValueError("Timer.print_report: nothing measured yet; call measure(func) first")
        samples = np.asarray(self.measurements)
        print(
            f"{name}: median {np.median(samples):.3g} ms, fastest {samples.min():.3g} ms, n = {samples.size}"
        )


class MemoryProfiler:
    """Measures what a function allocates, in Python and in NumPy."""

    def profile(self, func: Callable, args: tuple = (), kwargs: Options = None) -> dict[str, Any]:
        """Call the function once.

        Returns
        -------
        dict
            ``baseline_mb`` before it, ``peak_mb`` and ``allocated_mb`` (the peak above the baseline),
            ``final_mb`` after it, each also in bytes, and the function's ``result``.
        """
        found = traced(lambda: func(*args, **(kwargs or {})))
        sizes = {
            "baseline": found.before, "peak": found.peak, "allocated": found.peak - found.before,
            "final": found.after,
        }  # fmt: skip
        return {
            **{f"{name}_mb": size / MB_TO_BYTES for name, size in sizes.items()},
            **{f"{name}_bytes": size for name, size in sizes.items()},
            "result": found.result,
        }

    def measure(self, func: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """`profile`, with the function's arguments as they come."""
        return self.profile(func, args, kwargs)

    def print_report(self, stats: Mapping[str, Any], name: str = "Function") -> None:
        """Print what `profile` returned."""
        print(f"{name}: {stats['allocated_mb']:.3g} MB at the peak, {stats['final_mb']:.3g} MB kept")


class FLOPCounter:
    """Counts operations, two for each multiply-add.

    Attributes
    ----------
    operation_counts : dict
        ``multiply``, ``add`` and ``total_flops`` of all that was counted since `reset`.
    profile_breakdown : dict
        Kind of layer → operations.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all counts."""
        self.operation_counts = {"multiply": 0, "add": 0, "total_flops": 0}
        self.profile_breakdown: dict[str, int] = {}

    def count_linear(self, input_features: int, output_features: int, batch_size: int = 1) -> int:
        """Of ``x @ w + bias``."""
        return self._add("linear", batch_size * input_features * output_features)

    def count_conv2d(
        self,
        input_height: int,
        input_width: int,
        input_channels: int,
        output_channels: int,
        kernel_size: int,
        batch_size: int = 1,
    ) -> int:
        """Of a convolution with stride 1 and no padding."""
        height, width = input_height - kernel_size + 1, input_width - kernel_size + 1
        if height < 1 or width < 1:
            raise ValueError(
                f"count_conv2d: a kernel of {kernel_size} × {kernel_size} does not fit into an input of "
                f"{input_height} × {input_width}; use a smaller kernel, or add padding to the input's size"
            )
        products = batch_size * height * width * output_channels * input_channels * kernel_size**2
        return self._add("conv2d", products)

    def count_attention(self, sequence_length: int, d_model: int, batch_size: int = 1) -> int:
        """Of self-attention: four projections, the scores, and the weighted sum."""
        projections = 4 * sequence_length * d_model**2
        return self._add("attention", batch_size * (projections + 2 * sequence_length**2 * d_model))

    def count_model_forward(self, model: Module, input_shape: tuple[int, ...]) -> int:
        """Of a forward pass, counted on the layers as they run."""
        flops = Profiler().count_flops(model, input_shape)
        return self._add(type(model).__name__, flops // 2, flops % 2)

    def print_report(self, name: str = "Model") -> None:
        """Print the counts."""
        rows = [(kind, f"{flops:,}") for kind, flops in self.profile_breakdown.items()]
        print(
            _text.table((name, "operations"), [*rows, ("total", f"{self.operation_counts['total_flops']:,}")])
        )

    def _add(self, kind: str, products: int, others: int = 0) -> int:
        """Note so many multiply-adds, and operations that are neither."""
        flops = 2 * products + others
        for name, count in (("multiply", products), ("add", products), ("total_flops", flops)):
            self.operation_counts[name] += count
        self.profile_breakdown[kind] = self.profile_breakdown.get(kind, 0) + flops
        return flops


class ProfilerContext:
    """Time, memory and operations of what runs in a block.

    ``with ProfilerContext("step") as profiler: profiler.profile_function(step)`` prints a report at its end.
    """

    def __init__(
        self,
        name: str = "Operation",
        timing_runs: int = 10,
        timing_warmup: int = 2,
        enable_memory: bool = True,
        enable_flops: bool = False,
    ) -> None:
        self.name = name
        self.timing_runs, self.timing_warmup = timing_runs, timing_warmup
        self.enable_memory, self.enable_flops = enable_memory, enable_flops
        self.timing_stats: dict[str, float] = {}
        self.memory_stats: dict[str, Any] = {}
        self.flop_counter = FLOPCounter()

    def __enter__(self) -> ProfilerContext:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            print(self.generate_report())

    def profile_function(self, func: Callable, args: tuple = (), kwargs: Options = None) -> Any:
        """Measure a function; returns its result."""
        self.timing_stats = Timer().measure(func, self.timing_warmup, self.timing_runs, args, kwargs)
        if not self.enable_memory:
            return func(*args, **(kwargs or {}))
        self.memory_stats = MemoryProfiler().profile(func, args, kwargs)
        return self.memory_stats["result"]

    def add_flop_count(self, flops: int, breakdown: Mapping[str, int] | None = None) -> None:
        """Say how many operations the function does, so that the report can tell a speed."""
        if not flops > 0:
            raise ValueError(f"add_flop_count: flops must be positive, got {flops}")
        self.enable_flops = True
        for kind, count in (breakdown or {self.name: flops}).items():
            self.flop_counter.profile_breakdown[kind] = count
        self.flop_counter.operation_counts["total_flops"] = flops

    def generate_report(self) -> str:
        """What was measured, as text."""
        if not self.timing_stats:
            return f"{self.name}: nothing measured; call profile_function(func) inside the block"
        median = self.timing_stats["p50_ms"]
        lines = [f"{self.name}: median {median:.3g} ms (measured, n = {self.timing_stats['runs']})"]
        if self.memory_stats:
            lines.append(f"  memory: {self.memory_stats['allocated_mb']:.3g} MB at the peak")
        if flops := self.flop_counter.operation_counts["total_flops"] if self.enable_flops else 0:
            lines.append(f"  operations: {flops:,}, so {flops / median / 1e6:.3g} GFLOP/s")
        return "\n".join(lines)


class SimpleProfiler:
    """Wall time, CPU time and memory of one call."""

    def __init__(self, track_memory: bool = True, track_cpu: bool = True) -> None:
        self.track_memory, self.track_cpu = track_memory, track_cpu

    def profile(
        self, func: Callable, *args: Any, name: str | None = None, warmup: bool = True, **kwargs: Any
    ) -> dict[str, Any]:
        """Call the function once more than needed to warm it up, then measure one call.

        Returns
        -------
        dict
            ``name``, ``result``, ``result_size_mb``, ``wall_time`` in seconds; with `track_cpu`, ``cpu_time``
            of all threads and ``cpu_efficiency`` (their ratio: 2 when two threads worked all the time); with
            `track_memory`, ``memory_delta_mb`` and ``peak_memory_mb``, of a further call.
        """
        if warmup:
            func(*args, **kwargs)
        cpu, start = time.process_time(), time.perf_counter()
        result = func(*args, **kwargs)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        size = getattr(getattr(result, "data", result), "nbytes", 0)
        found = {
            "name": name or getattr(func, "__name__", "operation"),
            "result": result,
            "result_size_mb": size / MB_TO_BYTES,
            "wall_time": wall,
        }
        if self.track_cpu:
            found |= {"cpu_time": cpu, "cpu_efficiency": cpu / wall if wall else 0.0}
        if self.track_memory:  # apart from the timing, which tracing would slow down
            memory = MemoryProfiler().profile(func, args, kwargs)
            found |= {
                "memory_delta_mb": memory["final_mb"] - memory["baseline_mb"],
                "peak_memory_mb": memory["allocated_mb"],
            }
        return found


def profile_function(
    func: Callable, *args: Any, name: str | None = None, show_details: bool = False, **kwargs: Any
) -> dict[str, Any]:
    """`SimpleProfiler.profile`; with `show_details` it also prints what it returns."""
    found = SimpleProfiler().profile(func, *args, name=name, **kwargs)
    if show_details:
        for key, value in found.items():
            if key != "result":
                print(f"{key:<18} {value:.4g}" if isinstance(value, float) else f"{key:<18} {value}")
    return found
