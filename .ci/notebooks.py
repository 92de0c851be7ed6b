"""Run every notebook from top to bottom, as students and as instructors get it.

    .ci/notebooks.py [NAME ...]     only those whose names contain one of these

The solved version must run without an error; the student's may raise NotImplementedError, which says that
something is still to be done, and nothing else. Their times are printed, with a neighbour running.
"""

import ast
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tinytorch.course import building
from tinytorch.grading import collect

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "notebooks"


def run(notebook: dict, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    node = nbformat.from_dict(notebook)
    NotebookClient(node, timeout=300, allow_errors=True, resources={"metadata": {"path": folder}}).execute()
    nbformat.write(node, folder / "executed.ipynb")
    return node


def errors(node: nbformat.NotebookNode) -> list[tuple[str, dict]]:
    """(source of the cell, its error) for each cell that raised."""
    return [
        (cell["source"], output)
        for cell in node["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]


def not_done_yet(error: dict, missing: set[str]) -> bool:
    """Whether an error says no more than that a stub is still there, or that its results are missing."""
    if error["ename"] == "NameError":
        return any(f"'{name}'" in error["evalue"] for name in missing)
    return error["ename"] in ("NotImplementedError", "NotBuilt", "NotYet")


def unexpected(raised: list[tuple[str, dict]], student: bool) -> list[tuple[str, dict]]:
    """The errors that no stub accounts for."""
    missing: set[str] = set()
    bad = []
    for source, error in raised:
        if student and not_done_yet(error, missing):
            missing.update(collect.defined(ast.parse(source)))
        else:
            bad.append((source, error))
    return bad


def check(source: Path, version: str) -> int:
    """Run one version of a notebook; returns how many of its cells are wrong."""
    build = building.instructor_version if version == "solved" else building.student_version
    start = time.monotonic()
    raised = errors(run(build(source), BUILD / source.stem / version))
    bad = unexpected(raised, version == "student")
    seconds, todo = time.monotonic() - start, len(raised) - len(bad)
    print(f"{source.stem}, {version}: {seconds:.0f} s, {todo} cells to do, {len(bad)} wrong", flush=True)
    for text, error in bad:
        print(f"--- {error['ename']}: {error['evalue']}\n{text}\n", file=sys.stderr)
    return len(bad)


def main(wanted: list[str]) -> int:
    # Cells of a test run need no sharp interval, so notebooks may run beside each other.
    os.environ.setdefault("TINYTORCH_QUICK", "1")
    os.environ["PYTHONPATH"] = str(ROOT)
    runs = [
        (source, version)
        for source in building.sources(ROOT / "notebooks")
        if not wanted or any(part in source.name for part in wanted)
        for version in ("solved", "student")
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = sum(pool.map(check, *zip(*runs, strict=True)))
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
