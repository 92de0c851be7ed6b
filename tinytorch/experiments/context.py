"""What an experiment is told about the run it belongs to, and the measuring tools set up for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from tinytorch import kernels, timing
from tinytorch.experiments.storage import ModelCache
from tinytorch.intervals import CONFIDENCE, corrected

EFFORTS = ("quick", "normal", "thorough")

T = TypeVar("T")


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let kernels use this many threads inside the block; None leaves the number alone."""
    before = kernels.get_num_threads()
    if count is not None:
        kernels.set_num_threads(count)
    try:
        yield
    finally:
        kernels.set_num_threads(before)


@dataclass
class Context:
    """How thorough the run is, and what its intervals have to allow for.

    Attributes
    ----------
    effort : ``"quick"``, ``"normal"`` or ``"thorough"``
    threads : threads that kernels use unless an experiment says otherwise
    claims : statements in the whole report; intervals are widened for them
    noise : the noise floor measured at the run's start
    cache : where trained models are kept
    on_progress : called with (fraction of this experiment done, what is going on)
    """

    effort: str = "normal"
    threads: int = 1
    confidence: float = CONFIDENCE
    claims: int = 1
    noise: float = 1.0
    cache: ModelCache = field(default_factory=lambda: ModelCache(None))
    on_progress: Callable[[float, str], None] = lambda fraction, message: None

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise ValueError(f"effort must be one of {EFFORTS}, got {self.effort!r}")

    @property
    def quick(self) -> bool:
        return self.effort == "quick"

    @property
    def thorough(self) -> bool:
        return self.effort == "thorough"

    def choose(self, quick: T, normal: T, thorough: T) -> T:
        """One of three settings, by effort."""
        return (quick, normal, thorough)[EFFORTS.index(self.effort)]

    def progress(self, fraction: float, message: str) -> None:
        """Say how far this experiment is, from 0 to 1."""
        self.on_progress(min(max(fraction, 0.0), 1.0), message)

    @property
    def interval_confidence(self) -> float:
        """The confidence of a single interval, widened for the run's claims."""
        return corrected(self.confidence, self.claims)

    @property
    def judged(self) -> dict[str, Any]:
        """The options every race of this run shares."""
        return {
            "confidence": self.confidence,
            "claims": self.claims,
            "noise": self.noise,
            "compare": False,  # experiments compare what they race themselves, with the rounding they expect
        }

    def race(self, a: timing.Call, b: timing.Call, **options: Any) -> timing.Race:
        """`timing.race` with this run's confidence, claims, noise floor and patience."""
        return timing.race(a, b, **{"seconds": self.choose(0.15, 0.5, 2.0), **self.judged, **options})

    def race_many(self, contenders: Mapping[str, timing.Call], **options: Any) -> timing.Races:
        """`timing.race_many`, likewise."""
        return timing.race_many(
            contenders, **{"seconds": self.choose(0.3, 1.0, 4.0), **self.judged, **options}
        )

    def breakeven(
        self,
        make_a: Callable[[Any], timing.Call],
        make_b: Callable[[Any], timing.Call],
        sizes: Sequence[float],
        **options: Any,
    ) -> timing.Breakeven:
        """`timing.breakeven`, likewise."""
        defaults = {"seconds": self.choose(0.05, 0.2, 0.6), "refine": self.choose(0, 2, 3), **self.judged}
        return timing.breakeven(make_a, make_b, sizes, **{**defaults, **options})

    def trained(
        self, name: str, train: Callable[[], dict[str, np.ndarray]], **settings: object
    ) -> dict[str, np.ndarray]:
        """Arrays of a trained model, from the cache when code, settings and CPU level are the same."""
        return self.cache.arrays(name, train, level=kernels.cpu_info().get("level"), **settings)
