"""A model layer by layer: time, operations and bytes of each, and what they add up to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import _text, intervals, timing
from tinytorch.autograd.engine import no_grad
from tinytorch.module import Module
from tinytorch.profiling import rooflines
from tinytorch.profiling.counting import layer_flops, own_parameters, run_watched, traced_peak
from tinytorch.profiling.rooflines import Roofline
from tinytorch.profiling.watching import LayerCall, watch
from tinytorch.quantities import Measured

WARMUP = 2
SHORTEST = 1e-9  # seconds: a layer in which no clock saw time pass has no logarithm


@dataclass(frozen=True)
class LayerRow:
    """One layer of a forward pass; layers inside it have rows of their own.

    Attributes
    ----------
    parameters, flops, moved_bytes : int
        Numbers it learns; operations; bytes it has to move at least (inputs, parameters and output, once).
    seconds, share : Measured
        Its time, and the percentage of all rows' time that this is.
    """

    name: str
    kind: str
    parameters: int
    flops: int
    moved_bytes: int
    seconds: Measured
    share: Measured

    @property
    def speed(self) -> Measured | None:
        """GFLOP/s; None where nothing is computed."""
        return _rate(self.flops / 1e9, self.seconds, "GFLOP/s") if self.flops else None


@dataclass(frozen=True)
class LayerTable:
    """Where the time of a forward pass goes.

    Attributes
    ----------
    rows : tuple of LayerRow
        In the order in which layers begin. The model's own row is what its code takes outside its layers.
    whole : Measured
        Seconds of a pass that nobody watches.
    added_up : Measured
        The rows' times added up, in percent of an unwatched pass: how far the rows can be trusted.
    peak_bytes : Measured
        Most that a pass held at once, parameters left out.
    samples : dict
        Each row's seconds in each watched pass.
    """

    rows: tuple[LayerRow, ...]
    whole: Measured
    added_up: Measured
    peak_bytes: Measured
    samples: dict[str, list[float]]
    machine: dict[str, Any]

    def share(self, name: str) -> Measured:
        """The percentage that a layer takes together with all layers inside it.

        Raises
        ------
        ValueError
            With the names of the layers, when there is none of this name.
        """
        inside = [key for key in self.samples if key == name or key.startswith(f"{name}.")]
        if not inside:
            raise ValueError(f"no layer is called {name!r}; there are {', '.join(self.samples)}")
        if name == self.rows[0].name:
            inside = list(self.samples)
        part = np.sum([self.samples[key] for key in inside], axis=0)
        return _share(part, np.sum(list(self.samples.values()), axis=0))

    def rooflines(self) -> list[Roofline]:
        """Every layer that computes, under the ceilings of this machine."""
        return [
            rooflines.place(row.name, row.flops, row.moved_bytes, row.speed)
            for row in self.rows
            if row.speed is not None
        ]

    def __str__(self) -> str:
        header = ("layer", "kind", "parameters", "MFLOP", "KiB moved", "time", "share", "GFLOP/s")
        rows = [
            (
                row.name,
                row.kind,
                f"{row.parameters:,}",
                f"{row.flops / 1e6:,.3g}",
                f"{row.moved_bytes / 1024:,.0f}",
                row.seconds,
                row.share,
                f"{row.speed.value:.3g}" if row.speed else "–",
            )
            for row in self.rows
        ]
        return (
            f"{_text.table(header, rows)}\n"
            f"A pass takes {self.whole}; the rows add up to {self.added_up} of that.\n"
            f"Memory at the peak: {self.peak_bytes}, parameters left out."
        )


def profile_layers(
    model: Module,
    x: Any,
    *,
    seconds: float = 1.0,
    rounds: int | None = None,
    confidence: float = intervals.CONFIDENCE,
) -> LayerTable:
    """Time every layer of a forward pass, without a graph.

    Passes with and without watching take turns, so that the table can say how well the rows add up.

    Parameters
    ----------
    model : Module
        In the mode it is in: `model.eval()` first, where dropout or batch norm should not act as in training.
    x : Tensor or array
        One batch.
    seconds : float
        About how long this may take, beyond the fewest rounds that give an interval.
    rounds : int, optional
        Exactly this many passes of each kind instead.
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"profile_layers: watches the layers of a Module, got {type(model).__name__}; "
            "race a plain function with timing.race"
        )
    if rounds is not None and rounds < 1:
        raise ValueError(f"profile_layers: rounds must be at least 1, got {rounds}")
    with no_grad():
        last = max(_pass(model, x) for _ in range(WARMUP))
        if rounds is None:
            fewest = intervals.rounds_needed(confidence)
            rounds = int(min(max(seconds / (2 * last), fewest), timing.MAX_ROUNDS))
        calls = sorted(run_watched(model, x), key=lambda call: call.start)
        plain, passes = [], []
        for number in range(rounds):
            for watched in (False, True) if number % 2 == 0 else (True, False):
                if watched:
                    passes.append(_layer_seconds(model, x))
                else:
                    plain.append(_pass(model, x))
        peak = traced_peak(lambda: model(x))
    return _tabulate(calls, plain, passes, peak, confidence)


def _pass(model: Module, x: Any) -> float:
    start = time.perf_counter()
    model(x)
    return time.perf_counter() - start


def _layer_seconds(model: Module, x: Any) -> dict[str, float]:
    """Each layer's time. No output is kept: that would keep its memory from being used again."""
    seconds: dict[str, float] = defaultdict(float)

    def see(call: LayerCall) -> None:
        seconds[call.name] += call.seconds

    with watch(model, see):
        model(x)
    return seconds


def _tabulate(
    calls: list[LayerCall],
    plain: list[float],
    passes: list[dict[str, float]],
    peak: int,
    confidence: float,
) -> LayerTable:
    samples = {call.name: [seconds[call.name] for seconds in passes] for call in calls}
    wholes = np.sum(list(samples.values()), axis=0)
    return LayerTable(
        tuple(_row(name, calls, samples[name], wholes, confidence) for name in samples),
        timing.measured(plain, "s", confidence),
        timing.measured(wholes / np.asarray(plain), "×", confidence).scaled(100, "%"),
        Measured.count(peak, "B"),
        samples,
        timing.machine(),
    )


def _row(
    name: str, calls: list[LayerCall], seconds: list[float], wholes: np.ndarray, confidence: float
) -> LayerRow:
    runs = [call for call in calls if call.name == name]
    module = runs[0].module
    parameters = own_parameters(module)
    return LayerRow(
        name,
        type(module).__name__,
        sum(parameter.data.size for parameter in parameters),
        sum(layer_flops(call) for call in runs),
        sum(call.moved_bytes for call in runs) + sum(parameter.data.nbytes for parameter in parameters),
        timing.measured(np.maximum(seconds, SHORTEST), "s", confidence),
        _share(np.asarray(seconds), wholes, confidence),
    )


def _share(
    part: np.ndarray, whole: np.ndarray | Sequence[float], confidence: float = intervals.CONFIDENCE
) -> Measured:
    """Percentages, which unlike times may be 0, so their interval is not taken on a logarithmic scale."""
    shares = 100 * np.asarray(part) / np.asarray(whole)
    value = float(np.median(shares))
    if shares.size == 1:
        return Measured(value, "%")
    low, high = intervals.interval(shares, confidence)
    return Measured(value, "%", max(low, 0.0), min(high, 100.0), shares.size)


def _rate(work: float, seconds: Measured, unit: str) -> Measured:
    """`work` divided by a time: the ends of the interval change places."""
    low = None if seconds.high is None else work / seconds.high
    high = None if seconds.low is None else work / seconds.low
    return Measured(work / seconds.value, unit, low, high, seconds.n)
