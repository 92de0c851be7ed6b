"""The command line: ``python -m benchmarks [FILTER ...]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks import run

# BLAS libraries read these when they are loaded.
# OpenBLAS's threads wait for work as many ticks as this power of two: long enough to bridge two calls of the
# same sample, short enough that the next contender need not wait long for its CPUs.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "24")
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Our kernels against others'.")
    parser.add_argument(
        "filters", nargs="*", metavar="FILTER", help="FAMILY or FAMILY:TEXT, such as matmul or matmul:512"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="instead of one, and then all")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each case (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the ratios there")
    parser.add_argument("--list", action="store_true", help="only name the cases")
    chosen = parser.parse_args()
    if chosen.threads is not None and chosen.threads < 1:
        parser.error("--threads: at least 1")
    return chosen


def restart_with_threads(count: int) -> None:
    """Start this program again with the environment that gives BLAS so many threads."""
    os.environ.update(dict.fromkeys(BLAS_THREADS, str(count)))
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])


def main() -> int:
    """Measure, print, write; returns the exit status."""
    chosen = arguments()
    if not find_spec("threadpoolctl"):
        # Nothing else can change a BLAS's threads once it runs, so there is one number for the whole run.
        chosen.threads = chosen.threads or 1
        if os.environ.get("OMP_NUM_THREADS") != str(chosen.threads):
            restart_with_threads(chosen.threads)

    from rich.console import Console

    from benchmarks import output, peers, run
    from tinytorch import kernels

    # A file or a pipe has no width; a terminal knows its own.
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        filters = [run.Filter.parse(text) for text in chosen.filters]
    except ValueError as error:
        console.print(f"[red]{error}[/]")
        return 2
    counts = [chosen.threads] if chosen.threads else sorted({1, kernels.get_num_threads()})
    if chosen.list:
        for family in run.families(filters):
            for case in run.selected(family, filters, 1):
                print(f"{family}: {case.family} {case.shape}")
        return 0
    if absent := peers.missing():
        console.print(f"Not installed, so left out: {', '.join(absent)}. `make bench` installs them.")

    results: list[run.Result] = []
    complete = False
    try:
        measure_all(filters, counts, chosen.seconds, results, console)
        complete = True
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted: what was measured until then is kept.[/]")
    if chosen.json:
        output.write_json(results, chosen.json, seconds=chosen.seconds, complete=complete)
    if chosen.plots:
        output.write_plots(results, chosen.plots)
    if len(groups := output.grouped(results)) > 1:
        for group in groups:
            console.print(output.summary(group), highlight=False)
    return 0 if complete else 130


def measure_all(
    filters: Sequence[run.Filter],
    counts: Sequence[int],
    seconds: float,
    results: list[run.Result],
    console: Console,
) -> None:
    """Add each case's result to `results`; show a family as soon as it is done, or interrupted."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks import output, peers, run

    parts = [(family, threads) for family in run.families(filters) for threads in counts]
    with tqdm(parts, unit="family", leave=False) as bar:
        for family, threads in bar:
            before = len(results)
            try:
                with peers.equal_threads(threads):
                    for case in run.selected(family, filters, threads):
                        bar.set_description(f"{case.family} {case.shape}, threads: {threads}")
                        results.append(run.measure(case, threads, seconds))
            finally:
                bar.clear()
                output.show(results[before:], console)


if __name__ == "__main__":
    sys.exit(main())
