"""Races between functions that do the same job."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import intervals
from tinytorch.intervals import CONFIDENCE
from tinytorch.quantities import Measured
from tinytorch.timing.samples import Call, Clock, collector_off, elapsed, machine, measured

SAMPLE_SECONDS = 0.002  # a sample this long makes the clock's own cost (about 50 ns) vanish
MAX_ROUNDS = 200
SAME_RESULT = 1e-2  # relative; float32 rounds to 1e-7, and the sums of a large product to 1e-5


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


def _calibrate(call: Call, sample_seconds: float, clock: Clock) -> tuple[int, float, Any]:
    """How many calls fill one sample, how long that took, and the first result; also warms the call up."""
    target = sample_seconds * 1e9
    repeats = 1
    start = clock()
    result = _as_array(call())
    nanoseconds = clock() - start
    while True:
        # The shorter of two: a call that was interrupted must not pass for a long one.
        nanoseconds = min(nanoseconds, elapsed(call, repeats, clock))
        if nanoseconds >= target or repeats >= 2**20:
            return repeats, nanoseconds / 1e9, result
        grow = target / max(nanoseconds, 1) * 1.1
        repeats = max(repeats + 1, math.ceil(repeats * min(grow, 16.0)))
        nanoseconds = elapsed(call, repeats, clock)


def _as_array(result: Any) -> np.ndarray | None:
    """A copy of the array, or of a tensor's; None for results that cannot be compared."""
    array = result if isinstance(result, np.ndarray) else getattr(result, "data", None)
    return array.astype(np.float64) if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" else None


def _compare(results: Mapping[str, np.ndarray | None]) -> None:
    """Warn of results that are not those of the first contender."""
    (first, expected), *others = results.items() or [("", None)]
    for name, found in others:
        if expected is None or found is None:
            continue
        if found.shape != expected.shape:
            how = f"of shapes {expected.shape} and {found.shape}"
        else:
            scale = max(float(np.linalg.norm(expected)), np.finfo(float).tiny)
            difference = float(np.linalg.norm(found - expected)) / scale
            if difference <= SAME_RESULT:
                continue
            how = f"that lie {100 * difference:.2g} % of the first apart"
        warnings.warn(
            f"race: {first!r} and {name!r} return different results, {how}; who computes something else has "
            "not won. Make them agree, or say compare=False if they differ by design",
            stacklevel=4,
        )


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
    compare: bool = True,
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
    compare : bool
        Warn of contenders whose first results differ from the first contender's, where both are arrays:
        who computes something else has not won. Off for those that round differently by design.
    clock : function
        Returns nanoseconds.

    Raises
    ------
    ValueError
        With fewer than two contenders, or without time to run them.

    Warns
    -----
    UserWarning
        Of results that differ.
    """
    if len(contenders) < 2:
        raise ValueError(f"race_many: a race needs at least two contenders, got {list(contenders)}")
    for name, call in contenders.items():
        if not callable(call):
            raise TypeError(
                f"race_many: {name!r} must be a function of no arguments, got {type(call).__name__}; "
                "wrap the call: lambda: f(x), not f(x)"
            )
    if rounds is not None and rounds < 1:
        raise ValueError(f"race_many: rounds must be at least 1, got {rounds}")
    confidence = intervals.corrected(confidence, claims)
    fixed = dict(repeats or {})
    with collector_off():
        calibrated: dict[str, tuple[int, float, Any]] = {}
        one_round = 0.0
        for name, call in contenders.items():
            if name not in fixed:
                calibrated[name] = _calibrate(call, sample_seconds, clock)
                one_round += calibrated[name][1]
            if settle:
                one_round += wait_until_idle()
        if compare:
            _compare({name: result for name, (_, _, result) in calibrated.items()})
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
                nanoseconds = max(elapsed(contenders[name], counts[name], clock), 1)
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
