"""Timing that a sceptic can accept: races, break-even points and this machine's ceilings.

How a race is run, and why:

- The contenders take turns (A B B A …), so that a machine that slows down slows both; the *ratio within a
  round* is what counts. Running all of A and then all of B would credit the drift to one of them.
- How often each round repeats a short function, and how many rounds there are, is fixed before the first
  sample that counts. Nothing is run again until it passes.
- The estimate is the median of the rounds' ratios, its interval an expanded percentile bootstrap with a fixed
  seed; with too few rounds for that (`rounds_needed`), Student's t on the logarithms, which is wider.
- Racing a function against itself gives the noise floor. A verdict needs the whole interval beyond it.
- Many claims in one report make one of them false sooner; `claims` widens every interval accordingly
  (Bonferroni).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.metadata
import itertools
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import intervals, kernels
from tinytorch.intervals import CONFIDENCE
from tinytorch.quantities import Measured

Clock = Callable[[], int]
Call = Callable[[], Any]

SAMPLE_SECONDS = 0.002  # a sample this long makes the clock's own cost (about 50 ns) vanish
MAX_ROUNDS = 200


# ---- records ----


def measured(samples: Sequence[float] | np.ndarray, unit: str, confidence: float = CONFIDENCE) -> Measured:
    """The median of positive samples, such as times or ratios, with its interval (on a logarithmic scale)."""
    logs = np.log(np.asarray(samples, dtype=np.float64))
    value = math.exp(float(np.median(logs)))
    if logs.size == 1:
        return Measured(value, unit)
    low, high = intervals.interval(logs, confidence)
    return Measured(value, unit, math.exp(low), math.exp(high), logs.size)


def machine() -> dict[str, Any]:
    """What a timing depends on: CPU, its level, threads, versions. No host and no user."""
    info = kernels.cpu_info()
    try:
        version = importlib.metadata.version("tinytorch")
    except importlib.metadata.PackageNotFoundError:  # used from a folder, without installing it
        version = "not installed"
    return {
        "cpu": info.get("model", ""),
        "architecture": platform.machine(),
        "level": info.get("level", ""),
        "cores": info.get("cores"),
        "threads": kernels.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tinytorch": version,
    }


@dataclass(frozen=True)
class Race:
    """Two functions raced against each other, with every sample.

    Attributes
    ----------
    names : the baseline's and the contender's name
    seconds : seconds for one call, one entry for each round, for each of the two
    repeats : calls behind one sample, for each of the two
    ratio : time of the baseline / time of the contender, so above 1 the contender is faster
    noise : the ratio that this machine reports for identical code; a verdict needs the interval beyond it
    verdict : of the contender: ``"faster"``, ``"slower"`` or ``"undecided"``
    """

    names: tuple[str, str]
    seconds: tuple[tuple[float, ...], tuple[float, ...]]
    repeats: tuple[int, int]
    ratio: Measured
    noise: float
    verdict: str
    confidence: float
    machine: dict[str, Any]


@dataclass(frozen=True)
class Races:
    """Several functions raced round-robin, with every sample; `between` judges any two of them."""

    seconds: dict[str, tuple[float, ...]]
    repeats: dict[str, int]
    noise: float
    confidence: float
    machine: dict[str, Any]

    def time(self, name: str) -> Measured:
        """Seconds for one call."""
        return measured(self.seconds[name], "s", self.confidence)

    def rate(self, name: str, work: float, unit: str) -> Measured:
        """`work` for one call (in the unit's numerator: 1e9 operations for GFLOP/s) divided by its time."""
        return measured(work / np.asarray(self.seconds[name]), unit, self.confidence)

    def between(self, baseline: str, contender: str) -> Race:
        """The race of `contender` against `baseline`, from the rounds that both ran in."""
        seconds = (self.seconds[baseline], self.seconds[contender])
        ratio = measured(np.divide(*seconds), "×", self.confidence)
        return Race(
            (baseline, contender),
            seconds,
            (self.repeats[baseline], self.repeats[contender]),
            ratio,
            self.noise,
            verdict(ratio, self.noise),
            self.confidence,
            self.machine,
        )


def verdict(ratio: Measured, noise: float = 1.0) -> str:
    """``"faster"`` or ``"slower"`` when the whole interval is beyond the noise, else ``"undecided"``."""
    if ratio.low is None or ratio.high is None:
        return "undecided"
    if ratio.low > noise:
        return "faster"
    return "slower" if ratio.high < 1.0 / noise else "undecided"


# ---- racing ----


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    """No garbage collection inside a sample: it would bill one contender for the other's garbage."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _elapsed(call: Call, repeats: int, clock: Clock) -> int:
    turns = itertools.repeat(None, repeats)
    start = clock()
    for _ in turns:
        call()
    return clock() - start


def _calibrate(call: Call, sample_seconds: float, clock: Clock) -> tuple[int, float]:
    """How many calls fill one sample, and how long that took; also warms the call up."""
    target = sample_seconds * 1e9
    repeats = 1
    nanoseconds = _elapsed(call, 1, clock)
    while True:
        # The shorter of two: a call that was interrupted must not pass for a long one.
        nanoseconds = min(nanoseconds, _elapsed(call, repeats, clock))
        if nanoseconds >= target or repeats >= 2**20:
            return repeats, nanoseconds / 1e9
        grow = target / max(nanoseconds, 1) * 1.1
        repeats = max(repeats + 1, math.ceil(repeats * min(grow, 16.0)))
        nanoseconds = _elapsed(call, repeats, clock)


def wait_until_idle(at_most: float = 0.2) -> float:
    """Sleep until no thread of this process works or spins any more; returns how many seconds that took."""
    start = time.perf_counter()
    busy = True
    while busy and time.perf_counter() - start < at_most:
        worked, since = time.process_time(), time.perf_counter()
        time.sleep(0.01)  # longer than a tick of the scheduler, in which CPU time may be counted
        busy = time.process_time() - worked > 0.1 * (time.perf_counter() - since)
    return time.perf_counter() - start


def race_many(
    contenders: Mapping[str, Call],
    *,
    seconds: float = 1.0,
    rounds: int | None = None,
    repeats: Mapping[str, int] | None = None,
    sample_seconds: float = SAMPLE_SECONDS,
    confidence: float = CONFIDENCE,
    claims: int = 1,
    noise: float = 1.0,
    settle: bool = False,
    clock: Clock = time.perf_counter_ns,
) -> Races:
    """Race several functions, in turn within each round, every other round in reverse order.

    Parameters
    ----------
    contenders : name → function of no arguments
        Give all the same courtesy: warm buffers, ``out=``, packed weights, the same threads.
    seconds : float
        About how long the rounds may take altogether. Confidence comes first: at least `rounds_needed` rounds
        are run.
    rounds : int, optional
        Exactly this many rounds instead.
    repeats : name → int, optional
        Calls behind one sample. A name listed here is neither warmed up nor calibrated (for functions that
        take seconds).
    sample_seconds : float
        How long one sample should take; shorter functions are repeated until it does.
    claims : int
        How many statements the report makes (intervals are widened accordingly).
    noise : float
        The noise floor, a ratio ≥ 1; see `noise_floor`.
    settle : bool
        Before each sample wait until this process is idle, then call once untimed. For contenders with thread
        pools of their own: a pool's threads spin for a while after its last call, on the next one's CPUs.
    clock : function
        Returns nanoseconds.

    Raises
    ------
    ValueError
        With fewer than two contenders, or without time to run them.
    """
    if len(contenders) < 2:
        raise ValueError(f"race_many: a race needs at least two contenders, got {list(contenders)}")
    if rounds is not None and rounds < 1:
        raise ValueError(f"race_many: rounds must be at least 1, got {rounds}")
    confidence = intervals.corrected(confidence, claims)
    fixed = dict(repeats or {})
    with _collector_off():
        calibrated: dict[str, tuple[int, float]] = {}
        one_round = 0.0
        for name, call in contenders.items():
            if name not in fixed:
                calibrated[name] = _calibrate(call, sample_seconds, clock)
                one_round += calibrated[name][1]
            if settle:
                one_round += wait_until_idle()
        counts = {name: fixed.get(name) or calibrated[name][0] for name in contenders}
        if rounds is None:
            rounds = int(
                min(max(seconds / max(one_round, 1e-9), intervals.rounds_needed(confidence)), MAX_ROUNDS)
            )
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        order = list(contenders)
        for _ in range(rounds):
            for name in order:
                if settle:
                    wait_until_idle()
                    contenders[name]()
                # A clock that saw no time pass cannot tell: one nanosecond keeps the ratio defined.
                nanoseconds = max(_elapsed(contenders[name], counts[name], clock), 1)
                samples[name].append(nanoseconds / 1e9 / counts[name])
            order.reverse()
    return Races(
        {name: tuple(times) for name, times in samples.items()}, counts, noise, confidence, machine()
    )


def race(a: Call, b: Call, *, names: tuple[str, str] = ("a", "b"), **options: Any) -> Race:
    """Race two functions; the ratio says how many times faster `b` is than `a`.

    Takes the options of `race_many`.

    Examples
    --------
    >>> result = race(lambda: sum(range(1000)), lambda: sum(range(10)), seconds=0.05)
    >>> result.verdict
    'faster'
    """
    if names[0] == names[1]:
        raise ValueError(f"race: the two need different names, both are {names[0]!r}")
    return race_many({names[0]: a, names[1]: b}, **options).between(*names)


def noise_floor(call: Call, **options: Any) -> tuple[float, Race]:
    """Race `call` against itself.

    Returns
    -------
    noise : float
        The largest ratio in that race's interval, either way up: what identical code may show on this machine
        right now.
    race : Race
        The race itself, for the record.
    """
    result = race(call, lambda: call(), names=("same", "same again"), **options)
    low, high = result.ratio.low, result.ratio.high
    if low is None or high is None:
        raise ValueError("noise_floor: one round shows no noise; leave rounds to the default")
    return max(high, 1.0 / low, 1.0), result


# ---- break-even ----


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


# ---- ceilings ----


def _best_rate(run: Callable[[int], float], unit: str, seconds: float, clock: Clock) -> Measured:
    """Best of several runs, for whatever disturbs a ceiling lowers it. The interval spans median to best."""
    amount = 1
    while True:
        elapsed = min(_elapsed(functools.partial(run, amount), 1, clock) for _ in range(3))
        if elapsed >= seconds * 1e9 / 60 or amount >= 2**40:
            break
        amount *= 2 if elapsed < 1000 else max(2, min(int(seconds * 1e9 / 50 / elapsed), 1000))
    rates: list[float] = []
    with _collector_off():
        deadline = clock() + seconds * 1e9
        while len(rates) < 5 or clock() < deadline:
            start = clock()
            work = run(amount)
            rates.append(work / max(clock() - start, 1))
    best = max(rates)
    return Measured(best, unit, float(np.median(rates)), best, len(rates))


def measure_peak(threads: int = 1, *, seconds: float = 0.3, clock: Clock = time.perf_counter_ns) -> Measured:
    """The arithmetic ceiling in GFLOP/s: multiply-adds on registers alone, at the CPU level in use.

    Parameters
    ----------
    threads : int
        How many run at once.
    """
    with ThreadPoolExecutor(threads) as pool:
        return _best_rate(
            lambda iterations: sum(pool.map(kernels.run_fma, [iterations] * threads)),
            "GFLOP/s",
            seconds,
            clock,
        )


def measure_bandwidth(
    array_bytes: int | None = None, *, seconds: float = 0.3, clock: Clock = time.perf_counter_ns
) -> Measured:
    """How fast one thread reads an array, in GB/s.

    Parameters
    ----------
    array_bytes : int, optional
        Size of the array; the default is several times the last cache level, so that main memory answers.
    """
    if array_bytes is None:
        caches = kernels.cpu_info().get("caches") or {}
        array_bytes = min(max(4 * max(caches.values(), default=0), 64 * 2**20), 512 * 2**20)
    array = np.ones(max(array_bytes // 4, 1), dtype=np.float32)

    def run(passes: int) -> float:
        kernels.run_read(array, passes)
        return float(passes * array.nbytes)

    return _best_rate(run, "GB/s", seconds, clock)
