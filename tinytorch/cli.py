"""The ``tinytorch`` command."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinytorch.milestones import Outcome

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2  # argparse's own
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("tinytorch: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (OSError, ValueError) as error:
        print(f"tinytorch: {error}", file=sys.stderr)
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tinytorch", description="Learn ML systems on your own machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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
    report.add_argument("--threads", type=_positive, metavar="N", help="threads for the kernels")
    report.set_defaults(run=_report, effort="normal")

    stones = commands.add_parser("milestones", help="train the networks that made history")
    stones.add_argument("years", nargs="*", metavar="YEAR", help="which ones, or 'all'; without, list them")
    stones.add_argument("--seeds", type=_positive, default=1, metavar="N", help="train each N times (1)")
    stones.add_argument(
        "--out", type=Path, default=Path("tinytorch-milestones"), metavar="DIR", help="where the pictures go"
    )
    stones.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    stones.set_defaults(run=_milestones)

    doctor = commands.add_parser("doctor", help="look at Python, NumPy, the compiler and the CPU")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _report(options: argparse.Namespace) -> int:
    from rich.console import Console

    from tinytorch import experiments, report

    for name in options.only:
        experiments.load(name)
    report.prepare_folder(options.out)
    with _progress_bar() as progress:
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


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error, so that standard output holds nothing but the report."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # A bar that redraws from a thread of its own would disturb what is being timed: it is drawn only when
    # told to.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def progress(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message, refresh=True)

        yield progress


def _milestones(options: argparse.Namespace) -> int:
    from tinytorch import milestones

    if not options.years:
        for year, milestone in ((year, milestones.load(year)) for year in milestones.YEARS):
            print(f"{year}  {milestone.TITLE} (target: {milestone.TARGET} %)")
        print("Train one with `tinytorch milestones YEAR`, all with `tinytorch milestones all`.")
        return EXIT_OK
    years = list(milestones.YEARS) if options.years == ["all"] else [_year(text) for text in options.years]
    outcomes = []
    for year in years:
        milestone = milestones.load(year)
        if not options.json:
            print(f"{year}  {milestone.TITLE}; target {milestone.TARGET} %")
        for seed in range(options.seeds):
            try:
                outcome = milestones.run(year, seed, options.out)
            except milestones.Unavailable as missing:
                print(f"      left out: {missing}", file=sys.stderr)
                break
            outcomes.append(outcome)
            if not options.json:
                _show_outcome(outcome)
    if options.json:
        print(json.dumps([outcome.record() for outcome in outcomes], indent=1))
    return EXIT_OK if all(outcome.reached for outcome in outcomes) else EXIT_FAILED


def _year(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"milestones: {text!r} is no year; `tinytorch milestones` lists them")
    return int(text)


def _show_outcome(outcome: Outcome) -> None:
    verdict = "reached" if outcome.reached else "NOT reached"
    print(
        f"      seed {outcome.seed}: {outcome.accuracy:.2f} % right, {verdict}, in {outcome.seconds:.0f} s "
        "(measured)"
    )
    for finding in outcome.findings:
        print(f"        {finding}")
    for path in outcome.written:
        print(f"        {path}")


def _doctor(options: argparse.Namespace) -> int:
    from tinytorch import environment

    checks = environment.check()
    if options.json:
        found = {"checks": [vars(check) for check in checks], "ok": all(check.ok for check in checks)}
        print(json.dumps({**environment.describe(), **found}, indent=1))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.name:<{width}}  {check.found}" + ("" if check.ok else f"  -> {check.cure}"))
    return EXIT_OK if all(check.ok for check in checks) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
