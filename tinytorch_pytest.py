"""A pytest plugin for autograders: a lab's checks on a submission, each as a test.

    pytest --tinytorch-lab 17 --submission lab.ipynb --json out.json

Run it from a folder of your own. Nothing beside the submission is read: no conftest.py, and no tests but the
lab's. It lies outside the package, so that pytest, which loads it in every run, need not import tinytorch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinytorch", "TinyTorch: grade a lab")
    group.addoption("--tinytorch-lab", type=int, metavar="N", help="run the checks of this lab")
    group.addoption("--submission", type=Path, metavar="FILE", help="the notebook that was handed in")
    group.addoption("--json", type=Path, dest="tinytorch_json", metavar="FILE", help="keep the report here")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """A conftest.py that was handed in with the notebook is a way to forge results."""
    if early_config.known_args_namespace.tinytorch_lab is not None:
        early_config.known_args_namespace.noconftest = True


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool | None:
    """The lab's checks, in the place of whatever tests lie in the folder."""
    number = session.config.getoption("tinytorch_lab")
    if number is None:
        return None
    path = session.config.getoption("submission")
    if path is None:
        raise pytest.UsageError("--tinytorch-lab needs --submission FILE, the notebook to grade")
    from tinytorch.course import open_lab, workspace
    from tinytorch.grading import collect, write
    from tinytorch.grading.judge import Judge

    try:
        lab = open_lab(number)
        submission = collect.read(path, workspace.original(number))
    except (ValueError, OSError) as error:
        raise pytest.UsageError(str(error)) from None
    out = session.config.getoption("tinytorch_json")
    judge = Judge(lab, submission, on_outcome=write.json_writer(out) if out else lambda report: None)
    session.config.add_cleanup(judge.close)
    session.items = [
        CheckItem.from_parent(session, name=name, judge=judge, check=check, nodeid=f"lab{number}::{name}")
        for name, check in lab.checks.items()
    ]
    session.testscollected = len(session.items)
    return True


class NotPassed(Exception):
    """A check that failed or could not be run."""


class CheckItem(pytest.Item):
    """One check of a lab."""

    def __init__(self, *, judge: Any, check: Any, **options: Any) -> None:
        super().__init__(**options)
        self.judge, self.check = judge, check

    def runtest(self) -> None:
        outcome = self.judge.run(self.check)
        self.user_properties += [("points", outcome.points), ("possible", outcome.possible)]
        if outcome.status != "passed":
            hint = f"\nHint: {outcome.hint}" if outcome.hint else ""
            raise NotPassed(f"{outcome.problem}{hint}\n0 of {outcome.possible} points")

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, NotPassed) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return Path(self.judge.submission.name), None, f"{self.name}: {self.check.title}"
