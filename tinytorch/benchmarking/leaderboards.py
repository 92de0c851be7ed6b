"""A leaderboard: the records in a folder, the best first, only like with like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinytorch import _text
from tinytorch.benchmarking.suites import SuiteRecord, check_comparable, load_record
from tinytorch.quantities import Measured


@dataclass(frozen=True)
class Standing:
    """One record's place. Records whose intervals overlap with that of the first of their place share it."""

    place: int
    score: Measured
    record: SuiteRecord


@dataclass(frozen=True)
class Leaderboard:
    """Records of one suite by score, the geometric mean of their gains."""

    suite: str
    standings: tuple[Standing, ...]
    mixed: bool

    def __str__(self) -> str:
        header = ["record", "place", "score", "races", "when"]
        rows = [
            [standing.record.label or "(no label)", str(standing.place), standing.score,
             str(len(standing.record.races)), standing.record.created]
            for standing in self.standings
        ]  # fmt: skip
        if self.mixed:
            header.append("machine")
            for row, standing in zip(rows, self.standings, strict=True):
                row.append(machine_name(standing.record))
            note = "Records of different machines: places say nothing about the code alone."
        else:
            note = f"All on {machine_name(self.standings[0].record)}."
        return (
            f"Suite {self.suite}: geometric mean of the gains; who shares a place can't be told apart.\n"
            f"{_text.table(header, rows)}\n{note}"
        )


def machine_name(record: SuiteRecord) -> str:
    """The machine of a record, as far as times depend on it."""
    about = record.machine
    return (
        f"{about.get('cpu') or about.get('architecture')}, level {about.get('level')}, "
        f"{about.get('threads')} of {about.get('cores')} cores"
    )


def leaderboard(folder: str | Path, *, suite: str | None = None, mixed: bool = False) -> Leaderboard:
    """Rank the records in a folder.

    Parameters
    ----------
    folder : path
        Of files that `SuiteRecord.save` wrote, ``*.json``.
    suite : str, optional
        Only records of this suite; needed when the folder holds several.
    mixed : bool
        Rank records of different machines or threads together; the table then names each machine.

    Raises
    ------
    ValueError
        When there is nothing to rank, or nothing that can be ranked together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"leaderboard: {str(folder)!r} is no folder; save records there with record.save(path)"
        )
    records = [load_record(path) for path in sorted(folder.glob("*.json"))]
    found = sorted({record.suite for record in records})
    if suite is not None:
        records = [record for record in records if record.suite == suite]
    if not records:
        what = f"no record of suite {suite!r}" if suite else "no record"
        raise ValueError(
            f"leaderboard: {what} in {str(folder)!r}" + (f"; it has {', '.join(found)}" if found else "")
        )
    check_comparable("leaderboard", records, mixed=mixed)
    _check_races(records)
    ranked = sorted(((record.score, record) for record in records), key=lambda pair: -pair[0].value)
    return Leaderboard(records[0].suite, tuple(_places(ranked)), mixed)


def _check_races(records: list[SuiteRecord]) -> None:
    """A mean over other races is another score."""
    wanted = records[0].races.keys()
    for record in records:
        if differing := sorted(record.races.keys() ^ wanted):
            raise ValueError(
                f"leaderboard: {record.label or 'a record'} and {records[0].label or 'the first'} did not "
                f"run the same races (they differ in {', '.join(differing)}); run one version of the suite"
            )


def _places(ranked: list[tuple[Measured, SuiteRecord]]) -> list[Standing]:
    standings: list[Standing] = []
    leader: Standing | None = None  # the first of the current place
    for number, (score, record) in enumerate(ranked, start=1):
        if leader is not None and _overlap(leader.score, score):
            standings.append(Standing(leader.place, score, record))
        else:
            leader = Standing(number, score, record)
            standings.append(leader)
    return standings


def _overlap(better: Measured, worse: Measured) -> bool:
    if better.low is None or worse.high is None:
        return True
    return worse.high >= better.low
