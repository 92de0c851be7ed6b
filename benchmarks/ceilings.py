"""What this machine itself can do, as contenders in the same race: arithmetic in registers, and reading."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.case import Call
from tinytorch import kernels

# Long enough that handing work to threads does not show.
SECONDS = 0.002


@dataclass
class Ceiling:
    """A limit of the machine: `call` does `work` operations, or reads `work` bytes, and nothing else."""

    call: Call
    work: float


def arithmetic(pool: ThreadPoolExecutor, threads: int) -> Ceiling:
    """Multiply-adds on registers alone, on each thread."""
    iterations = _amount(kernels.run_fma)
    work = threads * kernels.run_fma(iterations)
    return Ceiling(_on_each_thread(pool, threads, lambda thread: kernels.run_fma(iterations)), work)


def reading(pool: ThreadPoolExecutor, threads: int, read_bytes: float) -> Ceiling:
    """Reading as many bytes as a case does, so from the same cache level; each thread has its share."""
    count = max(int(read_bytes) // threads // 4, 256)
    arrays = [np.ones(count, np.float32) for _ in range(threads)]
    passes = _amount(lambda passes: kernels.run_read(arrays[0], passes))
    call = _on_each_thread(pool, threads, lambda thread: kernels.run_read(arrays[thread], passes))
    return Ceiling(call, 4.0 * count * threads * passes)


def memory_level(read_bytes: float) -> str:
    """The first cache level that holds so many bytes, or "memory"."""
    caches = kernels.cpu_info()["caches"]
    return next((name for name, size in sorted(caches.items()) if read_bytes <= size), "memory")


def _on_each_thread(pool: ThreadPoolExecutor, threads: int, work: Callable[[int], object]) -> Call:
    if threads == 1:
        return lambda: work(0)
    return lambda: list(pool.map(work, range(threads)))


def _amount(work: Callable[[int], object]) -> int:
    """How much of `work` takes SECONDS."""
    amount = 1
    while True:
        start = time.perf_counter()
        work(amount)
        if time.perf_counter() - start >= SECONDS:
            return amount
        amount *= 2
