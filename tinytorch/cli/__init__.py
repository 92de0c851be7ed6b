"""The ``tinytorch`` command: each of its commands is a file here, with `add_to` and `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from .shared import EXIT_INTERRUPTED, EXIT_USAGE

COMMANDS = (
    "report",
    "live",
    "milestones",
    "train",
    "generate",
    "quantize",
    "prune",
    "profile",
    "bench",
    "course",
    "doctor",
)  # in the order of --help


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
    for name in COMMANDS:
        import_module(f".{name}", __package__).add_to(commands)
    return parser
