"""Where one function overtakes another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import intervals
from tinytorch.intervals import CONFIDENCE
from tinytorch.quantities import Measured
from tinytorch.timing.races import Race, race
from tinytorch.timing.samples import Call


@dataclass(frozen=True)
class Breakeven:
    """From which size on the second function is faster.

    Attributes
    ----------
    sizes : the sizes raced, ascending
    races : the race at each size
    status : ``"crosses"`` (inside the sizes), ``"always"`` (at every size raced), ``"never"`` (at none of the
    largest), or
        ``"undecided"`` (the interval reaches past an end)
    pays_from : the crossing with its interval; a bound when the interval reaches past an end, None when never
    or when nothing
        can be said
    """

    sizes: tuple[float, ...]
    races: tuple[Race, ...]
    status: str
    pays_from: Measured | None

    @property
    def answer(self) -> Measured | str:
        """The crossing, or in words why there is none."""
        if self.pays_from is not None:
            return self.pays_from
        return "at no size raced" if self.status == "never" else "undecided"


def breakeven(
    make_a: Callable[[Any], Call],
    make_b: Callable[[Any], Call],
    sizes: Sequence[float],
    *,
    unit: str = "",
    refine: int = 2,
    step: float = 1,
    scale: str = "log",
    confidence: float = CONFIDENCE,
    claims: int = 1,
    **options: Any,
) -> Breakeven:
    """Find the size from which `make_b(size)` is faster than `make_a(size)` for good.

    Both are raced at every size; then `refine` further sizes halve the bracket around the last crossing. The
    crossing is interpolated, and its interval is a bootstrap over all the races at once.

    Parameters
    ----------
    make_a, make_b : size → function of no arguments
    sizes : ascending numbers
    unit : str
        What a size counts, for the record.
    step : number
        Sizes in between are rounded to a multiple of this.
    scale : {"log", "linear"}
        How to interpolate and to halve.
    **options
        Those of `race`.
    """
    if len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"breakeven: needs two or more sizes in ascending order, got {list(sizes)}")
    if scale not in ("log", "linear"):
        raise ValueError(f"breakeven: scale must be 'log' or 'linear', got {scale!r}")

    def run(size: float) -> Race:
        return race(make_a(size), make_b(size), confidence=confidence, claims=claims, **options)

    races = {size: run(size) for size in sizes}
    for _ in range(refine):
        middle = _bracket_middle(races, step, scale)
        if middle is None:
            break
        races[middle] = run(middle)
    return locate(races, unit=unit, scale=scale, confidence=intervals.corrected(confidence, claims))


def _bracket_middle(races: Mapping[float, Race], step: float, scale: str) -> float | None:
    """A new size halfway through the last crossing, None when there is no crossing or no room in it."""
    sizes = sorted(races)
    slow = [index for index, size in enumerate(sizes) if races[size].ratio.value <= 1.0]
    if not slow or slow[-1] == len(sizes) - 1:
        return None
    below, above = sizes[slow[-1]], sizes[slow[-1] + 1]
    middle = math.sqrt(below * above) if scale == "log" else (below + above) / 2
    middle = round(middle / step) * step
    return middle if below < middle < above else None


def locate(
    races: Mapping[float, Race], *, unit: str = "", scale: str = "log", confidence: float = CONFIDENCE
) -> Breakeven:
    """Where the ratio of races at several sizes crosses 1 for good, with a bootstrap interval."""
    sizes = sorted(races)
    positions = np.log(sizes) if scale == "log" else np.asarray(sizes, dtype=np.float64)
    ratios = [_log_ratios(races[size]) for size in sizes]
    fewest = min(len(logs) for logs in ratios)
    if fewest < 2:
        raise ValueError(
            "breakeven: one round at a size gives no interval; leave rounds to the default, or ask for more"
        )
    resamples = intervals.resamples_for(confidence, fewest)
    medians = np.stack(
        [intervals.resampled(logs, resamples, seed=index) for index, logs in enumerate(ratios)], axis=1
    )
    crossings = _crossings(positions, medians)
    tail = intervals.tail_share(confidence, fewest)
    # Order statistics, not interpolation: some crossings are infinite.
    low, value, high = np.quantile(crossings, [tail, 0.5, 1.0 - tail], method="nearest")
    n = sum(len(logs) for logs in ratios)
    ordered = tuple(races[size] for size in sizes)

    whole = all(float(size).is_integer() for size in sizes)

    def size_at(position: float) -> float:
        size = float(np.exp(position)) if scale == "log" else float(position)
        return float(math.ceil(size - 1e-9)) if whole else size

    if math.isinf(high) and high < 0:
        return Breakeven(tuple(sizes), ordered, "always", Measured(sizes[0], unit, n=n, bound="≤"))
    if math.isinf(low) and low > 0:
        return Breakeven(tuple(sizes), ordered, "never", None)
    if math.isfinite(low) and math.isfinite(high):
        crossing = Measured(size_at(value), unit, size_at(low), size_at(high), n)
        return Breakeven(tuple(sizes), ordered, "crosses", crossing)
    bound = None
    if math.isfinite(high):
        bound = Measured(size_at(high), unit, n=n, bound="≤")
    elif math.isfinite(low):
        bound = Measured(size_at(low), unit, n=n, bound="≥")
    return Breakeven(tuple(sizes), ordered, "undecided", bound)


def _log_ratios(result: Race) -> np.ndarray:
    return np.log(result.seconds[0]) - np.log(result.seconds[1])


def _crossings(positions: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Where each row of log ratios stays above 0 from: −inf for from the start, +inf for not at the end."""
    count = positions.size
    below = logs <= 0
    last = np.where(below.any(axis=1), count - 1 - np.argmax(below[:, ::-1], axis=1), -1)
    inside = np.clip(last, 0, count - 2)
    rows = np.arange(logs.shape[0])
    left, right = logs[rows, inside], logs[rows, inside + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = positions[inside] + (positions[inside + 1] - positions[inside]) * -left / (right - left)
    return np.where(last == -1, -np.inf, np.where(last == count - 1, np.inf, found))
