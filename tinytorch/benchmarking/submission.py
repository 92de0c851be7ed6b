"""The capstone: measure a model, optimize it, and hand both measurements in as one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch
from tinytorch import timing
from tinytorch.activations import ReLU
from tinytorch.benchmarking.events import accuracy, as_input, latencies
from tinytorch.layers import Linear
from tinytorch.module import Module
from tinytorch.replacing import stored_bytes
from tinytorch.tensor import MB_TO_BYTES, Tensor

METRICS = (
    "parameter_count",
    "model_size_mb",
    "accuracy",
    "latency_ms_mean",
    "latency_ms_std",
    "throughput_samples_per_sec",
)


class SimpleMLP(Module):
    """Two linear layers with a ReLU between: (N, input_size) to (N, output_size)."""

    def __init__(self, input_size: int = 10, hidden_size: int = 20, output_size: int = 3) -> None:
        self.fc1 = Linear(input_size, hidden_size)
        self.relu = ReLU()
        self.fc2 = Linear(hidden_size, output_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.relu(self.fc1(x)))

    def count_parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(parameter.data.size for parameter in self.parameters())


class BenchmarkReport:
    """What one model was measured to do.

    Attributes
    ----------
    metrics : dict
        Of the last `benchmark_model`: `METRICS`, and ``latency_ms``, every sample.
    system_info : dict
        As `timing.machine` describes it.
    timestamp : str
        When the report was made, in UTC.
    """

    def __init__(self, model_name: str = "model") -> None:
        self.model_name = model_name
        self.metrics: dict[str, Any] = {}
        self.system_info = timing.machine()
        self.timestamp = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def benchmark_model(self, model: Any, X_test: Any, y_test: Any, num_runs: int = 100) -> dict[str, Any]:
        """Count, classify and time; returns the metrics.

        Parameters
        ----------
        model : callable
            A Module or an `InferenceModel`, whose size is what `replacing.stored_bytes` counts.
        X_test, y_test : Tensor or array
            Held-out samples and their classes.
        num_runs : int
            How often one sample is timed, after a tenth as many runs that don't count.
        """
        inputs, targets = (np.asarray(getattr(data, "data", data)) for data in (X_test, y_test))
        if len(inputs) != len(targets):
            raise ValueError(
                f"benchmark_model: {len(inputs)} samples in X_test, and {len(targets)} in y_test"
            )
        if num_runs < 1:
            raise ValueError(f"benchmark_model: num_runs must be at least 1, got {num_runs}")
        found = accuracy(model, inputs, targets.astype(np.int64))
        milliseconds = latencies(model, as_input(inputs[:1]), num_runs)
        parameters = model.parameters() if hasattr(model, "parameters") else []
        if isinstance(model, Module) or hasattr(model, "nbytes"):
            size = stored_bytes(model)
        else:
            size = sum(parameter.data.nbytes for parameter in parameters)
        self.metrics = {
            "parameter_count": sum(parameter.data.size for parameter in parameters),
            "model_size_mb": size / MB_TO_BYTES,
            "accuracy": found,
            "latency_ms_mean": float(np.mean(milliseconds)),
            "latency_ms_std": float(np.std(milliseconds, ddof=1)) if num_runs > 1 else 0.0,
            "throughput_samples_per_sec": 1e3 / float(np.mean(milliseconds)),
            "latency_ms": milliseconds.tolist(),
        }
        return self.metrics


def generate_submission(
    baseline_report: BenchmarkReport,
    optimized_report: BenchmarkReport | None = None,
    student_name: str | None = None,
    techniques_applied: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The measurements as one dict; with an optimized model, what it gained.

    Raises
    ------
    ValueError
        For a report without measurements, or two from unlike machines.
    """
    submission = {
        "tinytorch_version": tinytorch.__version__,
        "submission_type": "capstone_benchmark",
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system_info": baseline_report.system_info,
        "baseline": _described(baseline_report),
    }
    if student_name:
        submission["student_name"] = student_name
    if optimized_report is not None:
        if optimized_report.system_info != baseline_report.system_info:
            raise ValueError(
                "generate_submission: the two reports come from unlike machines or numbers of threads, so "
                "their ratio is no speed-up; measure both in one go"
            )
        before, after = baseline_report.metrics, optimized_report.metrics
        submission["optimized"] = {
            **_described(optimized_report), "techniques_applied": list(techniques_applied or [])
        }  # fmt: skip
        submission["improvements"] = {
            "speedup": before["latency_ms_mean"] / after["latency_ms_mean"],
            "compression_ratio": before["model_size_mb"] / after["model_size_mb"],
            "accuracy_delta": after["accuracy"] - before["accuracy"],
        }
    return submission


def _described(report: BenchmarkReport) -> dict[str, Any]:
    if not report.metrics:
        raise ValueError(
            f"generate_submission: {report.model_name!r} was not measured; call "
            "report.benchmark_model(model, X_test, y_test) first"
        )
    return {"model_name": report.model_name, "metrics": report.metrics}


def validate_submission_schema(submission: Mapping[str, Any]) -> bool:
    """True for what `generate_submission` returns.

    Raises
    ------
    ValueError
        With what is missing or impossible.
    """
    for key in ("tinytorch_version", "submission_type", "timestamp", "system_info", "baseline"):
        if key not in submission:
            raise ValueError(f"submission: {key!r} is missing; generate_submission makes all of them")
    for part in ("baseline", "optimized"):
        metrics = submission.get(part, submission["baseline"])["metrics"]
        if missing := [name for name in METRICS if name not in metrics]:
            raise ValueError(
                f"submission, {part}: {', '.join(missing)} missing; benchmark_model measures them"
            )
        if not 0 <= metrics["accuracy"] <= 1:
            raise ValueError(
                f"submission, {part}: accuracy is a share, from 0 to 1, got {metrics['accuracy']}; divide "
                "percent by 100"
            )
        if not metrics["latency_ms_mean"] > 0:
            raise ValueError(f"submission, {part}: a latency is positive, got {metrics['latency_ms_mean']}")
    return True


def save_submission(submission: Mapping[str, Any], filepath: str | Path = "submission.json") -> str:
    """Check the submission, write it as JSON, return the path."""
    validate_submission_schema(submission)
    Path(filepath).write_text(json.dumps(submission, indent=2, allow_nan=False), encoding="utf-8")
    return str(filepath)
