"""Helpers of the course's performance tests: is it faster, and does it still compute the same?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinytorch import timing
from tinytorch.benchmarking.results import BenchmarkResult
from tinytorch.profiling import MemoryProfiler, Timer


class PerformanceTimer:
    """Times a function.

    Parameters
    ----------
    warmup_runs, timing_runs : int
    """

    def __init__(self, warmup_runs: int = 3, timing_runs: int = 10) -> None:
        self.warmup_runs, self.timing_runs = warmup_runs, timing_runs

    def measure(self, func: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Seconds: ``mean``, ``median``, ``std``, ``min``, ``max``, ``confidence_95`` (half the interval's
        width), ``coefficient_of_variation``; with ``runs`` and the last ``result``.
        """
        timer = Timer()
        timer.measure(func, self.warmup_runs, self.timing_runs, args, kwargs)
        found = BenchmarkResult("seconds", [sample / 1e3 for sample in timer.measurements])
        return {
            "mean": found.mean,
            "median": found.median,
            "std": found.std,
            "min": found.min_val,
            "max": found.max_val,
            "confidence_95": (found.ci_upper - found.ci_lower) / 2,
            "coefficient_of_variation": found.std / found.mean if found.mean else 0.0,
            "runs": found.count,
            "result": func(*args, **kwargs),
        }


class AccuracyTester:
    """Compares what two functions computed."""

    @staticmethod
    def compare_outputs(original: Any, optimized: Any, tolerance: float = 1e-6) -> dict[str, Any]:
        """``shapes_match``, ``max_diff``, ``mean_diff``, ``relative_error``, ``tolerance`` and
        ``accuracy_preserved``: the largest difference is within the tolerance. NaN in one alone is a
        difference."""
        a, b = (np.asarray(getattr(x, "data", x), dtype=np.float64) for x in (original, optimized))
        if a.shape != b.shape:
            return {
                "shapes_match": False,
                "max_diff": float("inf"),
                "mean_diff": float("inf"),
                "relative_error": float("inf"),
                "accuracy_preserved": False,
                "tolerance": tolerance,
            }
        difference = np.abs(a - b)
        difference = np.where(
            np.isnan(a) & np.isnan(b), 0.0, np.where(np.isnan(difference), np.inf, difference)
        )
        largest = float(difference.max(initial=0.0))
        scale = float(np.nanmax(np.abs(a), initial=0.0))
        return {
            "shapes_match": True,
            "max_diff": largest,
            "mean_diff": float(difference.mean()) if difference.size else 0.0,
            "relative_error": largest / scale if scale else largest,
            "accuracy_preserved": largest <= tolerance,
            "tolerance": tolerance,
        }


class PerformanceTester:
    """Races two functions and compares their results and their memory."""

    def __init__(self, warmup_runs: int = 3, timing_runs: int = 10) -> None:
        self.warmup_runs, self.timing_runs = warmup_runs, timing_runs

    def compare_performance(
        self,
        baseline_func: Callable,
        optimized_func: Callable,
        args: tuple = (),
        kwargs: Mapping[str, Any] | None = None,
        test_name: str = "Performance Test",
    ) -> dict[str, Any]:
        """``speedup`` with its interval, whether it is significant, ``accuracy``, ``memory``, ``race``."""
        options = dict(kwargs or {})
        accuracy = AccuracyTester.compare_outputs(
            baseline_func(*args, **options), optimized_func(*args, **options), tolerance=1e-4
        )
        race = timing.race(
            lambda: baseline_func(*args, **options), lambda: optimized_func(*args, **options),
            names=("baseline", "optimized"), rounds=max(self.timing_runs, 6),
        )  # fmt: skip
        memory = {
            name: MemoryProfiler().profile(func, args, options)["allocated_mb"]
            for name, func in (("baseline", baseline_func), ("optimized", optimized_func))
        }
        return {
            "test_name": test_name,
            "speedup": race.ratio.value,
            "speedup_interval": [race.ratio.low, race.ratio.high],
            "speedup_significant": race.verdict == "faster",
            "verdict": race.verdict,
            "accuracy": accuracy,
            "memory": memory,
            "memory_ratio": memory["baseline"] / memory["optimized"] if memory["optimized"] else float("inf"),
            "race": race,
        }


def create_test_data(size: int = 1000) -> dict[str, np.ndarray]:
    """Arrays to test with: ``small``, ``medium`` and ``large`` square matrices, a ``vector``, a ``batch``."""
    rng = np.random.default_rng(0)
    shapes = {
        "small": (max(size // 10, 1),) * 2,
        "medium": (max(size // 2, 1),) * 2,
        "large": (size, size),
        "vector": (size,),
        "batch": (32, size),
    }
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
