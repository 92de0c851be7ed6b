"""One sample of a function's time, and what is made of many."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import itertools
import math
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinytorch import intervals, kernels
from tinytorch.intervals import CONFIDENCE
from tinytorch.quantities import Measured

Clock = Callable[[], int]
Call = Callable[[], Any]


def measured(samples: Sequence[float] | np.ndarray, unit: str, confidence: float = CONFIDENCE) -> Measured:
    """The median of positive samples, such as times or ratios, with its interval (on a logarithmic scale)."""
    logs = np.log(np.asarray(samples, dtype=np.float64))
    value = math.exp(float(np.median(logs)))
    if logs.size == 1:
        return Measured(value, unit)
    low, high = intervals.interval(logs, confidence)
    return Measured(value, unit, math.exp(low), math.exp(high), logs.size)


def machine() -> dict[str, Any]:
    """What a timing depends on: CPU, its level, threads, versions. No host and no user."""
    info = kernels.cpu_info()
    try:
        version = importlib.metadata.version("tinytorch")
    except importlib.metadata.PackageNotFoundError:  # used from a folder, without installing it
        version = "not installed"
    return {
        "cpu": info.get("model", ""),
        "architecture": platform.machine(),
        "level": info.get("level", ""),
        "cores": info.get("cores"),
        "threads": kernels.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tinytorch": version,
    }


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection inside a sample: it would bill one contender for the other's garbage."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def elapsed(call: Call, repeats: int, clock: Clock) -> int:
    turns = itertools.repeat(None, repeats)
    start = clock()
    for _ in turns:
        call()
    return clock() - start
