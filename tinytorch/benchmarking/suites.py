"""Suites: named sets of races, run with one call and kept in a file with the machine they ran on."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import timing
from tinytorch.intervals import CONFIDENCE
from tinytorch.quantities import Measured
from tinytorch.timing import Call, Race

SCHEMA_VERSION = 1

# What two timings must share to be comparable: on anything else a ratio says more about the machine.
COMPARABLE = ("cpu", "architecture", "level", "cores", "threads", "system")


@dataclass(frozen=True)
class SuiteRecord:
    """The races of one run of a suite, with every sample.

    Attributes
    ----------
    suite : str
        The suite's name.
    label : str
        Whose run this is, or of which version.
    races : dict
        Each race's name → its `timing.Race` in each pass.
    noise : float
        The noise floor when the run began.
    machine : dict
        As `timing.machine` describes it.
    created : str
        When, in UTC.
    """

    suite: str
    label: str
    races: dict[str, tuple[Race, ...]]
    noise: float
    machine: dict[str, Any]
    created: str

    def gains(self, name: str) -> np.ndarray:
        """How many times faster the contender of a race was, one number for each pass."""
        return np.array([np.median(np.divide(*race.seconds)) for race in self.races[name]])

    def gain(self, name: str, confidence: float = CONFIDENCE) -> Measured:
        """The gain in one race, with an interval from its spread between passes."""
        return timing.measured(self.gains(name), "×", confidence)

    def verdict(self, name: str, confidence: float = CONFIDENCE) -> str:
        """Of a race's contender: ``"faster"``, ``"slower"`` or ``"undecided"``."""
        return timing.verdict(self.gain(name, confidence), self.noise)

    @property
    def score(self) -> Measured:
        """The geometric mean of all gains, with its interval over passes."""
        logs = np.mean([np.log(self.gains(name)) for name in self.races], axis=0)
        return timing.measured(np.exp(logs), "×")

    def save(self, path: str | Path) -> Path:
        """Write the record as JSON, making its folder if need be; returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"type": "SuiteRecord", "schema": SCHEMA_VERSION, **dataclasses.asdict(self)}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        return path


def load_record(path: str | Path) -> SuiteRecord:
    """A record back from the file that `SuiteRecord.save` wrote.

    Raises
    ------
    ValueError
        If the file holds something else, or times that are no times.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is not JSON, or cut short ({error}); run the suite again") from None
    if not isinstance(raw, dict) or raw.get("type") != "SuiteRecord":
        raise ValueError(f"{path.name} holds no record of a suite; Suite.run(...).save(path) writes one")
    if raw.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"{path.name} has schema {raw.get('schema')}, and this TinyTorch reads {SCHEMA_VERSION}; run the "
            "suite again"
        )
    try:
        races = {name: tuple(map(_race, passes)) for name, passes in raw["races"].items()}
        fields = {key: raw[key] for key in ("suite", "label", "noise", "machine", "created")}
        record = SuiteRecord(races=races, **fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path.name} is damaged ({type(error).__name__}: {error}); run the suite again"
        ) from None
    for name, passes in races.items():
        for race in passes:
            _check_times(f"{path.name}, race {name!r}", race)
    return record


def _race(fields: dict[str, Any]) -> Race:
    pairs = {key: tuple(fields[key]) for key in ("names", "repeats")}
    seconds = tuple(tuple(times) for times in fields["seconds"])
    return Race(**{**fields, **pairs, "seconds": seconds, "ratio": Measured(**fields["ratio"])})


def _check_times(where: str, race: Race) -> None:
    for name, times in zip(race.names, race.seconds, strict=True):
        if not times or not all(isinstance(time, (int, float)) and 0 < time < math.inf for time in times):
            raise ValueError(
                f"{where}: the times of {name!r} must be positive numbers of seconds, got "
                f"{next((time for time in times if not 0 < time < math.inf), 'none')}; the run that wrote "
                "them failed, so run it again"
            )


@dataclass(frozen=True)
class Entry:
    """One race of a suite. `make` sets it up and returns the baseline and the contender."""

    make: Callable[[], tuple[Call, Call]]
    names: tuple[str, str]
    compare: bool


class Suite:
    """A named set of races.

    Parameters
    ----------
    name : str
        Records of suites with other names are not compared with its own.
    """

    def __init__(self, name: str) -> None:
        if not name:
            raise ValueError("Suite: a suite needs a name, which says whose records may be compared")
        self.name = name
        self.entries: dict[str, Entry] = {}

    def add(
        self,
        name: str,
        make: Callable[[], tuple[Call, Call]],
        *,
        names: tuple[str, str] = ("baseline", "contender"),
        compare: bool = True,
    ) -> None:
        """Add a race.

        Parameters
        ----------
        name : str
        make : function
            Sets the race up (buffers, packed weights, trained models) and returns two functions of no
            arguments; it runs right before the race and is not timed.
        names : what the two are called
        compare : bool
            Whether their results have to agree; off for those that round differently by design.
        """
        if name in self.entries:
            raise ValueError(
                f"Suite {self.name!r}: there is a race {name!r} already; give this one another name"
            )
        if not callable(make):
            raise TypeError(
                f"Suite {self.name!r}, race {name!r}: make must be a function that returns the two to "
                f"race, got {type(make).__name__}"
            )
        self.entries[name] = Entry(make, names, compare)

    def run(
        self,
        *,
        seconds: float = 0.5,
        passes: int = 5,
        label: str = "",
        progress: Callable[[float, str], None] = lambda fraction, message: None,
    ) -> SuiteRecord:
        """Run every race, several times over.

        Each pass sets every race up anew, so that what differs from one run to the next (where buffers lie,
        what the machine is busy with) shows as spread between passes, and goes into the intervals. Rounds of
        one pass alone agree with each other better than two runs of the same code do.

        Parameters
        ----------
        seconds : float
            About how long each race takes, all passes together; first, the first baseline is raced against
            itself for as long, which gives the noise floor of all verdicts.
        passes : int
            At least 2.
        label : str
            Whose run this is, or of which version: what a leaderboard shows.
        progress : function
            Called with (fraction done, what is going on).
        """
        if not self.entries:
            raise ValueError(f"Suite {self.name!r}: no races to run; add some with suite.add(name, make)")
        if passes < 2:
            raise ValueError(
                f"Suite {self.name!r}: passes must be at least 2, got {passes}; one pass shows no spread "
                "between runs"
            )
        races: dict[str, list[Race]] = {name: [] for name in self.entries}
        noise = 0.0
        for number in range(passes):
            for index, (name, entry) in enumerate(self.entries.items()):
                progress((number + index / len(self.entries)) / passes, name)
                baseline, contender = entry.make()
                noise = noise or timing.noise_floor(baseline, seconds=seconds)[0]
                races[name].append(
                    timing.race(
                        baseline, contender, names=entry.names, seconds=seconds / passes, noise=noise,
                        compare=entry.compare and number == 0,
                    )
                )  # fmt: skip
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        kept = {name: tuple(each) for name, each in races.items()}
        return SuiteRecord(self.name, label, kept, noise, timing.machine(), created)


def check_comparable(operation: str, records: list[SuiteRecord], *, mixed: bool) -> None:
    """Refuse records of different suites, and unless `mixed` those of different machines or threads."""
    suites = sorted({record.suite for record in records})
    if len(suites) > 1:
        raise ValueError(
            f"{operation}: records of different suites ({', '.join(suites)}) measure different things; "
            "choose those of one suite"
        )
    differing = [key for key in COMPARABLE if len({str(record.machine.get(key)) for record in records}) > 1]
    if differing and not mixed:
        found = "; ".join(
            f"{key}: {', '.join(sorted({str(record.machine.get(key)) for record in records}))}"
            for key in differing
        )
        raise ValueError(
            f"{operation}: the records come from unlike machines ({found}), so a difference could be the "
            "machine's; run the suite again on one machine with the same threads, or say mixed=True to see "
            "them side by side anyway"
        )
