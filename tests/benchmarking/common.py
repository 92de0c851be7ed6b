"""Records made by hand, so that no machine's speed decides a test."""

import numpy as np

from tinytorch import timing
from tinytorch.benchmarking import SuiteRecord
from tinytorch.timing import verdict

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
    ratio = timing.measured(baseline / contender, "×")
    seconds = (tuple(baseline.tolist()), tuple(contender.tolist()))
    return timing.Race(("slow", "fast"), seconds, (1, 1), ratio, 1.0, verdict(ratio), 0.95, dict(MACHINE))


def record_of(gains, *, label="", suite="example", machine=(), noise=1.01, seed=0):
    """A record of one suite: race's name → gain."""
    races = {name: race_of(gain, seed=seed + i) for i, (name, gain) in enumerate(gains.items())}
    return SuiteRecord(suite, label, races, noise, {**MACHINE, **dict(machine)}, "2026-01-01T00:00:00+00:00")
