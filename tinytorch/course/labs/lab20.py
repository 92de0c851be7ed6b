"""Lab 20, benchmarking: what the student's race, interval, verdict and leaderboard have to do.

No clock decides: races run on a clock that the checks wind themselves, and samples are drawn from a machine
whose true ratio is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import timing
from tinytorch.course.checks import Lab, choice, close, expect, expect_error, same
from tinytorch.course.subject import Subject
from tinytorch.quantities import Measured

lab = Lab(20, "Benchmarking: a claim that somebody else can check")

ABOUT = {"cpu": "A", "threads": 2, "python": "3.12", "numpy": "2.0", "tinytorch": "1.0"}


# --- a race ------------------------------------------------------------------------------------------------


class World:
    """A clock that only moves when something happens: calls, and the reading of the clock itself."""

    def __init__(self, costs: dict[str, Callable[[int], float]], tick: float = 0.0, reading: float = 0.0):
        self.costs, self.tick, self.reading = costs, tick, reading
        self.now = 1000.0
        self.calls: list[str] = []
        self.spent: list[float] = []

    def clock(self) -> float:
        self.now += self.reading
        return math.floor(self.now / self.tick) * self.tick if self.tick else self.now

    def contender(self, name: str) -> Callable[[], None]:
        def call() -> None:
            spent = self.costs[name](len(self.calls))
            self.calls.append(name)
            self.spent.append(spent)
            self.now += spent

        return call

    def race(self, race: Subject, rounds: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
        """The student's race, run in this world."""
        result = race(self.contender("a"), self.contender("b"), rounds, repeats, self.clock)
        expect(
            isinstance(result, (tuple, list)) and len(result) == 2,
            f"race should give two arrays, the seconds of a and those of b, and gives {_kind(result)}",
        )
        return result[0], result[1]


def _kind(value: Any) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (tuple, list)) else repr(value)


@lab.add("race", points=3)
def check_race(race: Subject, *, rng: np.random.Generator) -> None:
    """In a race the two take turns, warm and often enough for the clock."""
    a, b = (float(cost) for cost in rng.uniform(1, 3, 2))
    # The first two calls are cold, and the machine slows down all the time.
    world = World({"a": lambda i: a * (1 + i / 10), "b": lambda i: b * (1 + i / 10)})
    found = world.race(race, 6, 1)
    _check_turns(world.calls, rounds=6, repeats=1)
    _check_times(found, world, rounds=6, repeats=1)

    world = World({"a": lambda i: 50.0 if i < 2 else a, "b": lambda i: 50.0 if i < 2 else b})
    hint = "the first call of each fills caches and buffers; make it before the rounds, and don't time it"
    for name, seconds, cost in zip("ab", world.race(race, 5, 1), (a, b), strict=True):
        close(f"the seconds of {name}, whose first call takes 50 s and each further one {cost:.3g} s,",
              seconds, np.full(5, cost), hint)  # fmt: skip

    world = World({"a": lambda i: 0.3 + a / 10, "b": lambda i: 0.3 + b / 10}, tick=1.0, reading=0.2)
    found = world.race(race, 4, 25)
    _check_turns(world.calls, rounds=4, repeats=25)
    hint = "one reading before all `repeats` calls and one after them, divided by `repeats`: the clock ticks "
    hint += "in whole seconds here, and reading it takes time as well"
    for name, seconds in zip("ab", found, strict=True):
        cost = world.costs[name](0)
        wanted = np.full(4, cost)
        close(f"the seconds for one call of {name} on a coarse clock", seconds, wanted, hint, atol=1.3 / 25)


def _check_turns(calls: list[str], rounds: int, repeats: int) -> None:
    timed = 2 * rounds * repeats
    told = f"with rounds={rounds} and repeats={repeats}"
    expect(
        len(calls) >= timed + 2,
        f"{told} there should be {timed} calls that count and before them one of each that doesn't; there "
        f"were {len(calls)} in all",
        "warm up first: call a and b once, without the clock",
    )
    warm = calls[: len(calls) - timed]
    expect({*warm} == {"a", "b"}, f"before the rounds only {warm[0]} was called", "warm up a and b alike")
    turns = "".join(calls[len(warm) :: repeats])
    wanted = "".join("ab" if i % 2 == 0 else "ba" for i in range(rounds))
    hint = "round 0 is a b, round 1 is b a, and so on: neither always runs first, and both see each hour"
    expect(turns == wanted, f"{told} the order should be {wanted}, and is {turns}", hint)
    blocks = "".join(name * repeats for name in wanted)
    expect(
        "".join(calls[len(warm) :]) == blocks, f"{told} the repeats of one sample should be in a row", hint
    )


def _check_times(found: tuple, world: World, rounds: int, repeats: int) -> None:
    timed = 2 * rounds * repeats
    calls, spent = world.calls[-timed:], world.spent[-timed:]
    for name, seconds in zip("ab", found, strict=True):
        own = [cost for call, cost in zip(calls, spent, strict=True) if call == name]
        wanted = np.reshape(own, (rounds, repeats)).mean(axis=1)
        hint = "one sample for each round, in the order of the rounds: the clock after the call minus before"
        close(f"the seconds of {name}", seconds, wanted, hint)


# --- an interval -------------------------------------------------------------------------------------------


def _misses(k: int, n: int) -> float:
    """How often the k-th smallest to the k-th largest of n samples do not enclose the true median."""
    return 2 * sum(math.comb(n, heads) for heads in range(k)) / 2**n


def _check_interval(name: str, low: Any, high: Any, samples: np.ndarray, confidence: float) -> None:
    n = len(samples)
    ordered = [float(value) for value in np.sort(samples)]
    told = f"{name} (n = {n}, confidence {confidence:g})"
    for end in (low, high):
        expect(isinstance(end, (int, float, np.number)), f"{told}: an end should be a number, and is {end!r}")
    if _misses(1, n) > 1 - confidence:
        hint = "even the smallest and the largest sample miss the median too often: 2 / 2**n of the time"
        nothing = (low, high) == (-math.inf, math.inf)
        expect(nothing, f"{told} should be (-inf, inf), and is ({low:.4g}, {high:.4g})", hint)
        return
    near = [int(np.abs(np.subtract(ordered, end)).argmin()) for end in (low, high)]
    for end, place in zip((low, high), near, strict=True):
        expect(
            math.isclose(end, ordered[place], rel_tol=1e-9),
            f"{told}: {end:.6g} is none of the samples",
            "both ends are samples: the k-th smallest and the k-th largest; mean ± std describes how samples "
            "scatter, not where their median is",
        )
    k, other = near[0] + 1, n - near[1]
    hint = "the same k from both ends; in Python the k-th smallest of sorted samples is samples[k - 1]"
    expect(k == other, f"{told} goes from the {k}-th smallest to the {other}-th largest sample", hint)
    missed = f"with k = {k} it misses the median {_misses(k, n):.1%} of the time"
    hint = "2 · P(fewer than k heads in n tosses) may be at most 1 - confidence, for the largest such k"
    expect(_misses(k, n) <= 1 - confidence, f"{told} is too narrow: {missed}", hint)
    expect(_misses(k + 1, n) > 1 - confidence, f"{told} is wider than needed: {missed}", hint)


@lab.add("interval", points=2)
def check_interval(median_interval: Subject, *, rng: np.random.Generator) -> None:
    """An interval around the median, wide enough and no wider, that assumes nothing of the samples."""
    for n in (25, 15, 40, 101, 6, 5, 7, 1):
        confidence = float(rng.choice([0.9, 0.95, 0.99])) if n > 10 else 0.95
        samples = np.exp(rng.standard_normal(n))
        found = median_interval(samples, confidence)
        expect(
            isinstance(found, (tuple, list)) and len(found) == 2,
            f"median_interval should give (low, high), and gives {_kind(found)}",
        )
        low, high = found
        _check_interval("the interval", low, high, samples, confidence)


# --- a verdict ---------------------------------------------------------------------------------------------


@lab.add("compare", points=3)
def check_compare(compare: Subject, *, rng: np.random.Generator) -> None:
    """Ratios within a round, their median with its interval, and a verdict only beyond the noise."""
    for truth, noise in ((1.3, 1.0), (1.3, 1.5), (0.7, 1.0), (0.7, 1.6), (1.0, 1.02), (1.0, 1.0)):
        n = int(rng.integers(15, 30))
        mood = np.exp(rng.standard_normal(n))  # the machine: the same for both within a round
        b = mood * np.exp(0.03 * rng.standard_normal(n))
        a = truth * mood
        a[0] *= 1000  # and once somebody opened a browser
        _check_comparison(compare(a, b, noise, 0.95), a, b, noise)
    a, b = np.array([2.0, 2.1, 1.9]), np.array([1.0, 1.0, 1.0])
    _check_comparison(compare(a, b, 1.0, 0.95), a, b, 1.0)

    good = np.ones(9)
    for what, value in (("NaN", math.nan), ("infinite", math.inf), ("0", 0.0), ("negative", -1.0)):
        bad = good.copy()
        bad[4] = value
        hint = f"a time that is {what} is no time, and a broken benchmark must not get a verdict"
        expect_error("ValueError", compare, bad, good, 1.0, 0.95, hint=hint)
        expect_error("ValueError", compare, good, bad, 1.0, 0.95, hint=hint)
    hint = "ratios are taken within a round, so both need the same number of rounds"
    expect_error("ValueError", compare, good, good[:1], 1.0, 0.95, hint=hint)


def _check_comparison(found: Any, a: np.ndarray, b: np.ndarray, noise: float) -> None:
    _check_keys("compare", found, ("ratio", "low", "high", "n", "verdict"))
    ratios = a / b
    close("the ratio", found["ratio"], np.median(ratios),
          "above 1 when b is faster; divide round by round first, then take the median")  # fmt: skip
    expect(found["n"] == len(a), f"n should be the number of rounds, {len(a)}, and is {found['n']}")
    _check_interval("the ratios' interval", found["low"], found["high"], ratios, 0.95)
    wanted = timing.verdict(Measured(found["ratio"], "×", found["low"], found["high"], len(a)), noise)
    expect(
        found["verdict"] == wanted,
        f"for {found['ratio']:.3f} [{found['low']:.3f} to {found['high']:.3f}] and noise {noise} the verdict "
        f"should be {wanted!r}, and is {found['verdict']!r}",
        "the whole interval has to lie beyond the noise, above it or below 1 / noise",
    )


def _check_keys(name: str, found: Any, keys: tuple[str, ...]) -> None:
    expect(isinstance(found, dict), f"{name} should give a dict, and gives {_kind(found)}")
    missing = [key for key in keys if key not in found]
    hint = f"it needs {', '.join(keys)}"
    expect(not missing, f"the dict that {name} gives has no {', '.join(missing)}", hint)


# --- break-even --------------------------------------------------------------------------------------------

VERDICTS = {"-": "slower", "?": "undecided", "+": "faster"}
SIZES = [1, 2, 4, 8, 16, 32]
# The verdicts at SIZES, the range, and a hint.
RANGES = (
    ("---+++", (4, 8), "the last slower size, the first faster one"),
    ("-+-?++", (4, 16), "for good: what comes later counts too"),
    ("-??+++", (1, 8), "undecided is neither slower nor faster, so it lies in between"),
    ("++++++", (None, 1), "faster everywhere: there is no size at which it surely doesn't pay"),
    ("------", (32, None), "slower everywhere: there is no size at which it surely pays"),
    ("-++++?", (1, None), "the largest size is undecided, so it is faster for good nowhere"),
    ("?+++++", (None, 2), "no size is surely slower"),
)


@lab.add("break_even", points=2)
def check_break_even(break_even: Subject, *, rng: np.random.Generator) -> None:
    """From where on it pays, for good, as a range: surely not yet, and surely."""
    for signs, wanted, hint in RANGES:
        table = {size: VERDICTS[sign] for size, sign in zip(SIZES, signs, strict=True)}
        asked, verdict_at = _recorder(table.__getitem__)
        found = _pair(break_even(verdict_at, SIZES, 0))
        _check_asked(asked, SIZES, 0)
        told = ", ".join(f"{size}: {verdict}" for size, verdict in table.items())
        expect(found == wanted, f"for {told} the answer should be {wanted}, and is {found}", hint)

    sizes = [16, 64, 256, 1024, 4096]
    for refine in (1, 3):
        crossing = float(rng.uniform(100, 3000))
        asked, verdict_at = _recorder(_verdicts(crossing, crossing))
        below, above = _pair(break_even(verdict_at, sizes, refine))
        _check_asked(asked, sizes, refine)
        told = f"it pays above {crossing:.0f}; after {refine} refinements the answer is ({below}, {above})"
        hint = "halve the ratio each time: race at round(sqrt(below * above)) and look at all verdicts again"
        expect(below is not None and above is not None and below <= crossing < above, told, hint)
        expect(above / below <= 4 ** (1 / 2**refine) * 1.05, f"{told}, which is too wide", hint)

    asked, verdict_at = _recorder(_verdicts(8, 12))
    found = _pair(break_even(verdict_at, [8, 16], 9))
    _check_asked(asked, [8, 16], 9)
    hint = "when the middle has been raced already, there is nothing left to refine"
    told = "for slower up to 8, undecided up to 11 and faster from 12 on"
    expect(found == (8, 16), f"{told} the sizes 8 and 16 should give (8, 16), and give {found}", hint)


def _verdicts(slower_to: float, faster_from: float) -> Callable[[Any], str]:
    def verdict(size: Any) -> str:
        return "slower" if size <= slower_to else "undecided" if size < faster_from else "faster"

    return verdict


def _recorder(verdict: Callable[[Any], str]) -> tuple[list, Callable[[Any], str]]:
    asked: list[float] = []

    def verdict_at(size: Any) -> str:
        asked.append(float(size))
        return verdict(size)

    return asked, verdict_at


def _check_asked(asked: list[float], sizes: list[int], refine: int) -> None:
    twice = [size for size in asked if asked.count(size) > 1]
    hint = "keep the verdicts in a dict; racing again until the answer pleases is no measurement"
    expect(not twice, f"these sizes were raced more than once: {sorted({*twice})}", hint)
    missing = [size for size in sizes if size not in asked]
    expect(not missing, f"these sizes were never raced: {missing}", "what comes later counts too")
    further = len(asked) - len(sizes)
    expect(further <= refine, f"{further} further sizes were raced, and refine is {refine}")


def _pair(found: Any) -> tuple[Any, Any]:
    expect(
        isinstance(found, (tuple, list)) and len(found) == 2,
        f"break_even should give (below, above), and gives {_kind(found)}",
    )
    return tuple(None if end is None else int(end) for end in found)  # type: ignore[return-value]


# --- a leaderboard -----------------------------------------------------------------------------------------


@lab.add("entry", points=2)
def check_entry(leaderboard_entry: Subject, *, rng: np.random.Generator) -> None:
    """An entry holds what somebody else needs in order to believe it, and to repeat it."""
    mood = np.exp(rng.standard_normal(21)) / 1000
    seconds, baseline = mood * np.exp(0.05 * rng.standard_normal(21)), 1.7 * mood
    seconds[3] *= 50
    right = rng.random(40) < 0.8
    about = {**ABOUT, "level": "avx2"}
    found = leaderboard_entry("mine", baseline, seconds, right, about)
    keys = ("name", "gain", "low", "high", "n", "seconds", "accuracy", "machine")
    _check_keys("leaderboard_entry", found, keys)
    expect(found["name"] == "mine", f"the name should be 'mine', and is {found['name']!r}")
    hint = "the baseline's time / the model's in the same round, above 1 if the model is faster"
    close("the gain", found["gain"], np.median(baseline / seconds), hint)
    _check_interval("the gain's interval", found["low"], found["high"], baseline / seconds, 0.95)
    expect(found["n"] == 21, f"n should be the number of rounds, 21, and is {found['n']}")
    hint = "the median: the best of many is luck, and the mean belongs to the one slow sample"
    close("the entry's seconds", found["seconds"], np.median(seconds), hint)
    close("the accuracy", found["accuracy"], right.mean(), "the share of right answers, from 0 to 1")
    expect(found["machine"] == about, f"the machine should be {about}, and is {found['machine']!r}")
    for missing in ABOUT:
        less = {key: value for key, value in about.items() if key != missing}
        hint = f"a time without {missing!r} can't be compared with anything: refuse it"
        expect_error("ValueError", leaderboard_entry, "mine", baseline, seconds, right, less, hint=hint)
    seconds[5] = math.nan
    hint = "NaN is no time: let `compare` see both arrays as they are"
    expect_error("ValueError", leaderboard_entry, "mine", baseline, seconds, right, about, hint=hint)


@lab.add("rank", points=2)
def check_rank(rank: Subject) -> None:
    """Places for those who are accurate enough, shared where nobody can tell, and only on one machine."""
    entries = [
        _entry("slow", 0.2, 0.1, 0.3),
        _entry("quick and wrong", 9.0, 8.0, 9.5, accuracy=0.5),
        _entry("second", 2.7, 2.4, 2.9),
        _entry("first", 3.0, 2.8, 3.2),
        _entry("third", 2.5, 2.2, 2.7),
        _entry("fourth", 2.1, 1.9, 2.3, tinytorch="1.1"),  # another version is what one wants to compare
    ]
    found = rank(entries, 0.9)
    wanted = [(1, "first"), (1, "second"), (3, "third"), (3, "fourth"), (5, "slow")]
    expect(isinstance(found, (list, tuple)), f"rank should give a list, and gives {_kind(found)}")
    pairs = [tuple(pair) if isinstance(pair, (list, tuple)) else pair for pair in found]
    names = [name for _, name in wanted]
    expect(
        [pair[1] for pair in pairs if isinstance(pair, tuple)] == names,
        f"the order should be {', '.join(names)}, and is {pairs}",
        "the largest gain first; entries with less than the least accuracy have no place",
    )
    hint = "who overlaps with the first of a place shares it; the next place counts all who are before"
    expect(pairs == wanted, f"the places should be {wanted}, and are {pairs}", hint)
    same("the places of nobody", len(rank([], 0.9)), 0, "no entries, no places")
    differing: dict[str, Any] = {"cpu": "B", "threads": 4}
    for field, value in differing.items():
        other = [_entry("one", 1.0, 0.9, 1.1), _entry("other", 2.0, 1.9, 2.1, **{field: value})]
        hint = f"entries with another {field!r} show the machine, not the code: refuse to rank them together"
        expect_error("ValueError", rank, other, 0.9, hint=hint)


def _entry(name: str, gain: float, low: float, high: float, accuracy: float = 0.95, **about: Any) -> dict:
    numbers = {"gain": gain, "low": low, "high": high, "n": 15, "seconds": 1 / gain, "accuracy": accuracy}
    return {"name": name, **numbers, "machine": {**ABOUT, **about}}


@lab.add("gap", points=1)
def check_gap(gap: str) -> None:
    """What keeps the gain at few answers below that at many."""
    hint = (
        "put k = 1 and k = 1000 into the cost model: which of its times matters at one and not at the other?"
    )
    choice(gap, "c", hint)
