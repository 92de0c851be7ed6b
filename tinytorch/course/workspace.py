"""A student's folder: labs are copied into it, and nothing in it is ever written over."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytorch.course.checks import numbers, open_lab
from tinytorch.experiments.storage import write_atomically

FOLDER = "tinytorch-course"
PROGRESS = "progress.json"


def default_folder() -> Path:
    """TINYTORCH_COURSE, else a folder in the working folder."""
    return Path(os.environ.get("TINYTORCH_COURSE") or FOLDER)


def shipped() -> list[Path]:
    """The students' notebooks that came with the package, or lie beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parents[1] / "notebooks"):
        if found := sorted(folder.glob("[0-9][0-9]_*.ipynb")):
            return found
    raise FileNotFoundError("the notebooks are missing from this installation; install tinytorch again")


def original(number: int) -> Path:
    """The notebook of this number as students get it."""
    for path in shipped():
        if int(path.name[:2]) == number:
            return path
    raise ValueError(
        f"there is no notebook {number}; there are {', '.join(str(int(path.name[:2])) for path in shipped())}"
    )


def start(number: int, folder: Path) -> Path:
    """Copy a notebook into the folder.

    Raises
    ------
    FileExistsError
        If it is there already.
    """
    source = original(number)
    target = folder / source.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise FileExistsError(
            f"{target} is there already and stays as it is; `tinytorch course reset {number}` starts again "
            "and keeps a copy of it"
        ) from None
    return target


def reset(number: int, folder: Path, now: datetime.datetime | None = None) -> tuple[Path, Path]:
    """Start a notebook again; the old one is renamed with the date. Returns (notebook, the old one)."""
    target = notebook(number, folder)
    stamp = (now or datetime.datetime.now()).strftime("%Y-%m-%d_%H-%M-%S")
    backup = target.with_name(f"{target.stem}.{stamp}.ipynb")
    if backup.exists():
        raise FileExistsError(f"{backup} is there already; wait a second and try again")
    target.rename(backup)
    return start(number, folder), backup


def notebook(number: int, folder: Path) -> Path:
    """The student's notebook of this number."""
    target = folder / original(number).name
    if not target.exists():
        raise FileNotFoundError(f"{target} is not there; `tinytorch course start {number}` puts it there")
    return target


# --- progress ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a lab is: `state` is "not started", "started", "checked" or "changed since the check"."""

    number: int
    title: str
    state: str
    points: int
    possible: int


def remember(report: dict[str, Any], path: Path, folder: Path) -> None:
    """Keep the points of a check, with the fingerprint of the notebook that earned them."""
    known = _known(folder)
    known[str(report["lab"])] = {"points": report["points"], "notebook": _fingerprint(path)}
    write_atomically(folder / PROGRESS, (json.dumps(known, indent=1) + "\n").encode())


def status(folder: Path) -> list[Progress]:
    """The progress in each lab, from what is in the folder."""
    known = _known(folder)
    result = []
    for number in numbers():
        lab, path = open_lab(number), folder / original(number).name
        entry = known.get(str(number))
        if not path.exists():
            state = "not started"
        elif entry is None:
            state = "started"
        else:
            state = "checked" if entry["notebook"] == _fingerprint(path) else "changed since the check"
        points = entry["points"] if entry and path.exists() else 0
        result.append(Progress(number, lab.title, state, points, lab.points))
    return result


def _known(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
