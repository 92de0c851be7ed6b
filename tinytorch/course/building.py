"""Notebooks from their sources: what students get, and what instructors get.

The source is a Python file in jupytext's percent format. Keys in a cell's header say what it is for:

    # %% build="observer"       a student writes the part between ### BEGIN SOLUTION and ### END SOLUTION
    # %% predict="int8"         likewise, for a guess
    # %% check="observer"       calls lab.check("observer", …); points come from the lab's check
    # %% [markdown] answer="gap" points=1    a sentence that a person reads and grades
    # %% ckernel="matmul --name mine"        C, each line of it a comment; becomes a %%ckernel cell

They become nbgrader's metadata (schema 3). The instructor's version is the source as it is. The student's
version is what `nbgrader generate_assignment` makes of that: solutions become `raise NotImplementedError()`,
hidden tests are cut.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from tinytorch.course.checks import numbers, open_lab

CODE_STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")
TEXT_STUB = ("YOUR ANSWER HERE",)
SCHEMA = 3
SOLUTION, HIDDEN = "SOLUTION", "HIDDEN TESTS"

Cell = dict[str, Any]


def sources(folder: Path) -> list[Path]:
    """The notebooks' sources in a folder, in order."""
    return sorted(path for path in folder.glob("*.py") if re.match(r"\d\d_", path.name))


def lab_number(path: Path) -> int | None:
    """The number of a notebook's lab; None for a notebook without checks."""
    number = int(path.name[:2])
    return number if number in numbers() else None


def instructor_version(source: Path) -> dict[str, Any]:
    """The notebook with solutions and hidden tests.

    Raises
    ------
    ValueError
        For a source that breaks a rule: a name used twice, a check that the lab does not have, a marker
        without its partner.
    """
    jupytext = _jupytext()
    number = lab_number(source)
    parsed = jupytext.read(source)
    cells: list[Cell] = []
    for cell in parsed["cells"]:
        if "ckernel" in cell["metadata"]:
            cell["source"] = _c_cell(source, cell)
        metadata = _nbgrader(source, cell, number)
        _cut(source, cell["source"], SOLUTION, ())  # raises for unmatched markers
        cells.append(_cell(cell["cell_type"], cell["source"], metadata))
    names = [cell["metadata"]["nbgrader"]["grade_id"] for cell in cells if cell["metadata"]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{source.name}: two cells are named {', '.join(twice)}")
    if number is not None:
        missing = [name for name in open_lab(number).checks if f"check_{name}" not in names]
        if missing:
            raise ValueError(f"{source.name}: no cell calls the checks {', '.join(missing)}")
    _name_cells(cells)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "tinytorch": {"lab": number},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def student_version(source: Path) -> dict[str, Any]:
    """The notebook as students get it: no solution, no hidden test, no output."""
    notebook = instructor_version(source)
    for cell in notebook["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        text = cell["source"]
        if about.get("solution"):
            stub = CODE_STUB if cell["cell_type"] == "code" else TEXT_STUB
            cut = _cut(source, text, SOLUTION, stub)
            text = cut if cut != text else "\n".join(stub)  # nbgrader's rule for a cell without markers
        cell["source"] = _cut(source, text, HIDDEN, ())
    return notebook


def build(folder: Path, instructor: Path | None = None) -> list[Path]:
    """Write the student's notebooks beside their sources, and the instructor's into another folder.

    Returns
    -------
    list of Path
        The files that changed.
    """
    written = []
    for source in sources(folder):
        versions = [(source.with_suffix(".ipynb"), student_version(source))]
        if instructor is not None:
            versions.append((instructor / f"{source.stem}.ipynb", instructor_version(source)))
        for path, notebook in versions:
            text = dump(notebook)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                written.append(path)
    return written


def stale(folder: Path) -> list[Path]:
    """The student's notebooks that are not what their sources say."""
    return [
        path
        for source in sources(folder)
        for path in [source.with_suffix(".ipynb")]
        if not path.exists() or path.read_text(encoding="utf-8") != dump(student_version(source))
    ]


def dump(notebook: dict[str, Any]) -> str:
    """The text of a notebook file."""
    import nbformat

    notebook = nbformat.from_dict(notebook)
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _jupytext() -> Any:
    try:
        import jupytext  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise ValueError("building notebooks needs jupytext: pip install 'tinytorch[course]'") from None
    return jupytext


def _c_cell(source: Path, cell: Any) -> str:
    """A cell of C: in the source, which is Python, its lines are comments."""
    lines = cell["source"].split("\n")
    if not all(line.startswith("# ") or line == "#" for line in lines):
        raise ValueError(f"{source.name}: every line of a ckernel cell must begin with '# '")
    return "\n".join([f"%%ckernel {cell['metadata']['ckernel']}", *(line[2:] for line in lines)])


def _cell(kind: str, source: str, metadata: dict[str, Any]) -> Cell:
    cell: Cell = {"cell_type": kind, "metadata": metadata, "source": source}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell


def _name_cells(cells: list[Cell]) -> None:
    """An id for each cell that only changes with its content, so that a rebuilt notebook differs little."""
    seen: set[str] = set()
    for cell in cells:
        about = cell["metadata"].get("nbgrader")
        name = about["grade_id"] if about else hashlib.sha256(cell["source"].encode()).hexdigest()[:12]
        while name in seen:
            name += "-"
        seen.add(name)
        cell["id"] = name


def _nbgrader(source: Path, cell: Any, number: int | None) -> dict[str, Any]:
    """The metadata of a cell, from the keys in its header."""
    header = cell["metadata"]
    code = cell["cell_type"] == "code"
    base = {"grade": False, "locked": False, "schema_version": SCHEMA, "solution": False, "task": False}
    if "build" in header or "predict" in header:
        name = header["build"] if "build" in header else f"predict_{header['predict']}"
        return {"nbgrader": base | {"grade_id": name, "solution": True}}
    if "answer" in header and not code:
        points = int(header["points"])
        name = f"answer_{header['answer']}"
        return {"nbgrader": base | {"grade_id": name, "grade": True, "solution": True, "points": points}}
    if "check" not in header:
        return {}
    name = header["check"]
    checks = open_lab(number).checks if number is not None else {}
    if name not in checks:
        raise ValueError(f"{source.name}: its lab has no check {name!r}; it has {', '.join(checks)}")
    if f'lab.check("{name}"' not in cell["source"]:
        raise ValueError(f'{source.name}: the cell check="{name}" must call lab.check("{name}", …)')
    points = checks[name].points
    return {"nbgrader": base | {"grade_id": f"check_{name}", "grade": True, "locked": True, "points": points}}


def _cut(source: Path, text: str, what: str, stub: tuple[str, ...]) -> str:
    """The text with each region between BEGIN and END replaced by the stub, at the region's indent."""
    kept: list[str] = []
    inside = False
    for line in text.split("\n"):
        if f"### BEGIN {what}" in line or f"### END {what}" in line:
            if inside == ("BEGIN" in line):
                raise ValueError(f"{source.name}: {line.strip()!r} without its partner in\n{text}")
            inside = not inside
            if inside:
                indent = line[: len(line) - len(line.lstrip())]
                kept += [indent + part for part in stub]
        elif not inside:
            kept.append(line)
    if inside:
        raise ValueError(f"{source.name}: ### BEGIN {what} without ### END {what} in\n{text}")
    return "\n".join(kept)
