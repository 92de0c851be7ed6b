"""What this machine can do at most."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinytorch import kernels
from tinytorch.quantities import Measured
from tinytorch.timing.samples import Clock, collector_off, elapsed


def _best_rate(run: Callable[[int], float], unit: str, seconds: float, clock: Clock) -> Measured:
    """Best of several runs, for whatever disturbs a ceiling lowers it. The interval spans median to best."""
    amount = 1
    while True:
        shortest = min(elapsed(functools.partial(run, amount), 1, clock) for _ in range(3))
        if shortest >= seconds * 1e9 / 60 or amount >= 2**40:
            break
        amount *= 2 if shortest < 1000 else max(2, min(int(seconds * 1e9 / 50 / shortest), 1000))
    rates: list[float] = []
    with collector_off():
        deadline = clock() + seconds * 1e9
        while len(rates) < 5 or clock() < deadline:
            start = clock()
            work = run(amount)
            rates.append(work / max(clock() - start, 1))
    best = max(rates)
    return Measured(best, unit, float(np.median(rates)), best, len(rates))


def measure_peak(threads: int = 1, *, seconds: float = 0.3, clock: Clock = time.perf_counter_ns) -> Measured:
    """The arithmetic ceiling in GFLOP/s: multiply-adds on registers alone, at the CPU level in use.

    Parameters
    ----------
    threads : int
        How many run at once.
    """
    with ThreadPoolExecutor(threads) as pool:
        return _best_rate(
            lambda iterations: sum(pool.map(kernels.run_fma, [iterations] * threads)),
            "GFLOP/s",
            seconds,
            clock,
        )


def measure_bandwidth(
    array_bytes: int | None = None, *, seconds: float = 0.3, clock: Clock = time.perf_counter_ns
) -> Measured:
    """How fast one thread reads an array, in GB/s.

    Parameters
    ----------
    array_bytes : int, optional
        Size of the array; the default is several times the last cache level, so that main memory answers.
    """
    if array_bytes is None:
        caches = kernels.cpu_info().get("caches") or {}
        array_bytes = min(max(4 * max(caches.values(), default=0), 64 * 2**20), 512 * 2**20)
    array = np.ones(max(array_bytes // 4, 1), dtype=np.float32)

    def run(passes: int) -> float:
        kernels.run_read(array, passes)
        return float(passes * array.nbytes)

    return _best_rate(run, "GB/s", seconds, clock)
