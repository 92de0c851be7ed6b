"""Module 19: benchmarking. Comparing models so that somebody else would find the same.

`race` and `breakeven` are the tools to compare with: they take turns, so a machine that slows down slows
both, and give an interval instead of a number. `Benchmark` runs whole models through them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinytorch import intervals
from tinytorch.autograd.engine import no_grad
from tinytorch.profiling import Profiler
from tinytorch.tensor import Tensor
from tinytorch.timing import Breakeven, Race, Races, breakeven, machine, noise_floor, race, race_many

__all__ = [
    "Benchmark",
    "BenchmarkResult",
    "Breakeven",
    "Race",
    "Races",
    "breakeven",
    "machine",
    "noise_floor",
    "race",
    "race_many",
]

METRICS = ("latency", "accuracy", "memory")


@dataclass
class BenchmarkResult:
    """Values measured for one metric, and their statistics.

    Attributes
    ----------
    mean, std, median, min_val, max_val : float
        `std` with n - 1 in the denominator, 0 for a single value.
    count : int
    ci_lower, ci_upper : float
        95 % confidence interval of the mean; the mean itself for a single value.
    """

    metric_name: str
    values: Sequence[float]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.size == 0:
            raise ValueError(f"BenchmarkResult {self.metric_name!r}: no values; measure at least once")
        self.values = values.tolist()
        self.count = values.size
        self.mean, self.median = float(values.mean()), float(np.median(values))
        self.min_val, self.max_val = float(values.min()), float(values.max())
        self.std = float(values.std(ddof=1)) if values.size > 1 else 0.0
        self.ci_lower, self.ci_upper = self.mean, self.mean
        if values.size > 1:
            self.ci_lower, self.ci_upper = intervals.interval(values, statistic=np.mean)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        statistics = ("mean", "std", "median", "min_val", "max_val", "count", "ci_lower", "ci_upper")
        return {
            "metric_name": self.metric_name,
            "values": list(self.values),
            **{name: getattr(self, name) for name in statistics},
            "metadata": self.metadata,
        }

    def __str__(self) -> str:
        spread = f"[{self.ci_lower:.4g} to {self.ci_upper:.4g}]"
        return f"{self.metric_name}: {self.mean:.4g} {spread}, n = {self.count}"


class Benchmark:
    """Latency, accuracy and memory of several models, on the same inputs.

    Parameters
    ----------
    models : list of Module
        Named after their ``name`` attribute, else ``model_0``, ``model_1``, …
    datasets : list of (inputs, labels)
        Inputs as a Tensor or an array, labels as integers.
    warmup_runs, measurement_runs : int
    """

    def __init__(
        self,
        models: Sequence[Any],
        datasets: Sequence[Any],
        warmup_runs: int = 5,
        measurement_runs: int = 10,
    ) -> None:
        if not models:
            raise ValueError("Benchmark: no models to measure; give at least one")
        if measurement_runs < 1:
            raise ValueError(f"Benchmark: measurement_runs must be at least 1, got {measurement_runs}")
        self.models, self.datasets = list(models), list(datasets)
        self.warmup_runs, self.measurement_runs = warmup_runs, measurement_runs
        self.names = [getattr(model, "name", f"model_{index}") for index, model in enumerate(self.models)]
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"Benchmark: the models need different names, got {self.names}")
        self.results: dict[str, dict[str, BenchmarkResult]] = {}

    def run_latency_benchmark(self, input_shape: tuple[int, ...] = (1, 28, 28)) -> dict[str, BenchmarkResult]:
        """Milliseconds of a forward pass; the models take turns, every other round in reverse order."""
        x = Tensor(np.random.default_rng(0).standard_normal(input_shape))
        milliseconds: dict[str, list[float]] = {name: [] for name in self.names}
        turns = list(zip(self.names, self.models, strict=True))
        with no_grad():
            for number in range(self.warmup_runs + self.measurement_runs):
                for name, model in turns:
                    start = time.perf_counter()
                    model.forward(x)
                    if number >= self.warmup_runs:
                        milliseconds[name].append((time.perf_counter() - start) * 1e3)
                turns.reverse()
        return self._keep(
            "latency", milliseconds, unit="ms", input_shape=tuple(input_shape), machine=machine()
        )

    def run_accuracy_benchmark(self) -> dict[str, BenchmarkResult]:
        """Share of right answers, one value for each dataset."""
        if not self.datasets:
            raise ValueError("Benchmark: accuracy needs datasets; give a list of (inputs, labels)")
        shares: dict[str, list[float]] = {name: [] for name in self.names}
        with no_grad():
            for inputs, labels in self.datasets:
                x = inputs if isinstance(inputs, Tensor) else Tensor(np.asarray(inputs))
                wanted = np.asarray(labels.data if isinstance(labels, Tensor) else labels)
                for name, model in zip(self.names, self.models, strict=True):
                    answers = np.asarray(model.forward(x).data).argmax(axis=-1)
                    if answers.shape != wanted.shape:
                        raise ValueError(
                            f"Benchmark: {name} gives answers of shape {answers.shape}, "
                            f"but the labels have shape {wanted.shape}"
                        )
                    shares[name].append(float((answers == wanted).mean()))
        return self._keep("accuracy", shares)

    def run_memory_benchmark(self, input_shape: tuple[int, ...] = (1, 28, 28)) -> dict[str, BenchmarkResult]:
        """Megabytes at the peak of a forward pass, parameters included."""
        peaks = {
            name: [Profiler().measure_memory(model, input_shape)["peak_memory_mb"]]
            for name, model in zip(self.names, self.models, strict=True)
        }
        return self._keep("memory", peaks, unit="MB", input_shape=tuple(input_shape))

    def compare_models(self, metric: str = "latency") -> list[dict[str, Any]]:
        """The results for one metric, the best model first; run the benchmark of that metric before."""
        if metric not in METRICS:
            raise ValueError(f"compare_models: metric must be one of {METRICS}, got {metric!r}")
        if metric not in self.results:
            raise ValueError(f"compare_models: nothing measured yet; call run_{metric}_benchmark() first")
        rows = [{"model": name, **result.to_dict()} for name, result in self.results[metric].items()]
        return sorted(rows, key=lambda row: row["mean"], reverse=metric == "accuracy")

    def _keep(
        self, metric: str, values: dict[str, list[float]], **metadata: Any
    ) -> dict[str, BenchmarkResult]:
        self.results[metric] = {
            name: BenchmarkResult(f"{name}_{metric}", samples, dict(metadata))
            for name, samples in values.items()
        }
        return self.results[metric]
