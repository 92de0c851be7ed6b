"""Whole models on the same inputs: latency, accuracy, memory."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import _text
from tinytorch.autograd.engine import no_grad
from tinytorch.benchmarking.results import BenchmarkResult
from tinytorch.profiling import Profiler
from tinytorch.tensor import Tensor
from tinytorch.timing import machine

METRICS = ("latency", "accuracy", "memory")
UNITS = {"latency": "ms", "accuracy": "share of right answers", "memory": "MB"}


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
        if warmup_runs < 1:
            warnings.warn(
                "Benchmark: without warm-up the first run counts, which fills caches and makes buffers; use "
                "warmup_runs=5",
                stacklevel=2,
            )
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


class BenchmarkSuite:
    """All of `Benchmark`, kept in files.

    Energy is not among the metrics: nothing here measures it, and an estimate would be made up.

    Parameters
    ----------
    models, datasets
        As `Benchmark` takes them.
    output_dir : str or path
        Where results, pictures and the report go; made when first needed.
    """

    def __init__(
        self, models: Sequence[Any], datasets: Sequence[Any], output_dir: str | Path = "benchmark_results"
    ) -> None:
        self.benchmark = Benchmark(models, datasets)
        self.models, self.datasets = self.benchmark.models, self.benchmark.datasets
        self.output_dir = Path(output_dir)
        self.results: dict[str, dict[str, BenchmarkResult]] = {}

    def run_full_benchmark(
        self, input_shape: tuple[int, ...] | None = None
    ) -> dict[str, dict[str, BenchmarkResult]]:
        """Latency, memory and, where there are datasets, accuracy.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Of one batch; the default is the first sample of the first dataset, else (1, 28, 28).
        """
        if input_shape is None:
            first = self.datasets[0][0] if self.datasets else None
            input_shape = (1, 28, 28) if first is None else (1, *first.shape[1:])
        self.results = {
            "latency": self.benchmark.run_latency_benchmark(input_shape),
            "memory": self.benchmark.run_memory_benchmark(input_shape),
        }
        if self.datasets:
            self.results["accuracy"] = self.benchmark.run_accuracy_benchmark()
        self._write(
            "results.json",
            json.dumps(
                {
                    "machine": machine(),
                    "results": {
                        metric: {name: result.to_dict() for name, result in results.items()}
                        for metric, results in self.results.items()
                    },
                },
                indent=1,
            ),
        )
        return self.results

    def plot_results(self, save_plots: bool = True) -> Any:
        """A figure with bars for each metric measured; `save_plots` writes it as a PNG, too."""
        from tinytorch import viz

        figures = {
            metric: viz.bars(
                [
                    {
                        "name": metric,
                        "x": list(results),
                        "y": [result.mean for result in results.values()],
                        "low": [result.ci_lower for result in results.values()],
                        "high": [result.ci_upper for result in results.values()],
                    }
                ],
                title=metric,
                y_label=UNITS[metric],
            )
            for metric, results in self._measured().items()
        }
        for metric, figure in figures.items() if save_plots else ():
            self._write(f"{metric}.png", viz.png(figure))
        return figures

    def plot_pareto_frontier(self, x_metric: str = "latency", y_metric: str = "accuracy") -> Any:
        """A figure of all models with those that no other beats in both metrics joined by a line."""
        from tinytorch import viz

        results = self._measured()
        for metric in (x_metric, y_metric):
            if metric not in results:
                raise ValueError(
                    f"plot_pareto_frontier: {metric!r} was not measured, only {', '.join(results)}"
                    + ("; accuracy needs datasets" if metric == "accuracy" else "")
                )
        points = {
            name: (results[x_metric][name].mean, results[y_metric][name].mean) for name in results[x_metric]
        }
        return viz.pareto(
            points,
            x_label=f"{x_metric} ({UNITS[x_metric]})",
            y_label=f"{y_metric} ({UNITS[y_metric]})",
            larger_is_better=(x_metric == "accuracy", y_metric == "accuracy"),
        )

    def generate_report(self) -> str:
        """The results as text, also written to ``report.txt``."""
        header = ("model", *(f"{metric} ({UNITS[metric]})" for metric in self._measured()))
        rows = [
            (name, *(f"{results[name].mean:.4g}" for results in self.results.values()))
            for name in self.benchmark.names
        ]
        about = machine()
        text = (
            f"{_text.table(header, rows)}\n\n"
            f"Measured on {about['cpu'] or about['architecture']}, level {about['level']}, "
            f"{about['threads']} threads.\n"
        )
        self._write("report.txt", text)
        return text

    def _measured(self) -> dict[str, dict[str, BenchmarkResult]]:
        if not self.results:
            raise ValueError("BenchmarkSuite: nothing measured yet; call run_full_benchmark() first")
        return self.results

    def _write(self, name: str, content: str | bytes) -> None:
        self.output_dir.mkdir(parents=True, exist_ok=True)
        data = content.encode("utf-8") if isinstance(content, str) else content
        (self.output_dir / name).write_bytes(data)
