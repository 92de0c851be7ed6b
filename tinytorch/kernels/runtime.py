"""What this CPU is, and how many threads the kernels use."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from ._checks import as_int
from ._registry import _C

__all__ = ["cpu_info", "empty", "get_num_threads", "run_fma", "run_read", "set_num_threads"]


def empty(shape: int | tuple[int, ...]) -> np.ndarray:
    """An uninitialised float32 array, to be some other function's ``out``.

    A large one is made of memory that earlier results of the kernels left behind: fresh memory costs a page
    fault for every 4 KB when it is first written, which can take longer than computing what is written. Up
    to 256 MB wait for reuse.
    """
    return _C.empty(shape)


def cpu_info() -> dict[str, Any]:
    """What the kernels found out about this CPU.

    Returns
    -------
    dict
        ``level``, the micro-kernels in use ("scalar", "avx2", "avx512", "vnni", "neon" or
        "neondot"; the environment variable TINYTORCH_CPU caps it); ``levels``, all that this CPU can
        run, best first; ``model``, its name; ``cores``, how many CPUs this process may use; ``caches``,
        the bytes of each data cache that the operating system tells of, as in {"L1d": 32768}.
    """
    return {
        "level": _C.level(),
        "levels": _C.levels(),
        "model": _model(),
        "cores": _usable_cpus(),
        "caches": _caches(),
    }


def _usable_cpus() -> int:
    """How many CPUs this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _model() -> str:
    """The CPU's name; Linux tells it in a file, other systems through platform."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _caches() -> dict[str, int]:
    """Data caches of the first CPU, from Linux's sysfs; empty elsewhere."""
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction" and size.endswith("K"):
            caches[f"L{level}{'d' if kind == 'Data' else ''}"] = int(size[:-1]) * 1024
    return caches


def set_num_threads(n: int) -> None:
    """Let each kernel use up to n threads; results do not depend on n.

    Parameters
    ----------
    n : int
        At least 1. Without this call it is TINYTORCH_NUM_THREADS, else OMP_NUM_THREADS, else the
        number of CPUs the process may run on.
    """
    _C.set_num_threads(as_int("set_num_threads", "n", n, 1))


def get_num_threads() -> int:
    """How many threads a kernel may use."""
    return _C.get_num_threads()


def run_fma(iterations: int) -> float:
    """Do nothing but multiply-adds on registers, on this thread: the arithmetic ceiling of the CPU level.

    Returns
    -------
    float
        How many floating-point operations that were.
    """
    return _C.run_fma(as_int("run_fma", "iterations", iterations, 0))


def run_read(x: np.ndarray, passes: int = 1) -> None:
    """Do nothing but read a float32 array from end to end, on this thread: the memory's ceiling."""
    _C.run_read(x, as_int("run_read", "passes", passes, 0))


def _threads_asked_for() -> int:
    """The number of threads to begin with: the environment's, else one for each usable CPU."""
    for name in ("TINYTORCH_NUM_THREADS", "OMP_NUM_THREADS"):
        # OpenMP allows a list, one number for each level of nesting; ours is the outermost.
        text = os.environ.get(name, "").split(",")[0].strip()
        if not text:
            continue
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"{name}={os.environ[name]}: the number of threads must be an integer from 1 on")
        return int(text)
    return _usable_cpus()


_C.set_num_threads(_threads_asked_for())
