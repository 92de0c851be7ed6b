"""Records made by hand, so that no machine's speed decides a test."""

import numpy as np

from tinytorch import timing
from tinytorch.benchmarking import SuiteRecord
from tinytorch.quantities import Measured

MACHINE = {
    "cpu": "a CPU",
    "architecture": "x",
    "level": "scalar",
    "cores": 2,
    "threads": 1,
    "system": "Linux",
}


def race_of(gain, spread=0.02, rounds=24, seed=0):
    """A race whose contender is `gain` times faster, with noise."""
    rng = np.random.default_rng(seed)
    baseline = np.exp(spread * rng.standard_normal(rounds)) * 1e-3
    contender = np.exp(spread * rng.standard_normal(rounds)) * 1e-3 / gain
    ratio = Measured(float(np.median(baseline / contender)), "×")
    seconds = (tuple(baseline.tolist()), tuple(contender.tolist()))
    return timing.Race(("slow", "fast"), seconds, (1, 1), ratio, 1.0, "undecided", 0.95, dict(MACHINE))


def record_of(gains, *, label="", suite="example", machine=(), noise=1.01, seed=0, passes=5, between=0.0):
    """A record of one suite: race's name → gain. `between` is the spread from one pass to the next."""
    rng = np.random.default_rng(seed)
    races = {
        name: tuple(
            race_of(gain * np.exp(between * rng.standard_normal()), seed=1000 * seed + 100 * i + number)
            for number in range(passes)
        )
        for i, (name, gain) in enumerate(gains.items())
    }
    return SuiteRecord(suite, label, races, noise, {**MACHINE, **dict(machine)}, "2026-01-01T00:00:00+00:00")
