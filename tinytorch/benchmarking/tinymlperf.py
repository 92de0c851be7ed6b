"""TinyMLPerf: a model against an accuracy and a latency that were set beforehand."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import timing
from tinytorch.benchmarking.events import EVENTS, Event, accuracy, latencies
from tinytorch.tensor import Tensor

VERSION = "1.0"


class TinyMLPerf:
    """Standard benchmarks, and events with data and a baseline.

    The four standard benchmarks are those of the public course. Their data sets are not shipped, so their
    accuracy is measured on data that you give, and is None without: no figure is made up. The events
    ``mlp_sprint``, ``cnn_marathon`` and ``transformer_decathlon`` run on what is shipped, under their honest
    names.

    Parameters
    ----------
    random_seed : int
        Of the random inputs on which latency is measured when there are no data.
    profiler_warmup_runs, profiler_timing_runs : int
        What a `CompetitionProfiler` made for these events uses.

    Attributes
    ----------
    benchmarks : dict
        Name → ``input_shape``, ``target_accuracy``, ``max_latency_ms``, ``description``.
    """

    def __init__(
        self, random_seed: int = 42, profiler_warmup_runs: int = 3, profiler_timing_runs: int = 10
    ) -> None:
        self.random_seed = random_seed
        self.profiler_warmup_runs = profiler_warmup_runs
        self.profiler_timing_runs = profiler_timing_runs
        self.benchmarks: dict[str, dict[str, Any]] = {
            name: {
                "input_shape": shape,
                "target_accuracy": target,
                "max_latency_ms": limit,
                "description": description,
            }
            for name, shape, target, limit, description in (
                ("keyword_spotting", (1, 16000), 0.90, 100.0, "a second of sound, 16 kHz; data not shipped"),
                ("visual_wake_words", (1, 96, 96, 3), 0.80, 200.0, "a person or none; data not shipped"),
                ("anomaly_detection", (1, 640), 0.85, 50.0, "the sound of a machine; data not shipped"),
                ("image_classification", (1, 32, 32, 3), 0.75, 150.0, "CIFAR-10; data not shipped"),
            )
        }

    # ---- events on shipped data ----

    def get_available_events(self) -> dict[str, str]:
        """Each event's description."""
        return {name: event.description for name, event in EVENTS.items()}

    def load_benchmark(self, event_name: str) -> tuple[Any, dict[str, Any]]:
        """The event's baseline, trained (which takes seconds, the first time), and its held-out data.

        Returns
        -------
        model, dataset
            `dataset` has ``inputs``, ``targets``, ``event`` and ``description``. Both are copies: what is
            done to them changes no later baseline.
        """
        event = find_event(event_name)
        _, (inputs, targets) = event.data()
        dataset = {
            "event": event.name,
            "description": event.description,
            "inputs": inputs.copy(),
            "targets": targets.copy(),
        }
        return copy.deepcopy(event.train()), dataset

    # ---- the standard benchmarks ----

    def run_standard_benchmark(
        self, model: Any, benchmark_name: str, num_runs: int = 100, dataset: tuple[Any, Any] | None = None
    ) -> dict[str, Any]:
        """Latency of one sample and, with data, accuracy.

        Parameters
        ----------
        model : callable
            Takes a Tensor of the benchmark's input shape, or of one sample of `dataset`.
        benchmark_name : str
        num_runs : int
        dataset : (inputs, labels), optional
            Held-out data of this task; without, accuracy is None and compliance is not claimed.
        """
        if benchmark_name not in self.benchmarks:
            raise ValueError(
                f"TinyMLPerf: there is no benchmark {benchmark_name!r}; there are "
                f"{', '.join(self.benchmarks)}; for {', '.join(EVENTS)} use load_benchmark"
            )
        if num_runs < 1:
            raise ValueError(f"TinyMLPerf: num_runs must be at least 1, got {num_runs}")
        wanted = self.benchmarks[benchmark_name]
        if dataset is None:
            shape = wanted["input_shape"]
            sample = np.random.default_rng(self.random_seed).standard_normal(shape, dtype=np.float32)
        else:
            sample = np.asarray(getattr(dataset[0], "data", dataset[0]))[:1]
        milliseconds = latencies(model, Tensor(sample), num_runs)
        found = None
        if dataset is not None:
            arrays = [np.asarray(getattr(part, "data", part)) for part in dataset]
            found = accuracy(model, *arrays)
        accuracy_met = None if found is None else found >= wanted["target_accuracy"]
        latency_met = bool(milliseconds.mean() <= wanted["max_latency_ms"])
        return {
            "benchmark_name": benchmark_name,
            "model_name": getattr(model, "name", type(model).__name__),
            "accuracy": found,
            "accuracy_note": ""
            if found is not None
            else "not measured: its data set is not shipped; give dataset",
            "target_accuracy": wanted["target_accuracy"],
            "accuracy_met": accuracy_met,
            "mean_latency_ms": float(milliseconds.mean()),
            "std_latency_ms": float(milliseconds.std(ddof=1)) if num_runs > 1 else 0.0,
            "max_latency_ms": float(milliseconds.max()),
            **{f"p{p}_latency_ms": float(np.percentile(milliseconds, p)) for p in (50, 90, 99)},
            "target_latency_ms": wanted["max_latency_ms"],
            "latency_met": latency_met,
            "throughput_fps": 1e3 / float(milliseconds.mean()),
            "compliant": bool(accuracy_met) and latency_met,
            "num_runs": num_runs,
            "random_seed": self.random_seed,
            "machine": timing.machine(),
        }

    def run_all_benchmarks(
        self, model: Any, datasets: Mapping[str, tuple[Any, Any]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Every standard benchmark; one whose input the model does not take has an ``error`` instead."""
        results: dict[str, dict[str, Any]] = {}
        for name in self.benchmarks:
            try:
                results[name] = self.run_standard_benchmark(model, name, dataset=(datasets or {}).get(name))
            except (ValueError, TypeError, IndexError) as error:
                results[name] = {"benchmark_name": name, "error": str(error), "compliant": False}
        return results

    def generate_compliance_report(
        self, results: Mapping[str, Mapping[str, Any]], output_path: str | Path = "tinymlperf_report.json"
    ) -> str:
        """Write what `run_all_benchmarks` returned, with a summary, as JSON; returns the summary as text."""
        if not results:
            raise ValueError("generate_compliance_report: no results; run a benchmark first")
        passed = [name for name, result in results.items() if result["compliant"]]
        summary = {
            "total_benchmarks": len(results),
            "compliant_benchmarks": len(passed),
            "compliant_benchmark_names": passed,
            "compliance_rate": len(passed) / len(results),
            "overall_compliant": len(passed) == len(results),
        }
        report = {
            "tinymlperf_version": VERSION,
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "random_seed": self.random_seed,
            "machine": timing.machine(),
            "benchmarks": results,
            "summary": summary,
        }
        Path(output_path).write_text(json.dumps(report, indent=1), encoding="utf-8")
        lines = [f"{len(passed)} of {len(results)} benchmarks passed."]
        lines += [f"  {name}: {_outcome(result)}" for name, result in results.items()]
        return "\n".join(lines)


def find_event(name: str) -> Event:
    """The event of this name."""
    if name not in EVENTS:
        raise ValueError(f"TinyMLPerf: there is no event {name!r}; there are {', '.join(EVENTS)}")
    return EVENTS[name]


def _outcome(result: Mapping[str, Any]) -> str:
    if "error" in result:
        return f"not run: {result['error']}"
    found = result["accuracy"]
    share = "accuracy not measured (no data)" if found is None else f"accuracy {found:.3f}"
    verdict = "passed" if result["compliant"] else "not passed"
    return (
        f"{verdict}; {share}, target {result['target_accuracy']}; {result['mean_latency_ms']:.3g} ms, target "
        f"{result['target_latency_ms']:g} ms"
    )
