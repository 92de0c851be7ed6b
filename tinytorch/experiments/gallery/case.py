"""What a case of the gallery is, how it is judged, and the registry of all cases."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinytorch.experiments.context import Context
from tinytorch.experiments.trained import accuracy_loss
from tinytorch.quantities import Measured
from tinytorch.timing import Call, Race

SLOWER = "below 1.0 with confidence on this machine"
LESS_ACCURATE = "loses accuracy with confidence on this machine"
NOT_REPRODUCED = "not reproduced here"


@dataclass(frozen=True)
class Calls:
    """Two ways to get one job done; `optimized` is the one that should be faster, and may not be."""

    plain: Call
    optimized: Call


@dataclass(frozen=True)
class Answers:
    """Which of the same questions are answered right, (N,) bool, before and after an optimization."""

    plain: np.ndarray
    optimized: np.ndarray


@dataclass(frozen=True)
class Finding:
    """What one case showed on this machine.

    Attributes
    ----------
    name, title, why : str
        `why` says what the optimization costs here.
    plain, optimized : str
        What was compared.
    effect : Measured
        ``×``: time of the plain way / time of the optimized one, so below 1 the optimization loses; or
        ``points`` of accuracy lost, so above 0 it loses.
    verdict : str
    race : Race or None
        With every sample, where time was the question.
    """

    name: str
    title: str
    why: str
    plain: str
    optimized: str
    effect: Measured
    verdict: str
    race: Race | None = None

    @property
    def hurts(self) -> bool:
        """Whether the optimization lost, with confidence."""
        return self.verdict != NOT_REPRODUCED

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.title}: {self.effect}, {self.verdict}. {self.why}"


@dataclass(frozen=True)
class Case:
    """One optimization in a place where it should lose. `set_up` returns what is compared."""

    name: str
    title: str
    why: str
    plain: str
    optimized: str
    set_up: Callable[[], Calls | Answers]

    def measure(self, context: Context, **options: Any) -> Finding:
        """Compare the two ways on the run's terms; `options` are those of a race."""
        compared = self.set_up()
        told = (self.name, self.title, self.why, self.plain, self.optimized)
        if isinstance(compared, Answers):
            lost = accuracy_loss(compared.plain, compared.optimized, context)
            loses = lost.low is not None and lost.low > 0
            return Finding(*told, lost, LESS_ACCURATE if loses else NOT_REPRODUCED)
        race = context.race(compared.plain, compared.optimized, names=(self.plain, self.optimized), **options)
        return Finding(*told, race.ratio, SLOWER if race.verdict == "slower" else NOT_REPRODUCED, race)


CASES: dict[str, Case] = {}


def case(title: str, plain: str, optimized: str) -> Callable[[Callable], Callable]:
    """Enter a function into the gallery under its own name; its docstring says why the optimization loses."""

    def enter(set_up: Callable[[], Calls | Answers]) -> Callable:
        why = " ".join(inspect.cleandoc(set_up.__doc__ or "").split())
        CASES[set_up.__name__] = Case(set_up.__name__, title, why, plain, optimized, set_up)
        return set_up

    return enter


def find(name: str) -> Case:
    """The case of this name.

    Raises
    ------
    ValueError
        With the names that there are.
    """
    if name not in CASES:
        close = difflib.get_close_matches(name, CASES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"gallery: there is no case {name!r}; {hint}The cases are {', '.join(CASES)}")
    return CASES[name]
