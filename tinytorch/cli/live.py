"""``tinytorch live NAME``: an experiment before an audience, with a guess first and large figures."""

from __future__ import annotations

import argparse
import json
import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, positive, progress_bar

if TYPE_CHECKING:
    from tinytorch.experiments import Record, Section
    from tinytorch.experiments.quiet import Quiet

# What the headline's number answers.
QUESTIONS = {
    "acceleration": "How many times as fast as plain loops is a matrix product in C?",
    "quantization": "How many times as fast is the CNN with 8-bit integers from input to logits?",
    "pruning": "How many times as fast is a layer without 95 % of its weights, removed one by one?",
    "caching": "How many times as fast is a long text with a KV cache?",
    "training": "How many times as fast is a training step with the kernels?",
}


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    live = commands.add_parser(
        "live",
        help="show an experiment to a room: prediction, measurement, large figures",
        description="Measure an experiment before an audience: looks whether the machine is quiet, asks for "
        "a prediction, measures, shows large figures. Needs no network.",
    )
    live.add_argument("name", metavar="NAME", help=", ".join(QUESTIONS))
    live.add_argument(
        "--effort",
        choices=("quick", "normal", "thorough"),
        default="quick",
        help="how long to measure (quick)",
    )
    live.add_argument("--threads", type=positive, metavar="N", help="threads for the kernels")
    live.add_argument("--predict", type=float, metavar="X", help="the room's guess, instead of asking for it")
    live.add_argument("--recorded", type=Path, metavar="FILE", help="show this record instead of measuring")
    live.add_argument("--dark", action="store_true", help="light on dark")
    live.add_argument("--no-window", action="store_true", help="open no window, only write the files")
    live.add_argument("--out", type=Path, default=Path("tinytorch-live"), metavar="DIR", help="for the files")
    live.add_argument("--json", action="store_true", help="print everything as JSON; asks nothing")
    live.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look, ask, measure, show; returns the exit code."""
    from tinytorch import experiments, report

    if options.name not in QUESTIONS:
        raise ValueError(f"live: no experiment is called {options.name!r}; there are {', '.join(QUESTIONS)}")
    record = _recorded(options.recorded, options.name) if options.recorded else None
    report.prepare_folder(options.out)
    notes, quiet = [], None
    if record is None:
        quiet = _look()
        notes.append(_how_quiet(quiet))
    else:
        notes.append(f"Recorded: shown from {options.recorded.name}, nothing is measured now.")
    _say(options, *notes)
    guess = options.predict if options.predict is not None else _ask(options)
    if record is None:
        with progress_bar() as progress:
            record = experiments.run(
                [options.name], effort=options.effort, threads=options.threads, progress=progress
            )
    section = _section(record, options.name)
    if guess is not None:
        notes.append(_against(guess, section))
    written = _write(record, section, notes, options)
    if options.json:
        print(
            json.dumps(_as_data(record, quiet, guess, bool(options.recorded)), indent=1, ensure_ascii=False)
        )
    else:
        _show(section, notes, bool(options.recorded))
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    if not options.no_window and not options.json and _has_display():
        webbrowser.open(written[0].resolve().as_uri())
    return {"complete": EXIT_OK, "partial": EXIT_INTERRUPTED}.get(record.status, EXIT_FAILED)


def _recorded(path: Path, name: str) -> Record:
    from tinytorch import experiments

    record = experiments.from_json(path.read_text(encoding="utf-8"))
    _section(record, name)
    return record


def _section(record: Record, name: str) -> Section:
    for section in record.sections:
        if section.name == name:
            return section
    there = ", ".join(section.name for section in record.sections) or "none"
    raise ValueError(f"live: the record has no section {name!r}; there is {there}")


def _look() -> Quiet:
    from tinytorch.experiments import quiet

    return quiet.look()


def _how_quiet(found: Quiet) -> str:
    load = "" if found.load is None else f", {found.load.value:.1f} processes want to run"
    about = f"identical code differs by a factor of {found.noise.value:.3f}{load} (measured)"
    if not found.problems:
        return f"This machine is quiet: {about}."
    return f"This machine is not quiet: {'; '.join(found.problems)} (measured). Intervals will be wide."


def _ask(options: argparse.Namespace) -> float | None:
    """The room's guess, None when there is nobody to ask or they skip it."""
    if options.json or not sys.stdin.isatty():
        return None
    question = f"{QUESTIONS[options.name]} Your guess (Enter skips): "
    while True:
        try:
            text = input(question).strip().rstrip("×x").replace(",", ".")
        except EOFError:
            return None
        if not text:
            return None
        try:
            guess = float(text)
        except ValueError:
            guess = 0.0
        if 0 < guess < float("inf"):
            return guess
        question = "A number above 0, such as 3 or 0.8 (Enter skips): "


def _against(guess: float, section: Section) -> str:
    from tinytorch import report
    from tinytorch.report.terminal import cell

    found = report.headline(section)
    if found is None:
        return f"The room said {guess:g}×; nothing was measured to hold it against."
    quantity = found[1]
    low, high = getattr(quantity, "low", None), getattr(quantity, "high", None)
    if low is not None and high is not None and low <= guess <= high:
        return f"The room said {guess:g}×: inside the interval of {cell(quantity)}."
    return f"The room said {guess:g}×; it is {cell(quantity)} ({quantity.tag})."


def _write(record: Record, section: Section, notes: list[str], options: argparse.Namespace) -> list[Path]:
    """The screens first, then the record, then each figure."""
    from tinytorch import experiments, report, viz
    from tinytorch.experiments.storage import write_atomically

    text = report.slides(record, section, notes, dark=options.dark, recorded=bool(options.recorded))
    files = {f"{section.name}.html": text.encode("utf-8")}
    if not options.recorded:
        files[f"{section.name}.json"] = experiments.to_json(record).encode("utf-8")
    for number, figure in enumerate(section.figures, start=1):
        with viz.theme("lecture-dark" if options.dark else "lecture"):
            files[f"{section.name}-{number}.png"] = viz.png(viz.draw(figure))
    for name, data in files.items():
        write_atomically(options.out / name, data)
    return [options.out / name for name in files]


def _say(options: argparse.Namespace, *lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr if options.json else sys.stdout)


def _show(section: Section, notes: list[str], recorded: bool) -> None:
    """The headline in large digits, then what was found, a sentence a paragraph."""
    from rich.console import Console
    from rich.text import Text

    from tinytorch import report
    from tinytorch.report.terminal import cell, sentence

    console = Console()
    console.print()
    console.rule(Text(section.title + (" (recorded)" if recorded else ""), style="bold"))
    found = report.headline(section)
    if found is not None:
        what, quantity = found
        console.print(Text(f"\n{what}\n"), justify="center")
        console.print(Text(report.banner(quantity), style="bold"), justify="center")
        console.print(Text(f"\n{cell(quantity)} ({quantity.tag})\n", style="bold"), justify="center")
    for line in (*notes, *map(sentence, section.statements)):
        console.print(Text(f"{line}\n"))
    if section.status != "complete":
        console.print(Text(f"{section.status} {section.error}".strip(), style="bold red"))


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _as_data(record: Record, quiet: Quiet | None, guess: float | None, recorded: bool) -> dict[str, Any]:
    from tinytorch import experiments

    look = None
    if quiet is not None:
        load = None if quiet.load is None else {"value": quiet.load.value, "tag": quiet.load.tag}
        noise = {"value": quiet.noise.value, "n": quiet.noise.n, "tag": quiet.noise.tag}
        look = {"noise": noise, "load": load, "cores": quiet.cores, "problems": quiet.problems}
    return {
        "recorded": recorded,
        "quiet": look,
        "prediction": guess,
        "record": json.loads(experiments.to_json(record)),
    }
