"""softmax, log_softmax and their gradients against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

shapes = st.lists(st.integers(0, 20), min_size=1, max_size=3)
PAIRS = [
    (kernels.softmax, kernels.softmax_backward, reference.softmax, reference.softmax_backward),
    (
        kernels.log_softmax,
        kernels.log_softmax_backward,
        reference.log_softmax,
        reference.log_softmax_backward,
    ),
]


@pytest.mark.parametrize("forward, backward, exact, exact_backward", PAIRS)
@given(shape=shapes, data=st.data())
def test_they_are_the_reference_along_every_axis(forward, backward, exact, exact_backward, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x, dy = 5 * randn(*shape), randn(*shape, seed=1)
    y = forward(x, axis)
    assert y.dtype == np.float32 and y.flags.c_contiguous
    assert_close(y, exact(x.astype(np.float64), axis), atol=4e-6)
    assert_close(
        backward(dy, y, axis), exact_backward(dy.astype(np.float64), y.astype(np.float64), axis), atol=2e-5
    )


@pytest.mark.parametrize("length", [1, 10, 16, 17, 100, 2000])
def test_log_softmax_and_softmax_are_close_to_float64(length):
    x = 30 * randn(4, length)
    for forward, _, exact, _ in PAIRS:
        y = exact(x.astype(np.float64))
        assert (np.abs(forward(x) - y) <= 1e-6 * np.maximum(1, np.abs(y))).all()


@pytest.mark.parametrize("forward, backward, exact, exact_backward", PAIRS)
def test_out_is_written_and_may_be_an_input(forward, backward, exact, exact_backward):
    x, dy = randn(5, 40), randn(5, 40, seed=1)
    for axis in (-1, 0):
        y = forward(x, axis)
        gradient = backward(dy, y, axis)
        out = np.full_like(x, np.nan)
        assert forward(x, axis, out=out) is out and (out == y).all()
        assert backward(dy, y, axis, out=out) is out and (out == gradient).all()
        mine = x.copy()
        assert (forward(mine, axis, out=mine) == y).all()
        mine = dy.copy()
        assert (backward(mine, y, axis, out=mine) == gradient).all()
        assert (backward(dy, y, axis, out=y) == gradient).all()
    memory = np.concatenate([x.ravel(), np.zeros(3, np.float32)])
    shifted = memory[3:].reshape(x.shape)
    assert (forward(memory[:-3].reshape(x.shape), out=shifted) == forward(x)).all()


@pytest.mark.parametrize("length", [1, 3, 16, 1000, 5003])
def test_rows_sum_to_one(length):
    y = kernels.softmax(20 * randn(3, length))
    np.testing.assert_allclose(y.sum(axis=-1, dtype=np.float64), 1, atol=1e-6)


def test_special_values():
    x = np.array([[1e30, 1e30, -np.inf], [-np.inf, 0, -np.inf], [-1e30, -1e30, -1e30]], np.float32)
    assert_close(kernels.softmax(x), np.array([[0.5, 0.5, 0], [0, 1, 0], [1 / 3] * 3]))
    x = np.array([[np.nan, 1], [-np.inf, -np.inf], [np.inf, 1]], np.float32)
    assert np.isnan(kernels.softmax(x)).any(axis=1).all()
    assert np.isnan(kernels.softmax(x))[1].all()


def test_float64_stays_float64():
    assert kernels.softmax(randn(2, 3).astype(np.float64)).dtype == np.float64


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match=r"axis 2 does not exist in x of shape \(2, 3\)"):
        kernels.softmax(randn(2, 3), axis=2)
    with pytest.raises(TypeError, match=r"axis must be an integer, got 0\.5"):
        kernels.log_softmax(randn(2, 3), axis=0.5)
    with pytest.raises(ValueError, match="x is a single number"):
        kernels.softmax(1.0)
    with pytest.raises(ValueError, match=r"dy  \(3, 2\)\n  y   \(2, 3\)"):
        kernels.softmax_backward(randn(3, 2), randn(2, 3))
    with pytest.raises(ValueError, match="softmax: out must have the shape of the result"):
        kernels.softmax(randn(2, 3), out=np.empty((3, 2), np.float32))
