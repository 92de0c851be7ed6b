"""The labs' sources, and submissions made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.course import building, workspace

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LABS = {
    number: path for path in building.sources(NOTEBOOKS) if (number := building.lab_number(path)) is not None
}


def solution(number: int) -> dict[str, Any]:
    """The solved notebook of a lab."""
    return building.instructor_version(LABS[number])


def cell(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell with this grade_id."""
    (found,) = (
        cell for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == name
    )
    return found


def save(notebook: dict[str, Any], folder: Path) -> Path:
    path = folder / "submission.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def caught_by(notebook: dict[str, Any], number: int) -> list[str]:
    """The checks that a notebook's build cells fail, run in this process: a mutant is nobody's attack."""
    from tinytorch.course import open_lab
    from tinytorch.course.failures import CheckFailed

    names: dict[str, Any] = {"np": np}
    for cell in notebook["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        if about.get("solution") and cell["cell_type"] == "code" and "predict_" not in about["grade_id"]:
            exec(cell["source"], names)
    failed = []
    for check in open_lab(number).checks.values():
        try:
            open_lab(number).check(check.name, *(names[need] for need in check.needs))
        except CheckFailed:
            failed.append(check.name)
    return failed


def judge(path: Path, number: int, **options: Any):
    """The report on a submission."""
    from tinytorch.course import open_lab
    from tinytorch.grading import collect
    from tinytorch.grading.judge import Judge

    submission = collect.read(path, workspace.original(number))
    with Judge(open_lab(number), submission, **options) as judge:
        return judge.judge()
