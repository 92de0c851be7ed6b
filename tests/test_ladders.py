"""Every rung of every ladder computes the same, and what is raced is what is said."""

import numpy as np
import pytest

from tinytorch import acceleration, kernels, ladders, timing
from tinytorch.acceleration import OptimizedBackend, climb, fused_and_separate, ladder, thread_ladder

SIZES = {"matmul": 12, "conv2d": 6, "matmul_int8": 20, "sparse_matmul": 24, "attention": 10}


@pytest.mark.parametrize("operation", ladders.LADDERS)
def test_all_rungs_compute_the_same(operation):
    plain, *others = ladder(operation, SIZES[operation]).items()
    expected = plain[1]()
    assert len(others) >= 4 and others[-1][0] == "kernel"
    for name, rung in others:
        np.testing.assert_allclose(rung(), expected, atol=1e-4, err_msg=name)


def test_climbing_races_every_rung():
    races = climb("attention", 4, rounds=2, sample_seconds=1e-5)
    assert list(races.seconds) == list(ladder("attention", 4))
    assert races.between("C, plain", "kernel").ratio.value > 0


def test_fused_and_separate_compute_the_same():
    separate, fused = fused_and_separate(3, 17)
    np.testing.assert_allclose(fused(), separate(), atol=1e-4)
    assert (fused() >= 0).all() and (fused() == 0).any()


def test_the_backend_dispatches_by_name():
    a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(OptimizedBackend().dispatch("matmul", a, b), a @ b)
    np.testing.assert_array_equal(acceleration.matmul(a, b), a @ b)


def test_threads_are_set_for_each_contender_and_restored():
    before = kernels.get_num_threads()
    seen = []
    found = thread_ladder(
        lambda: seen.append(kernels.get_num_threads()), [2, 3], rounds=3, sample_seconds=1e-6
    )
    assert set(seen) == {1, 2, 3} and kernels.get_num_threads() == before
    assert list(found.races) == [2, 3] and found.races[3].names == ("1", "3")
    assert "3 threads" in str(found)


def test_efficiency_is_the_gain_for_each_thread():
    seconds = {"1": (3.0,) * 6, "2": (2.0,) * 6}
    races = timing.Races(seconds, {"1": 1, "2": 1}, 1.0, 0.95, {})
    assert ladders.ThreadLadder({2: races.between("1", "2")}).efficiency(2) == pytest.approx(0.75)


MISUSE = {
    "an unknown ladder": (lambda: ladder("softmax"), ValueError, "no ladder for 'softmax'; there are matmul"),
    "no size": (lambda: ladder("matmul", 0), ValueError, "size must be at least 1"),
    "one thread": (lambda: thread_ladder(int, [1]), ValueError, "numbers of threads above 1"),
    "an unknown operation": (
        lambda: OptimizedBackend().dispatch("conv"),
        NotImplementedError,
        "no operation 'conv'; there are matmul",
    ),
    "shapes that don't meet": (
        lambda: acceleration.matmul(np.ones((2, 3)), np.ones((2, 3))),
        ValueError,
        r"matmul: a \(2, 3\) and b \(2, 3\) do not fit",
    ),
    "no tile": (
        lambda: acceleration.matmul_blocked(np.ones((2, 2)), np.ones((2, 2)), 0),
        ValueError,
        "must be at least 1",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, kind, message = MISUSE[name]
    with pytest.raises(kind, match=message):
        call()
