"""Networks that made history, each trained again on real data in a page of code: ``tinytorch milestones``."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType

from tinytorch import viz

from .outcome import Outcome, Unavailable

__all__ = ["YEARS", "Outcome", "Unavailable", "load", "run"]

# Year -> the script, which has a TITLE, a TARGET and a function run(seed) -> Outcome.
YEARS = {
    1957: "perceptron",
    1969: "xor",
    1986: "mlp",
    1998: "cnn",
    2012: "deep_cnn",
    2017: "transformer",
    2018: "olympics",
}


def load(year: int) -> ModuleType:
    """The script of a milestone.

    Raises
    ------
    ValueError
        If there is none of that year.
    """
    if year not in YEARS:
        raise ValueError(f"there is no milestone of {year}; there are {', '.join(map(str, YEARS))}")
    return importlib.import_module(f"tinytorch.milestones.{YEARS[year]}")


def run(year: int, seed: int, folder: Path) -> Outcome:
    """Run a milestone and write its pictures as ``folder/YEAR-SEED-NAME.png``.

    Raises
    ------
    Unavailable
        If it needs files that are not here.
    """
    milestone = load(year)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    outcome: Outcome = milestone.run(seed)
    outcome.year, outcome.seed, outcome.seconds = year, seed, time.perf_counter() - start
    for name, picture in outcome.pictures.items():
        path = folder / f"{year}-{seed}-{name}.png"
        path.write_bytes(viz.png(picture))
        outcome.written.append(path)
    return outcome
