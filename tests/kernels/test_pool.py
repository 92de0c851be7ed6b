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
def test_avg_pool2d_is_the_reference(case):
    x, *window = case
    y = kernels.avg_pool2d(x, *window)
    assert_close(y, reference.avg_pool2d(x, *window))
    dy = randn(*y.shape)
    assert_close(
        kernels.avg_pool2d_backward(dy, x.shape, *window), reference.avg_pool2d_backward(dy, x.shape, *window)
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
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
