"""``tinytorch bench``: run suites of races, compare their records, rank them, and see what loses."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .shared import EXIT_OK, positive, progress_bar


def add_to(commands: Any) -> None:
    """Declare the command, its own commands and their options."""
    bench = commands.add_parser("bench", help="race, compare and rank; see which optimizations lose")
    kinds = bench.add_subparsers(required=True, metavar="WHAT")

    gallery = kinds.add_parser("gallery", help="optimizations that lose, raced on this machine")
    gallery.add_argument("names", nargs="*", metavar="NAME", help="only these cases")
    gallery.add_argument("--list", action="store_true", help="only name the cases")
    gallery.add_argument("--seconds", type=_seconds, default=0.5, metavar="S", help="for each case (0.5)")
    gallery.add_argument("--json", action="store_true", help="as JSON")
    gallery.set_defaults(run=_gallery)

    suite = kinds.add_parser("suite", help="run a suite and keep its record")
    suite.add_argument("name", nargs="?", metavar="NAME", help="without, list them")
    suite.add_argument("--label", default="", help="whose run this is, or of which version")
    suite.add_argument("--passes", type=positive, default=5, metavar="N", help="at least 2 (5)")
    suite.add_argument("--seconds", type=_seconds, default=1.0, metavar="S", help="for each race (1)")
    suite.add_argument("--out", type=Path, metavar="FILE", help="write the record there")
    suite.set_defaults(run=_suite)

    compare = kinds.add_parser("compare", help="what changed between two records of a suite")
    compare.add_argument("records", nargs=2, type=Path, metavar="FILE")
    compare.add_argument("--mixed", action="store_true", help="even if their machines differ")
    compare.set_defaults(run=_compare)

    board = kinds.add_parser("leaderboard", help="rank the records in a folder")
    board.add_argument("folder", type=Path, metavar="DIR")
    board.add_argument("--suite", metavar="NAME", help="only records of this suite")
    board.add_argument("--mixed", action="store_true", help="even if their machines differ")
    board.set_defaults(run=_leaderboard)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 3600:
        raise argparse.ArgumentTypeError(f"must be above 0 and below an hour, got {text}")
    return number


def _gallery(options: argparse.Namespace) -> int:
    from tinytorch import timing
    from tinytorch.experiments import gallery

    names = options.names or gallery.names()
    cases = [gallery.find(name) for name in names]
    if options.list:
        for case in cases:
            print(f"{case.name}: {case.title}")
        return EXIT_OK
    findings = []
    for case in cases:
        finding = gallery.run(case.name, seconds=options.seconds)
        findings.append(finding)
        if not options.json:
            print(f"{finding.name}\n  {finding}\n  ({finding.plain}, against {finding.optimized})")
    if options.json:
        data = {"machine": timing.machine(), "findings": [finding.to_dict() for finding in findings]}
        print(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        lost = sum(finding.hurts for finding in findings)
        print(f"\n{lost} of {len(findings)} lose here with confidence (measured, each by itself).")
    return EXIT_OK


def _suite(options: argparse.Namespace) -> int:
    from tinytorch import _text
    from tinytorch.benchmarking import SUITES, suite

    if options.name is None:
        for name in SUITES:
            print(f"{name}: {', '.join(suite(name).entries)}")
        return EXIT_OK
    with progress_bar() as progress:
        record = suite(options.name).run(
            seconds=options.seconds, passes=options.passes, label=options.label, progress=progress
        )
    rows = [
        (name, " against ".join(reversed(passes[0].names)), record.gain(name), record.verdict(name))
        for name, passes in record.races.items()
    ]
    print(_text.table(("race", "raced", "gain", "verdict"), rows))
    print(
        f"Geometric mean {record.score}, noise floor {record.noise:.3f}× (measured, {options.passes} passes)."
    )
    if options.out:
        print(f"wrote {record.save(options.out)}", file=sys.stderr)
    return EXIT_OK


def _compare(options: argparse.Namespace) -> int:
    from tinytorch.benchmarking import compare_records, load_record

    print(compare_records(*map(load_record, options.records), mixed=options.mixed))
    return EXIT_OK


def _leaderboard(options: argparse.Namespace) -> int:
    from tinytorch.benchmarking import leaderboard

    print(leaderboard(options.folder, suite=options.suite, mixed=options.mixed))
    return EXIT_OK
