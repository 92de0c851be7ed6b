"""``tinytorch report``: measure what each optimization is worth on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .shared import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, positive, progress_bar


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    report = commands.add_parser("report", help="measure what each optimization is worth on this machine")
    effort = report.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick",
        dest="effort",
        action="store_const",
        const="quick",
        help="under 45 seconds, wider intervals",
    )
    effort.add_argument(
        "--thorough", dest="effort", action="store_const", const="thorough", help="more samples, larger sizes"
    )
    report.add_argument("--only", nargs="+", metavar="NAME", default=[], help="only these experiments")
    report.add_argument(
        "--out", type=Path, default=Path("tinytorch-report"), metavar="DIR", help="where the files go"
    )
    report.add_argument("--json", action="store_true", help="print the record as JSON instead of tables")
    report.add_argument("--figures", action="store_true", help="write each figure as a PNG, too")
    report.add_argument("--threads", type=positive, metavar="N", help="threads for the kernels")
    report.set_defaults(run=run, effort="normal")


def run(options: argparse.Namespace) -> int:
    """Measure, write, and show; returns the exit code."""
    from rich.console import Console

    from tinytorch import experiments, report

    for name in options.only:
        experiments.load(name)
    report.prepare_folder(options.out)
    with progress_bar() as progress:
        record = experiments.run(
            options.only, effort=options.effort, threads=options.threads, progress=progress
        )
    written = report.save(record, options.out, figures=options.figures)
    if options.json:
        print(experiments.to_json(record))
    else:
        # Tables written to a file or a pipe need no terminal's width.
        report.show(record, Console(width=None if sys.stdout.isatty() else 130))
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    return {"complete": EXIT_OK, "partial": EXIT_INTERRUPTED}.get(record.status, EXIT_FAILED)
