"""``tinytorch doctor``: look at Python, NumPy, the compiler and the CPU."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .shared import EXIT_FAILED, EXIT_OK


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    doctor = commands.add_parser("doctor", help="look at Python, NumPy, the compiler and the CPU")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look and tell; returns the exit code."""
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
