"""``tinytorch course``: take a lab, work on it, have it checked."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .shared import EXIT_FAILED, EXIT_OK


def add_to(commands: Any) -> None:
    """Declare the command, what it can do and its options."""
    course = commands.add_parser("course", help="take a lab, work on it, have it checked")
    actions = course.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        parser.set_defaults(run=run)
        return parser

    for name, run, text in (
        ("start", _start, "copy a notebook into your folder; never writes over one"),
        ("check", _check, "run a lab's checks on your notebook"),
        ("reset", _reset, "start a notebook again; yours is kept under another name"),
    ):
        parser = action(name, run, text)
        parser.add_argument("number", type=int, metavar="N", help="of the notebook, such as 17")
        _add_folder(parser)
        if name == "check":
            parser.add_argument("--json", action="store_true", help="print the report as JSON")
    status = action("status", _status, "show how far you are in each lab")
    _add_folder(status)
    status.add_argument("--json", action="store_true", help="as JSON")
    _add_folder(action("lab", _lab, "open your folder in JupyterLab"))

    guesses = action("predictions", _predictions, "all predictions below some folders as CSV, without names")
    guesses.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    guesses.add_argument("--out", type=Path, metavar="FILE", help="instead of printing it")

    build = action("build", _build, "make the notebooks from their sources, for students and instructors")
    build.add_argument("--sources", type=Path, default=Path("notebooks"), metavar="DIR", help="notebooks/")
    build.add_argument("--instructor", type=Path, metavar="DIR", help="write the solved ones here")
    build.add_argument("--check", action="store_true", help="write nothing, say which are out of date")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    text = "your folder (TINYTORCH_COURSE, else tinytorch-course)"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=text)


def _folder(options: argparse.Namespace) -> Path:
    from tinytorch.course import workspace

    return options.folder or workspace.default_folder()


def _start(options: argparse.Namespace) -> int:
    from tinytorch.course import workspace

    print(f"{workspace.start(options.number, _folder(options))}")
    print("Open it with `tinytorch course lab`; `tinytorch course check` says how far you are.")
    return EXIT_OK


def _reset(options: argparse.Namespace) -> int:
    from tinytorch.course import workspace

    fresh, backup = workspace.reset(options.number, _folder(options))
    print(f"{fresh} is new; yours is kept as {backup}")
    return EXIT_OK


def _check(options: argparse.Namespace) -> int:
    """Exit code 0 when every check passes."""
    from tinytorch.course import open_lab, workspace
    from tinytorch.grading import collect
    from tinytorch.grading.judge import Judge

    lab, folder = open_lab(options.number), _folder(options)
    path = workspace.notebook(options.number, folder)
    submission = collect.read(path, workspace.original(options.number))
    with Judge(lab, submission) as judge:
        for check in lab.checks.values():
            outcome = judge.run(check)
            if not options.json:
                _show(outcome)
    report = judge.report
    workspace.remember(report.record(), path, folder)
    if options.json:
        print(json.dumps(report.record(), indent=1))
    else:
        print(f"{report.points} of {report.possible} points")
    return EXIT_OK if report.points == report.possible else EXIT_FAILED


def _show(outcome: Any) -> None:
    print(f"{outcome.status:>10}  {outcome.name} ({outcome.points} of {outcome.possible}): {outcome.title}")
    for text in filter(None, (outcome.problem, outcome.hint and f"Hint: {outcome.hint}")):
        print(f"            {text}")


def _status(options: argparse.Namespace) -> int:
    from tinytorch.course import workspace

    labs = workspace.status(_folder(options))
    if options.json:
        print(json.dumps([vars(lab) for lab in labs], indent=1))
        return EXIT_OK
    for lab in labs:
        points = f", {lab.points} of {lab.possible} points" if "check" in lab.state else ""
        print(f"{lab.number:>2}  {lab.title}: {lab.state}{points}")
    return EXIT_OK


def _lab(options: argparse.Namespace) -> int:
    import importlib.util

    folder = _folder(options)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not there; `tinytorch course start N` makes it")
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError("JupyterLab is not installed: pip install 'tinytorch[course]'")
    return subprocess.run([sys.executable, "-m", "jupyterlab", str(folder)]).returncode


def _predictions(options: argparse.Namespace) -> int:
    from tinytorch.course import predictions

    text = predictions.export(options.folders)
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
    return EXIT_OK


def _build(options: argparse.Namespace) -> int:
    from tinytorch.course import building

    if not building.sources(options.sources):
        raise ValueError(f"there are no sources of notebooks in {options.sources}; say where: --sources DIR")
    if options.check:
        stale = building.stale(options.sources)
        for path in stale:
            print(f"{path} is not what its source says; run `tinytorch course build`", file=sys.stderr)
        return EXIT_FAILED if stale else EXIT_OK
    for path in building.build(options.sources, options.instructor):
        print(path)
    return EXIT_OK
