"""Running a lab's checks on a submission that lives in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tinytorch.course.checks import PUBLIC_SEED, Check, Lab, fresh_seeds
from tinytorch.course.failures import Borrowed, CheckFailed, Died, NotBuilt
from tinytorch.course.subject import Subject
from tinytorch.grading.collect import Submission
from tinytorch.grading.isolate import Limits, Worker

PASSED, FAILED, NOT_GRADED = "passed", "failed", "not graded"


@dataclass(frozen=True)
class Outcome:
    """What became of one check; `problem` and `hint` are for the student."""

    name: str
    title: str
    status: str
    points: int
    possible: int
    problem: str = ""
    hint: str = ""
    seconds: float = 0.0


@dataclass
class Report:
    """What became of a submission so far; `complete` once all checks have run."""

    lab: int
    submission: str
    sha256: str
    possible: int
    complete: bool = False
    checks: list[Outcome] = field(default_factory=list)

    @property
    def points(self) -> int:
        return sum(outcome.points for outcome in self.checks)

    def record(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"schema": 1, "points": self.points, **asdict(self)}


class Judge:
    """Runs checks, one after the other, each with a worker that is alive.

    Parameters
    ----------
    on_outcome : function of the Report, optional
        Called after each check, so that what is known survives whatever comes.
    """

    def __init__(
        self,
        lab: Lab,
        submission: Submission,
        limits: Limits | None = None,
        on_outcome: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self.lab, self.submission, self.limits = lab, submission, limits or Limits()
        self.report = Report(lab.number, submission.name, submission.sha256, lab.points)
        self._on_outcome = on_outcome
        self._worker: Worker | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def judge(self) -> Report:
        """Run all checks."""
        for check in self.lab.checks.values():
            self.run(check)
        return self.report

    def run(self, check: Check) -> Outcome:
        """Run one check. A worker that dies costs this check, and the next one gets a new worker."""
        start = time.monotonic()
        status, problem, hint = PASSED, "", ""
        try:
            self._try(check)
        except CheckFailed as failed:
            status, problem, hint = FAILED, failed.problem, failed.hint
        except Died as died:
            status, problem = NOT_GRADED, f"not graded: {died}"
            self.close()
        points = check.points if status == PASSED else 0
        seconds = round(time.monotonic() - start, 3)
        outcome = Outcome(check.name, check.title, status, points, check.points, problem, hint, seconds)
        self.report.checks.append(outcome)
        self.report.complete = len(self.report.checks) == len(self.lab.checks)
        self._on_outcome(self.report)
        return outcome

    def _try(self, check: Check) -> None:
        for name in check.needs:
            if name in self.submission.borrowed:
                raise Borrowed(name, self.submission.borrowed[name])
        if self._worker is None:
            self._worker = Worker(self.submission.cells, self.limits)
            self._worker.load()
        worker = self._worker
        worker.allow(check.seconds)
        subjects = [self._subject(worker, name) for name in check.needs]
        for seed in (PUBLIC_SEED, *fresh_seeds()):
            check.run(subjects, seed)

    def _subject(self, worker: Worker, name: str) -> Any:
        found = worker.look_up(name)
        if found and isinstance(found[0], Subject):
            return Subject(name, worker, found[0]._target)
        if found and found[0] is not None:
            return found[0]
        raise self._missing(worker, name)

    def _missing(self, worker: Worker, name: str) -> CheckFailed:
        """Why a name is not there: its cell failed, or its stub still stands, or nothing defines it."""
        for names, error in zip(self.submission.defines, worker.errors, strict=True):
            if error is not None and name in names and not isinstance(error, NotBuilt):
                return CheckFailed(f"there is no {name}: {error.problem}", error.hint)
        if any(isinstance(error, NotBuilt) for error in worker.errors):
            return NotBuilt(name)
        unread = [f"; Python cannot read a cell: {error}" for error in self.submission.syntax_errors]
        return CheckFailed(
            f"there is no {name} in the notebook{unread[0] if unread else ''}",
            "run the notebook from the top (Restart and run all): names left over from earlier are not saved",
        )

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
