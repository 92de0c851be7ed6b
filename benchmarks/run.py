"""Race each case against its peers and this machine's own limits."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import benchmarks
from benchmarks import ceilings
from benchmarks.case import Call, Case
from tinytorch import timing
from tinytorch.quantities import Measured

OURS, AGAIN = "TinyTorch", "TinyTorch again"
PEAK, READING = "multiply-adds on registers", "reading"

# Not families.
FRAME = {"__main__", "case", "ceilings", "layers", "output", "peers", "run"}


@dataclass
class Result:
    """A case as it was measured: every sample, and what follows from them.

    Attributes
    ----------
    races : timing.Races
        Seconds of ours, of ours again, of each peer, own form and ceiling.
    peers, own : names of contenders
    ceilings : ceiling's name → how many of its calls are worth one of ours, in work
    level : str
        Where the bytes lie that the case must read: a cache level or "memory".
    differences : peer's name → distance of its result from ours, relative to ours, where both are arrays
    """

    family: str
    shape: str
    threads: int
    operations: float | None
    read_bytes: float | None
    races: timing.Races
    peers: list[str]
    own: list[str]
    ceilings: dict[str, float] = field(default_factory=dict)
    level: str = ""
    differences: dict[str, float] = field(default_factory=dict)

    @property
    def time(self) -> Measured:
        """Seconds for one call of ours."""
        return self.races.time(OURS)

    @property
    def rate(self) -> Measured | None:
        """GFLOP/s of ours, or GB/s where its operations are not counted."""
        if self.operations:
            return self.races.rate(OURS, self.operations / 1e9, "GFLOP/s")
        return self.races.rate(OURS, self.read_bytes / 1e9, "GB/s") if self.read_bytes else None

    @property
    def bound(self) -> str | None:
        """The ceiling that takes longest over this case's work: no kernel can be faster than that."""
        if not self.ceilings:
            return None
        return max(self.ceilings, key=lambda name: self.ceilings[name] * self.races.time(name).value)

    @property
    def share(self) -> Measured | None:
        """How much of that ceiling ours reaches."""
        bound = self.bound
        return self.ratio(bound).scaled(100 * self.ceilings[bound], "%") if bound else None

    def ratio(self, name: str) -> Measured:
        """How many times faster ours is than `name`."""
        return self.races.between(name, OURS).ratio

    @property
    def noise(self) -> float:
        """What identical code may show here: the largest ratio in the interval of ours against ours again."""
        ratio = self.ratio(AGAIN)
        assert ratio.low is not None and ratio.high is not None  # a race has several rounds
        return max(ratio.high, 1.0 / ratio.low, 1.0)

    def verdict(self, name: str) -> str:
        """Whether ours is ``"faster"`` or ``"slower"`` than `name` beyond the noise, or ``"undecided"``."""
        return timing.verdict(self.ratio(name), self.noise)

    @property
    def best_peer(self) -> str | None:
        """The peer with the shortest median time."""
        return min(self.peers, key=lambda name: self.races.time(name).value) if self.peers else None


def measure(case: Case, threads: int, seconds: float) -> Result:
    """Race one case; `seconds` is about how long that may take."""
    differences = {
        name: found
        for name, call in case.peers.items()
        if (found := _difference(case.ours, call)) is not None
    }
    contenders = {OURS: case.ours, AGAIN: case.ours, **case.peers, **case.own}
    if len(contenders) < 2 + len(case.peers) + len(case.own):
        raise ValueError(f"{case.family} {case.shape}: two contenders have the same name: {list(contenders)}")
    with ThreadPoolExecutor(threads) as pool:
        limits, worth = {}, {}
        if case.operations:
            limits[PEAK] = ceilings.arithmetic(pool, threads)
            worth[PEAK] = case.operations / limits[PEAK].work
        if case.read_bytes:
            limits[READING] = ceilings.reading(pool, threads, case.read_bytes)
            worth[READING] = case.read_bytes / limits[READING].work
        races = timing.race_many(
            {**contenders, **{name: limit.call for name, limit in limits.items()}},
            seconds=seconds,
            settle=threads > 1,
            compare=False,
        )
    return Result(
        case.family, case.shape, threads, case.operations, case.read_bytes, races,
        list(case.peers), list(case.own), worth,
        ceilings.memory_level(case.read_bytes) if case.read_bytes else "", differences,
    )  # fmt: skip


def _difference(ours: Call, theirs: Call) -> float | None:
    """How far their result is from ours, relative to ours; None unless both return arrays of one size."""
    expected, found = _as_array(ours()), _as_array(theirs())
    if expected is None or found is None or expected.size != found.size:
        return None
    # A library that counts columns first returns the transpose.
    distance = min(float(np.linalg.norm(x.ravel() - expected.ravel())) for x in (found, found.T))
    return distance / max(float(np.linalg.norm(expected)), 1e-30)


def _as_array(result: Any) -> np.ndarray | None:
    """What a contender returned, or the first of several; None when it is no array of numbers."""
    if isinstance(result, (list, tuple)) and result:
        result = result[0]
    if hasattr(result, "detach"):
        result = result.detach()
    if getattr(result, "is_quantized", False):
        result = result.int_repr()
    if hasattr(result, "numpy"):
        result = result.numpy()
    if not isinstance(result, np.ndarray) or result.dtype.kind not in "fiu":
        return None
    return result.astype(np.float64)


# ---- which cases ----


@dataclass(frozen=True)
class Filter:
    """``FAMILY`` or ``FAMILY:TEXT``: how a module's name starts, and text in a case's family and shape."""

    family: str
    text: str = ""

    @classmethod
    def parse(cls, argument: str) -> Filter:
        """From the command line; raises ValueError with the families' names where none fits."""
        family, _, text = argument.partition(":")
        if not families([cls(family)]):
            raise ValueError(f"no family starts with {family!r}; there are {', '.join(families())}")
        return cls(family, text)


def families(filters: Sequence[Filter] = ()) -> list[str]:
    """The modules that have cases and that any of the filters takes; all where there is no filter."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in FRAME]
    return [name for name in names if not filters or any(name.startswith(f.family) for f in filters)]


def selected(family: str, filters: Sequence[Filter], threads: int) -> Iterator[Case]:
    """The cases of a family that any of the filters takes; all where there is no filter."""
    texts = [f.text for f in filters if family.startswith(f.family)]
    for case in importlib.import_module(f"benchmarks.{family}").cases(threads):
        if not filters or any(text in f"{case.family} {case.shape}" for text in texts):
            yield case
