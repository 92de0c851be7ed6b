"""``tinytorch milestones``: train the networks that made history."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import EXIT_FAILED, EXIT_OK, positive

if TYPE_CHECKING:
    from tinytorch.milestones import Outcome


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    stones = commands.add_parser("milestones", help="train the networks that made history")
    stones.add_argument("years", nargs="*", metavar="YEAR", help="which ones, or 'all'; without, list them")
    stones.add_argument("--seeds", type=positive, default=1, metavar="N", help="train each N times (1)")
    stones.add_argument(
        "--out", type=Path, default=Path("tinytorch-milestones"), metavar="DIR", help="where the pictures go"
    )
    stones.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    stones.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train and show, or list what there is; returns the exit code."""
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
                _show(outcome)
    if options.json:
        print(json.dumps([outcome.record() for outcome in outcomes], indent=1))
    return EXIT_OK if all(outcome.reached for outcome in outcomes) else EXIT_FAILED


def _year(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"milestones: {text!r} is no year; `tinytorch milestones` lists them")
    return int(text)


def _show(outcome: Outcome) -> None:
    verdict = "reached" if outcome.reached else "NOT reached"
    print(
        f"      seed {outcome.seed}: {outcome.accuracy:.2f} % right, {verdict}, in {outcome.seconds:.0f} s "
        "(measured)"
    )
    for finding in outcome.findings:
        print(f"        {finding}")
    for path in outcome.written:
        print(f"        {path}")
