"""Pooling and its gradients against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn, whole

pytestmark = pytest.mark.kernel


@st.composite
def pools(draw):
    """x of small whole numbers, so that maxima tie, and a window that fits."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = [k + draw(st.integers(0, 20)) for k in kernel]
    return whole(draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size), kernel, stride, padding


@given(pools())
def test_max_pool2d_is_the_reference(case):
    x, *window = case
    y = kernels.max_pool2d(x, *window)
    np.testing.assert_array_equal(y, reference.max_pool2d(x, *window))
    dy = whole(*y.shape, seed=3)
    np.testing.assert_array_equal(
        kernels.max_pool2d_backward(dy, x, *window), reference.max_pool2d_backward(dy, x, *window)
    )


@given(pools())
def test_places_lead_to_the_same_gradient(case):
    x, *window = case
    y, places = kernels.max_pool2d_with_places(x, *window)
    np.testing.assert_array_equal(y, kernels.max_pool2d(x, *window))
    assert places.dtype == np.uint16 and places.shape == y.shape
    dy = whole(*y.shape, seed=3)
    expected = reference.max_pool2d_backward(dy, x, *window)
    np.testing.assert_array_equal(kernels.max_pool2d_backward(dy, x, *window, places=places), expected)
    # The values of x are not read.
    np.testing.assert_array_equal(
        kernels.max_pool2d_backward(dy, np.full_like(x, np.nan), *window, places=places), expected
    )


def test_the_first_of_equal_maxima_is_the_first_row_by_row():
    x = np.zeros((1, 1, 3, 3), np.float32)
    x[0, 0, 0, 2] = x[0, 0, 1, 0] = 5
    y, places = kernels.max_pool2d_with_places(x, 3)
    assert y.item() == 5 and places.item() == 2
    x[0, 0, 2, 1] = np.nan
    assert kernels.max_pool2d_with_places(x, 3)[1].item() == 7
    x[0, 0, 1, 2] = np.nan
    assert kernels.max_pool2d_with_places(x, 3)[1].item() == 5
    # Padding is never the place, not even when nothing in the window is larger.
    x[...] = -np.inf
    assert kernels.max_pool2d_with_places(x, 3, 3, 1)[1].item() == 4


def test_places_that_16_bits_do_not_hold():
    x = whole(1, 1, 3, 40_000)
    y, places = kernels.max_pool2d_with_places(x, (3, 2), 1)
    assert places is None
    dy = whole(*y.shape, seed=3)
    np.testing.assert_array_equal(
        kernels.max_pool2d_backward(dy, x, (3, 2), 1, places=places),
        reference.max_pool2d_backward(dy, x, (3, 2), (1, 1), (0, 0)),
    )
    assert kernels.max_pool2d_with_places(x[..., :32_766].copy(), (3, 2), 1)[1] is not None


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (7, 7, 0)])
def test_wrong_places_are_refused_and_reach_no_memory_outside(window):
    x = whole(2, 2, 7, 7)
    y, places = kernels.max_pool2d_with_places(x, *window)
    kernel = window[0]
    memory = np.full(x.size + 128, 7, np.float32)
    out = memory[64:-64].reshape(x.shape)
    for at in np.ndindex(places.shape):
        for place in (*range(64), 65535):
            wrong = places.copy()
            wrong[at] = place
            row, column = divmod(place, 7)
            if row < kernel and column < kernel:
                kernels.max_pool2d_backward(y, x, *window, places=wrong, out=out)
            else:
                with pytest.raises(ValueError, match="outside their windows"):
                    kernels.max_pool2d_backward(y, x, *window, places=wrong, out=out)
    assert (memory[:64] == 7).all() and (memory[-64:] == 7).all()


def test_places_without_the_compiled_kernel():
    x = whole(1, 2, 6, 6)
    assert kernels.max_pool2d_with_places(x.astype(np.float64), 2)[1] is None
    with kernels.use(max_pool2d=lambda x, *window: reference.max_pool2d(x, *window) + 1):
        y, places = kernels.max_pool2d_with_places(x, 2)
    assert places is None and (y == kernels.max_pool2d(x, 2) + 1).all()


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (4, 3, 1)])
def test_out_is_written(window):
    x = whole(2, 3, 9, 8)
    for pool, backward in (
        (kernels.max_pool2d, lambda dy, **out: kernels.max_pool2d_backward(dy, x, *window, **out)),
        (kernels.avg_pool2d, lambda dy, **out: kernels.avg_pool2d_backward(dy, x.shape, *window, **out)),
    ):
        y = pool(x, *window)
        out = np.full_like(y, np.nan)
        assert pool(x, *window, out=out) is out and (out == y).all()
        assert pool(x.astype(int), *window, out=out) is out and (out == y).all()
        dy = whole(*y.shape, seed=3)
        dx = np.full_like(x, np.nan)
        assert backward(dy, out=dx) is dx and (dx == backward(dy)).all()
        mine = x.copy()
        out = mine[:, :, : y.shape[2], : y.shape[3]]  # of the memory of x, and not contiguous
        assert pool(mine, *window, out=out) is out and (out == y).all()


@given(pools())
def test_avg_pool2d_is_the_reference(case):
    x, *window = case
    y = kernels.avg_pool2d(x, *window)
    assert_close(y, reference.avg_pool2d(x, *window))
    dy = randn(*y.shape)
    assert_close(
        kernels.avg_pool2d_backward(dy, x.shape, *window), reference.avg_pool2d_backward(dy, x.shape, *window)
    )


@pytest.mark.parametrize("size", [1, 7, 100])
def test_whole_planes(size):
    x = whole(3, 11, size, size)
    y, places = kernels.max_pool2d_with_places(x, size)
    np.testing.assert_array_equal(y[..., 0, 0], x.max((2, 3)))
    assert_close(kernels.avg_pool2d(x, size)[..., 0, 0], x.mean((2, 3)))
    np.testing.assert_array_equal(
        kernels.max_pool2d_backward(y, x, size, places=places),
        reference.max_pool2d_backward(y, x, (size, size), (size, size), (0, 0)),
    )


def test_stride_defaults_to_the_kernel():
    x = whole(1, 2, 6, 9)
    np.testing.assert_array_equal(kernels.max_pool2d(x, (2, 3)), kernels.max_pool2d(x, (2, 3), (2, 3)))
    np.testing.assert_array_equal(kernels.max_pool2d(x, 3), kernels.max_pool2d(x, (3, 3), 3, 0))


def test_special_values():
    x = (
        np.array([np.nan, -np.inf, np.inf, 1.0], np.float32)
        .reshape(1, 4, 1, 1)
        .repeat(4, axis=2)
        .repeat(4, axis=3)
    )
    x[0, 0, :, 1:] = 5.0
    for window in (((2, 2), (2, 2), (0, 0)), ((3, 3), (1, 1), (1, 1))):
        y = kernels.max_pool2d(x, *window)
        np.testing.assert_array_equal(y, reference.max_pool2d(x, *window))
        dy = whole(*y.shape)
        np.testing.assert_array_equal(
            kernels.max_pool2d_backward(dy, x, *window), reference.max_pool2d_backward(dy, x, *window)
        )


def test_views_and_float64():
    x = whole(2, 6, 6, 3).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(kernels.max_pool2d(x, 2), reference.max_pool2d(x, (2, 2), (2, 2), (0, 0)))
    assert kernels.avg_pool2d(x.astype(np.float64), 2).dtype == np.float64


X = whole(1, 2, 5, 5)
MISTAKES = [
    (lambda: kernels.max_pool2d(X[0], 2), ValueError, r"x must have 4 axes"),
    (lambda: kernels.max_pool2d(X, 6), ValueError, "does not fit into the padded height of 5"),
    (lambda: kernels.max_pool2d(X, 0), ValueError, "kernel_size must be at least 1"),
    (lambda: kernels.max_pool2d(X, 2, 0), ValueError, "stride must be at least 1"),
    (lambda: kernels.max_pool2d(X, 2, 2, 2), ValueError, "more than half of kernel_size"),
    (lambda: kernels.avg_pool2d(X, 2, 2, -1), ValueError, "padding must be at least 0"),
    (lambda: kernels.avg_pool2d(X, 2.0), TypeError, "kernel_size must be an integer"),
    (
        lambda: kernels.max_pool2d_backward(whole(1, 2, 3, 2), X, 2),
        ValueError,
        "axis 2 differs, and 3 is not 2",
    ),
    (
        lambda: kernels.avg_pool2d_backward(whole(1, 2, 2, 2), (2, 5, 5), 2),
        ValueError,
        "x_shape must be the 4 sizes",
    ),
    (lambda: kernels.avg_pool2d_backward(whole(1, 2, 2, 2), (1, 3, 5, 5), 2), ValueError, "axis 1 differs"),
    (lambda: kernels.max_pool2d(X, 2, out=X), ValueError, "out must have the shape of the result"),
    (
        lambda: kernels.avg_pool2d(X, 2, out=np.empty((1, 2, 2, 2))),
        TypeError,
        "out must be an array of float32",
    ),
    (
        lambda: kernels.max_pool2d_backward(whole(1, 2, 2, 2), X, 2, places=np.zeros((1, 2, 2, 2), int)),
        TypeError,
        "places must be the uint16 array",
    ),
    (
        lambda: kernels.max_pool2d_backward(
            whole(1, 2, 2, 2), X, 2, places=np.zeros((1, 2, 2, 3), np.uint16)
        ),
        ValueError,
        "places must have the shape of the pooled result",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
