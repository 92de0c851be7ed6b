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
        Each race's name → `timing.Race`.
    noise : float
        The noise floor when the run began.
    machine : dict
        As `timing.machine` describes it.
    created : str
        When, in UTC.
    """

    suite: str
    label: str
    races: dict[str, Race]
    noise: float
    machine: dict[str, Any]
    created: str

    @property
    def score(self) -> Measured:
        """The geometric mean of the gains, with its interval from all races' rounds."""
        logs = [_log_ratios(race) for race in self.races.values()]
        rounds = min(len(row) for row in logs)
        means = [math.fsum(row[i] for row in logs) / len(logs) for i in range(rounds)]
        return timing.measured([math.exp(mean) for mean in means], "×")

    def save(self, path: str | Path) -> Path:
        """Write the record as JSON; returns the path."""
        path = Path(path)
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
        races = {name: _race(fields) for name, fields in raw["races"].items()}
        fields = {key: raw[key] for key in ("suite", "label", "noise", "machine", "created")}
        record = SuiteRecord(races=races, **fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path.name} is damaged ({type(error).__name__}: {error}); run the suite again"
        ) from None
    for name, race in races.items():
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


def _log_ratios(race: Race) -> list[float]:
    return [math.log(a / b) for a, b in zip(*race.seconds, strict=True)]


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
        label: str = "",
        confidence: float = CONFIDENCE,
        progress: Callable[[float, str], None] = lambda fraction, message: None,
    ) -> SuiteRecord:
        """Run every race.

        Parameters
        ----------
        seconds : float
            About how long each race takes; first, the first baseline is raced against itself for as long,
            which gives the noise floor of all verdicts.
        label : str
            Whose run this is, or of which version: what a leaderboard shows.
        confidence : float
            With which all intervals hold together.
        progress : function
            Called with (fraction done, what is going on).
        """
        if not self.entries:
            raise ValueError(f"Suite {self.name!r}: no races to run; add some with suite.add(name, make)")
        races: dict[str, Race] = {}
        noise = 0.0
        for name, entry in self.entries.items():
            progress(len(races) / len(self.entries), name)
            baseline, contender = entry.make()
            noise = noise or timing.noise_floor(baseline, seconds=seconds)[0]
            races[name] = timing.race(
                baseline, contender, names=entry.names, seconds=seconds, confidence=confidence,
                claims=len(self.entries), noise=noise, compare=entry.compare,
            )  # fmt: skip
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return SuiteRecord(self.name, label, races, noise, timing.machine(), created)


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
