"""Layer, RMS and batch normalisation against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import as_double, assert_close, randn

pytestmark = pytest.mark.kernel


@given(
    rows=st.lists(st.integers(0, 6), max_size=2), features=st.integers(1, 70),
    weighted=st.booleans(), biased=st.booleans(),
)  # fmt: skip
def test_layer_norm_is_the_reference(rows, features, weighted, biased):
    x, dy = 1 + 2 * randn(*rows, features), randn(*rows, features, seed=1)
    weight = randn(features) if weighted else None
    bias = randn(features, seed=2) if biased else None
    # eps of 0.1 keeps rows of one feature, whose variance is 0, well conditioned.
    assert_close(
        kernels.layer_norm(x, weight, bias, 0.1),
        reference.layer_norm(*as_double(x, weight, bias), 0.1),
        atol=1e-5,
    )
    assert_close(
        kernels.layer_norm_backward(dy, x, weight, 0.1),
        reference.layer_norm_backward(*as_double(dy, x, weight), 0.1), rtol=1e-4, atol=3e-5,
    )  # fmt: skip


@given(rows=st.lists(st.integers(0, 6), max_size=2), features=st.integers(1, 70), weighted=st.booleans())
def test_rms_norm_is_the_reference(rows, features, weighted):
    x, dy = 1 + 2 * randn(*rows, features), randn(*rows, features, seed=1)
    weight = randn(features) if weighted else None
    assert_close(kernels.rms_norm(x, weight), reference.rms_norm(*as_double(x, weight)), atol=1e-5)
    assert_close(
        kernels.rms_norm_backward(dy, x, weight, 0.1),
        reference.rms_norm_backward(*as_double(dy, x, weight), 0.1), rtol=1e-4, atol=3e-5,
    )  # fmt: skip


def test_layer_norm_of_a_large_mean_keeps_its_accuracy():
    # E[x^2] - E[x]^2 would lose every digit here.
    x = 4096 + randn(3, 256)
    assert_close(kernels.layer_norm(x), reference.layer_norm(x.astype(np.float64)), atol=2e-3)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 5, 1, 2), (8, 1, 7, 3), (4, 17, 9, 9)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm2d_is_the_reference(shape, training):
    x, dy, channels = 1 + 2 * randn(*shape), randn(*shape, seed=1), shape[1]
    weight, bias, mean, var = (
        randn(channels),
        randn(channels),
        randn(channels),
        np.abs(randn(channels, seed=3)),
    )
    exact_mean, exact_var = as_double(mean, var)
    expected = reference.batch_norm2d(*as_double(x, weight, bias), exact_mean, exact_var, training, 0.3, 0.1)
    backward = reference.batch_norm2d_backward(*as_double(dy, x, weight, mean, var), training, 0.1)
    actual = kernels.batch_norm2d_backward(dy, x, weight, mean, var, training=training, eps=0.1)
    assert_close(actual, backward, rtol=1e-4, atol=1e-4)
    y = kernels.batch_norm2d(x, weight, bias, mean, var, training=training, momentum=0.3, eps=0.1)
    assert_close(y, expected, atol=2e-5)
    assert_close(mean, exact_mean)
    assert_close(var, exact_var)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 2, 36, 40)])
@pytest.mark.parametrize("training", [True, False])
def test_out_of_batch_norm2d_is_written_and_may_be_an_input(shape, training):
    x, dy, channels = randn(*shape), randn(*shape, seed=1), shape[1]
    weight, bias, mean, var = (
        randn(channels),
        randn(channels),
        np.zeros(channels, "f"),
        np.ones(channels, "f"),
    )

    def forward(x, **options):
        return kernels.batch_norm2d(x, weight, bias, mean.copy(), var.copy(), training=training, **options)

    def backward(dy, x, **options):
        return kernels.batch_norm2d_backward(dy, x, weight, mean, var, training=training, **options)

    y, gradients = forward(x), backward(dy, x)
    out = np.full_like(x, np.nan)
    assert forward(x, out=out) is out and (out == y).all()
    assert backward(dy, x, out=out)[0] is out
    for inputs in ((dy.copy(), x), (dy, x.copy())):
        mine = inputs[0] if inputs[0] is not dy else inputs[1]
        again = backward(*inputs, out=mine)
        assert again[0] is mine
        assert all((a == b).all() for a, b in zip(again, gradients, strict=True))
    assert (forward(x.astype(int), out=out) == forward(x.astype(int))).all()


def test_batch_norm2d_of_many_values_keeps_its_accuracy():
    x, dy = 100 + randn(40, 2, 19, 21), randn(40, 2, 19, 21, seed=1)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    expected = reference.batch_norm2d(*as_double(x, one, zero, zero, one), True, 0.1, 1e-5)
    y = kernels.batch_norm2d(x, one, zero, zero.copy(), one.copy(), training=True)
    assert_close(y, expected, atol=2e-5)
    backward = reference.batch_norm2d_backward(*as_double(dy, x, one, zero, one), True, 1e-5)
    assert_close(kernels.batch_norm2d_backward(dy, x, one, zero, one), backward, rtol=2e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 40), (50, 33)])
def test_out_of_row_norms_is_written_and_may_be_an_input(shape):
    x, dy, weight, bias = randn(*shape), randn(*shape, seed=1), randn(shape[1]), randn(shape[1], seed=2)
    for forward, backward, vectors in (
        (kernels.layer_norm, kernels.layer_norm_backward, (weight, bias)),
        (kernels.rms_norm, kernels.rms_norm_backward, (weight,)),
    ):
        y, gradients = forward(x, *vectors), backward(dy, x, weight)
        out = np.full_like(x, np.nan)
        assert forward(x, *vectors, out=out) is out and (out == y).all()
        mine = x.copy()
        assert (forward(mine, *vectors, out=mine) == y).all()
        for inputs in ((dy.copy(), x), (dy, x.copy())):
            mine = inputs[0] if inputs[0] is not dy else inputs[1]
            again = backward(*inputs, weight, out=mine)
            assert again[0] is mine
            assert all((a == b).all() for a, b in zip(again, gradients, strict=True))
        memory = np.concatenate([vectors[0], np.zeros((shape[0] - 1) * shape[1], np.float32)])
        out = memory.reshape(shape)  # its first row is the weight
        assert (forward(x, memory[: shape[1]], *vectors[1:], out=out) == y).all()


def test_nan_stays_in_its_row():
    x = randn(3, 8)
    x[1, 2] = np.nan
    for y in (kernels.layer_norm(x), kernels.rms_norm(x)):
        assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


def test_float64_and_views():
    x = randn(8, 5)
    assert kernels.layer_norm(x.astype(np.float64)).dtype == np.float64
    assert_close(kernels.layer_norm(x.T), kernels.layer_norm(x.T.copy()))
    assert_close(kernels.rms_norm(x.T, [1] * 8), kernels.rms_norm(x.T.copy()))


X, V = randn(2, 3, 2, 2), np.ones(3, np.float32)
MISTAKES = [
    (lambda: kernels.layer_norm(X, V), ValueError, r"weight must have shape \(2,\)"),
    (lambda: kernels.layer_norm(X, None, V), ValueError, r"bias must have shape \(2,\)"),
    (lambda: kernels.layer_norm(X, eps=-1.0), ValueError, "eps must be at least 0, got -1"),
    (lambda: kernels.layer_norm(X, eps=float("nan")), ValueError, "eps must be at least 0, got nan"),
    (lambda: kernels.layer_norm(X, eps="small"), TypeError, "eps must be a number"),
    (lambda: kernels.layer_norm(X, out=V), ValueError, "out must have the shape of the result"),
    (lambda: kernels.rms_norm(X, out=np.empty(X.shape)), TypeError, "out must be an array of float32"),
    (lambda: kernels.layer_norm(1.0), ValueError, "x is a single number"),
    (lambda: kernels.layer_norm_backward(X[0], X), ValueError, "dy must have the shape of x"),
    (lambda: kernels.rms_norm(X, V), ValueError, r"weight must have shape \(2,\)"),
    (lambda: kernels.rms_norm_backward(X, X, V), ValueError, r"weight must have shape \(2,\)"),
    (lambda: kernels.batch_norm2d(X[0], V, V, V, V), ValueError, "x must have 4 axes"),
    (
        lambda: kernels.batch_norm2d(X, V[:2], V, V, V),
        ValueError,
        r"weight must have shape \(3,\), one value for each channel",
    ),
    (
        lambda: kernels.batch_norm2d(X, V, V, V, V, momentum=1.5),
        ValueError,
        "momentum must be at least 0 and at most 1",
    ),
    (
        lambda: kernels.batch_norm2d(X[:1, :, :1, :1], V, V, V.copy(), V.copy(), training=True),
        ValueError,
        "at least 2 values in each channel",
    ),
    (
        lambda: kernels.batch_norm2d(X, V, V, [0, 0, 0], V.copy(), training=True),
        TypeError,
        "updates running_mean in place",
    ),
    (
        lambda: kernels.batch_norm2d(X, V, V, V.copy(), np.ones(6, np.float32)[::2], training=True),
        TypeError,
        "updates running_var in place",
    ),
    (
        lambda: kernels.batch_norm2d_backward(X[:, :, :1], X, V, V, V),
        ValueError,
        "dy must have the shape of x",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_read_only_statistics_cannot_be_trained():
    mean = np.zeros(3, np.float32)
    mean.flags.writeable = False
    with pytest.raises(TypeError, match="updates running_mean in place"):
        kernels.batch_norm2d(X, V, V, mean, V.copy(), training=True)
