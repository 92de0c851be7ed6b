"""A competition between teams: entries are raced against the event's baseline and kept in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import _text, timing
from tinytorch.autograd.engine import no_grad
from tinytorch.benchmarking.events import EVENTS, accuracy, as_input
from tinytorch.benchmarking.suites import COMPARABLE
from tinytorch.benchmarking.tinymlperf import TinyMLPerf, find_event
from tinytorch.kernels import PackedInt4, PackedInt8, SparseMatrix

MAX_ACCURACY_LOSS = 0.01  # a faster model that is wrong more often has not won
SPARSE = 0.3  # share of zeros from which a model counts as pruned


class CompetitionProfiler:
    """Measures a model on an event's data.

    Parameters
    ----------
    warmup_runs, timing_runs : int
    """

    def __init__(self, warmup_runs: int = 3, timing_runs: int = 10) -> None:
        if timing_runs < 2:
            raise ValueError(f"CompetitionProfiler: timing_runs must be at least 2, got {timing_runs}")
        self.warmup_runs, self.timing_runs = warmup_runs, timing_runs

    def benchmark_model(
        self,
        model: Any,
        dataset: Mapping[str, Any],
        baseline_model: Any = None,
        baseline_time: float | None = None,
    ) -> dict[str, Any]:
        """Seconds for the event's inputs, accuracy, and the gain over a baseline.

        Parameters
        ----------
        model : callable
        dataset : dict
            As `TinyMLPerf.load_benchmark` returns it.
        baseline_model : callable, optional
            Raced against the model, in turns: the sounder of the two ways.
        baseline_time : float, optional
            Seconds measured some other time, when there is no baseline to race against.
        """
        inputs, targets = dataset["inputs"], dataset["targets"]
        x = as_input(inputs)
        with no_grad():
            for _ in range(self.warmup_runs):
                model(x)
            race = timing.race(
                lambda: (baseline_model or model)(x), lambda: model(x), names=("baseline", "entry"),
                rounds=self.timing_runs, compare=False,
            )  # fmt: skip
        found = accuracy(model, inputs, targets)
        seconds = np.asarray(race.seconds[1])
        result = {
            "event": dataset["event"],
            "model_type": type(model).__name__,
            "input_shape": list(inputs.shape),
            "accuracy": found,
            "mean_inference_time": float(seconds.mean()),
            "std_inference_time": float(seconds.std(ddof=1)),
            "min_inference_time": float(seconds.min()),
            "max_inference_time": float(seconds.max()),
            "p95_inference_time": float(np.percentile(seconds, 95)),
            "profiling_method": "race against the baseline, in turns" if baseline_model else "repeated runs",
            "benchmark_timestamp": _now(),
            "machine": timing.machine(),
        }
        if baseline_model is not None:
            result["speedup_vs_baseline"] = race.ratio.value
            result["speedup_interval"] = [race.ratio.low, race.ratio.high]
            result["verdict"] = race.verdict
        elif baseline_time is not None:
            result["speedup_vs_baseline"] = baseline_time / float(np.median(seconds))
        return result


class TinyMLPerfCompetition:
    """Entries and leaderboards, kept in a folder.

    Parameters
    ----------
    results_dir : str or path
        Made when the first entry is kept.
    """

    def __init__(self, results_dir: str | Path = "tinymlperf_results") -> None:
        self.results_dir = Path(results_dir)
        self.tinymlperf = TinyMLPerf()
        events = self.tinymlperf
        self.profiler = CompetitionProfiler(events.profiler_warmup_runs, events.profiler_timing_runs)

    def submit_entry(
        self,
        team_name: str,
        event_name: str,
        optimized_model: Any,
        optimization_description: str = "",
        github_url: str = "",
    ) -> dict[str, Any]:
        """Race a model against the event's baseline, keep the result in a file and return it.

        An entry that is right less often than the baseline, by more than a point, is kept and not ranked.
        """
        if not team_name.strip():
            raise ValueError("submit_entry: team_name is empty; a leaderboard needs somebody to name")
        baseline, dataset = self.tinymlperf.load_benchmark(event_name)
        metrics = self.profiler.benchmark_model(optimized_model, dataset, baseline)
        needed = accuracy(baseline, dataset["inputs"], dataset["targets"]) - MAX_ACCURACY_LOSS
        timestamp = _now()
        name = hashlib.sha256(f"{team_name}{event_name}{timestamp}".encode()).hexdigest()[:6]
        entry = {
            "submission_id": f"{event_name}_{name}",
            "timestamp": timestamp,
            "team_name": team_name,
            "event_name": event_name,
            "optimization_description": optimization_description,
            "github_url": github_url,
            "performance_metrics": metrics,
            "speedup_score": metrics["speedup_vs_baseline"],
            "submission_time_ms": metrics["mean_inference_time"] * 1e3,
            "baseline_time_ms": metrics["mean_inference_time"] * metrics["speedup_vs_baseline"] * 1e3,
            "accuracy_kept": metrics["accuracy"] >= needed,
            **self._judge(optimized_model, optimization_description, metrics),
        }
        self.results_dir.mkdir(parents=True, exist_ok=True)
        path = self.results_dir / f"{entry['submission_id']}.json"
        path.write_text(json.dumps(entry, indent=1, ensure_ascii=False), encoding="utf-8")
        return entry

    def _judge(self, model: Any, description: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """What a competition notes besides speed and accuracy."""
        return {}

    def entries(self, event_name: str) -> list[dict[str, Any]]:
        """All entries of an event, the best first; those that lost accuracy are last.

        Raises
        ------
        ValueError
            When they were measured on unlike machines, and so can't be ranked together.
        """
        find_event(event_name)
        found = [entry for entry in self._read() if entry["event_name"] == event_name]
        machines = {
            tuple(str(entry["performance_metrics"]["machine"].get(key)) for key in COMPARABLE)
            for entry in found
        }
        if len(machines) > 1:
            raise ValueError(
                f"leaderboard of {event_name}: its entries come from {len(machines)} unlike machines or "
                "numbers of threads, and a rank would be the machine's; keep a folder for each machine"
            )
        return sorted(found, key=lambda entry: (not entry["accuracy_kept"], -entry["speedup_score"]))

    def display_leaderboard(self, event_name: str, top_n: int = 10) -> None:
        """Print an event's best entries."""
        print(self._table(event_name, self.entries(event_name)[:top_n], "speedup_score"))

    def display_all_leaderboards(self) -> None:
        """Print every event's."""
        for event_name in EVENTS:
            self.display_leaderboard(event_name)
            print()

    def get_team_progress(self, team_name: str) -> dict[str, list[dict[str, Any]]]:
        """A team's entries for each event, the oldest first."""
        own = sorted(
            (entry for entry in self._read() if entry["team_name"] == team_name),
            key=lambda entry: entry["timestamp"],
        )
        return {name: [entry for entry in own if entry["event_name"] == name] for name in EVENTS}

    def _read(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.results_dir.glob("*.json")):
            try:
                entry = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError:
                raise ValueError(f"{path} is not JSON, or cut short; remove it, and submit again") from None
            if isinstance(entry, dict) and "submission_id" in entry:
                yield entry

    def _table(self, event_name: str, entries: list[dict[str, Any]], score: str) -> str:
        rows = [
            (
                entry["team_name"],
                f"{entry[score]:.3g}" + ("×" if score == "speedup_score" else ""),
                f"{100 * entry['performance_metrics']['accuracy']:.1f} %",
                "" if entry["accuracy_kept"] else "not ranked: accuracy lost",
            )
            for entry in entries
        ]
        title = f"{event_name}: {EVENTS[event_name].description}"
        return f"{title}\n{_text.table(('team', score.replace('_', ' '), 'accuracy', ''), rows)}"


class InnovationDetector:
    """Finds the techniques in a model's own arrays. Words in a description count for nothing."""

    techniques = ("quantization", "pruning", "compression")

    def analyze_innovation(self, model: Any, optimization_description: str = "") -> dict[str, Any]:
        """What was found, and what the description names and the model does not show.

        Returns
        -------
        dict
            ``detected_techniques``, ``num_techniques``, ``innovation_score`` (the share of the known
            techniques that were found), ``unsupported_claims``.
        """
        parts = list(_parts(model))
        weights = [part for part in parts if isinstance(part, np.ndarray) and part.ndim >= 2]
        size = sum(array.size for array in weights)
        zeros = sum(int((array == 0).sum()) for array in weights)
        found = []
        if any(isinstance(part, PackedInt8 | PackedInt4) for part in parts) or any(
            array.dtype in (np.int8, np.uint8) for array in weights
        ):
            found.append("quantization")
        if size and zeros / size >= SPARSE:
            found.append("pruning")
        if any(isinstance(part, SparseMatrix) for part in parts):
            found.append("compression")
        named = [name for name in self.techniques if name[:5] in optimization_description.lower()]
        return {
            "detected_techniques": found,
            "num_techniques": len(found),
            "innovation_score": len(found) / len(self.techniques),
            "unsupported_claims": [name for name in named if name not in found],
        }

    def generate_innovation_report(self, analysis: Mapping[str, Any]) -> str:
        """The analysis as text."""
        lines = ["Found in the model: " + (", ".join(analysis["detected_techniques"]) or "none")]
        if analysis["unsupported_claims"]:
            lines.append("Named, not found: " + ", ".join(analysis["unsupported_claims"]))
        return "\n".join(lines)


def _parts(thing: Any, depth: int = 4) -> Iterator[Any]:
    """A model and what it is made of: attributes, items of lists and of dicts."""
    yield thing
    if depth == 0 or isinstance(thing, (np.ndarray, str, int, float, bool, type(None))):
        return
    slots = [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    held = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else ()
    for part in (*getattr(thing, "__dict__", {}).values(), *slots, *held):
        yield from _parts(part, depth - 1)


class TinyMLPerfCompetitionPlus(TinyMLPerfCompetition):
    """A competition that also looks at how the speed was reached.

    ``composite_score`` is 0.7 of the speed-up's logarithm to base 2 and 0.3 of the innovation score.
    """

    def __init__(self, results_dir: str | Path = "tinymlperf_results") -> None:
        super().__init__(results_dir)
        self.detector = InnovationDetector()

    def _judge(self, model: Any, description: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
        analysis = self.detector.analyze_innovation(model, description)
        speed = float(np.log2(metrics["speedup_vs_baseline"]))
        return {
            "innovation_analysis": analysis,
            "innovation_score": analysis["innovation_score"],
            "composite_score": 0.7 * speed + 0.3 * analysis["innovation_score"],
        }

    def display_innovation_leaderboard(self, event_name: str, top_n: int = 10) -> None:
        """Print the entries that use most techniques."""
        self._display_by("innovation_score", event_name, top_n)

    def display_composite_leaderboard(self, event_name: str, top_n: int = 10) -> None:
        """Print the entries by both."""
        self._display_by("composite_score", event_name, top_n)

    def display_all_enhanced_leaderboards(self) -> None:
        """Print every event's leaderboard by both."""
        for event_name in EVENTS:
            self.display_composite_leaderboard(event_name)
            print()

    def _display_by(self, score: str, event_name: str, top_n: int) -> None:
        entries = [entry for entry in self.entries(event_name) if score in entry]
        entries.sort(key=lambda entry: (not entry["accuracy_kept"], -entry[score]))
        print(self._table(event_name, entries[:top_n], score))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")
