"""Every step of the matmul ladder multiplies, whatever the shape, and says what it is."""

from pathlib import Path

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import lessons

from .common import randn, whole

STEPS = lessons.matmul_steps()
# Around the tiles (4, 6, 12 rows; 1 to 32 columns) and the blocks (64, 144, 256), and what is empty.
SHAPES = [
    (1, 1, 1), (2, 3, 5), (4, 16, 4), (5, 17, 64), (7, 33, 65), (13, 31, 63),
    (150, 70, 300), (145, 19, 257), (0, 3, 2), (3, 0, 2), (3, 2, 0),
]  # fmt: skip


@pytest.fixture(params=STEPS, ids=lambda step: step.name)
def step(request):
    return request.param


@pytest.mark.kernel
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_equals_numpy(step, m, n, k):
    a, b = whole(m, k), whole(k, n)
    assert np.array_equal(step(a, b), a @ b)


@pytest.mark.kernel
def test_out_is_overwritten_whatever_it_held(step):
    a, b = np.ones((9, 5), np.float32), np.ones((5, 11), np.float32)
    out = np.full((9, 11), np.nan, np.float32)
    assert step(a, b, out) is out
    assert (out == 5).all()


@pytest.mark.kernel
def test_nan_and_infinity_spread(step):
    a, b = np.ones((5, 3), np.float32), np.ones((3, 7), np.float32)
    a[1, 2], b[0, 4] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        assert np.array_equal(step(a, b), a @ b, equal_nan=True)


@pytest.mark.kernel
def test_threads_do_not_change_the_result():
    a, b = randn(200, 200, seed=1), randn(200, 200, seed=2)
    packed, threaded = STEPS[4], STEPS[5]
    before = kernels.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            kernels.set_num_threads(threads)
            assert np.array_equal(threaded(a, b), packed(a, b))
    finally:
        kernels.set_num_threads(before)


def test_converts_what_is_not_float32_or_contiguous(step):
    a, b = np.arange(6).reshape(2, 3), np.arange(12.0).reshape(4, 3).T
    assert np.array_equal(step(a, b), (a @ b).astype(np.float32))


def test_the_ladder_is_complete():
    assert [s.number for s in STEPS] == list(range(6))
    assert [s.name for s in STEPS] == ["plain", "reordered", "tiled", "vectorised", "packed", "threaded"]
    for s in STEPS:
        assert s.description
        assert (Path(__file__).parents[2] / s.source).is_file()
    for s in STEPS[:3]:
        assert "no-tree-vectorize" in s.flags or "/O2" in s.flags


def test_mismatched_shapes_say_so(step):
    with pytest.raises(ValueError, match=r"4 is not 3"):
        step(np.ones((2, 4)), np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"2 axes \(M, K\)"):
        step(np.ones(4), np.ones((4, 5)))


def test_bad_out_is_refused(step):
    a, b = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match=r"out has shape"):
        step(a, b, np.empty((2, 4), np.float32))
    with pytest.raises(TypeError, match="out must be"):
        step(a, b, np.empty((2, 3)))
    with pytest.raises(ValueError, match="shares memory"):
        step(a, b, b[:2])
    frozen = np.empty((2, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        step(a, b, frozen)
