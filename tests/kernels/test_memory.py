"""The memory of large results: reused, aligned, bounded, and never in two hands."""

import importlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tinytorch import kernels

pytestmark = pytest.mark.kernel

LARGE = (256, 1024)  # 1 MB


def resident_bytes():
    """What this process holds in memory; skips where the system does not tell, or a sanitizer holds back."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the address sanitizer keeps freed memory for a while")
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        pytest.skip("needs /proc")


def test_a_freed_result_serves_the_next():
    x = np.ones(LARGE, np.float32)
    first = kernels.relu(x)
    address = first.ctypes.data
    view = first[1:]
    del first
    assert kernels.relu(x).ctypes.data != address, "a view still needs it"
    del view
    assert kernels.relu(x).ctypes.data == address


def test_large_results_are_aligned():
    assert all(kernels.empty(30_000 + 10_000 * i).ctypes.data % 64 == 0 for i in range(20))


def test_only_the_kernels_results_use_it():
    core = "numpy.core" if np.__version__.startswith("1.") else "numpy._core"
    handler = importlib.import_module(f"{core}.multiarray").get_handler_name
    assert handler(kernels.relu(np.ones(LARGE, np.float32))) == "tinytorch"
    assert handler(kernels.relu(np.ones(8, np.float32))) == handler(np.ones(LARGE)) == handler()


def test_living_results_never_share():
    results = [kernels.relu(np.full(LARGE, i, np.float32)) for i in range(20)]
    assert all((result == i).all() for i, result in enumerate(results))


def test_resize_keeps_the_elements():
    x = kernels.relu(np.arange(30_000, dtype=np.float32))
    x.resize(90_000, refcheck=False)
    assert np.array_equal(x[:30_000], np.arange(30_000)) and not x[30_000:].any()
    x.resize(20_000, refcheck=False)
    assert np.array_equal(x, np.arange(20_000))


def test_what_waits_is_bounded():
    megabytes = 1 << 20
    before = resident_bytes()
    x = np.ones(10 * megabytes, np.float32)
    results = [kernels.relu(x) for _ in range(10)]  # 400 MB
    assert resident_bytes() - before > 300 * megabytes
    del x, results
    assert resident_bytes() - before < 256 * megabytes + 64 * megabytes


def test_empty_takes_any_shape():
    assert kernels.empty(3).shape == (3,) and kernels.empty((2, 0, 4)).shape == (2, 0, 4)
    assert kernels.empty(()).shape == () and kernels.empty((300, 300)).dtype == np.float32
    with pytest.raises(ValueError, match="negative"):
        kernels.empty((-1, 4))
    with pytest.raises((ValueError, MemoryError)):
        kernels.empty((2**40, 2**40))


def test_threads_share_the_memory_and_no_array():
    wrong = []

    def work(value):
        for size in range(20_000, 80_000, 1_000):
            y = kernels.relu(np.full(size, value, np.float32))
            if not (y == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
