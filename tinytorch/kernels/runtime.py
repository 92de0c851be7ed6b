"""What this CPU is, and how many threads the kernels use."""

from typing import Any

from ._checks import as_int
from ._registry import _C

__all__ = ["cpu_info", "get_num_threads", "set_num_threads"]


def cpu_info() -> dict[str, Any]:
    """What the kernels found out about this CPU.

    Returns
    -------
    dict
        ``level``, the micro-kernels in use ("scalar", "avx2", "avx512", "vnni", "neon" or
        "neondot"); ``levels``, all that this CPU can run; ``model``; ``cores``; ``caches`` in bytes.
        The environment variable TINYTORCH_CPU caps the level.
    """
    return _C.cpu_info()


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
