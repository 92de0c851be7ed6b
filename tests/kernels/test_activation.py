"""Activations and their gradients against the reference."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

PAIRS = ["relu", "sigmoid", "tanh"]
FORMS = ["none", "tanh", "sigmoid"]


def call(name, *args, **options):
    return getattr(kernels, name)(*args, **options)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 5), (2, 3, 50), (0, 3), (70000,)])
def test_they_are_the_reference(name, shape):
    x, dy = 3 * randn(*shape), randn(*shape, seed=1)
    exact = getattr(reference, name)(x.astype(np.float64))
    y = call(name, x)
    assert_close(y, exact, rtol=3e-7, atol=0)
    saved = x if name == "relu" else y
    gradient = getattr(reference, name + "_backward")(dy.astype(np.float64), saved.astype(np.float64))
    assert_close(call(name + "_backward", dy, saved), gradient, rtol=3e-6, atol=1e-7)


def test_relu_keeps_every_bit():
    x = np.array([-1.5, -0.0, 0.0, 1e-45, -1e-45, 3, np.inf, -np.inf, np.nan], np.float32)
    expected = np.array([0, 0, 0, 1e-45, 0, 3, np.inf, 0, np.nan], np.float32)
    assert_close(kernels.relu(x), expected, rtol=0, atol=0)
    dy = np.arange(1, 10, dtype=np.float32)
    assert (kernels.relu_backward(dy, x) == [0, 0, 0, 4, 0, 6, 7, 0, 0]).all()


def test_ends_of_sigmoid_and_tanh():
    x = np.array([-np.inf, -1e4, -88, 1e4, np.inf, np.nan], np.float32)
    assert_close(kernels.sigmoid(x), np.array([0, 0, np.exp(-88.0), 1, 1, np.nan]), rtol=1e-6, atol=0)
    assert_close(kernels.tanh(x), np.array([-1, -1, -1, 1, 1, np.nan]), rtol=0, atol=0)


@pytest.mark.parametrize("name", [*PAIRS, "gelu"])
def test_out_is_written_and_may_be_an_input(name):
    x, dy = randn(5, 40), randn(5, 40, seed=1)
    expected, gradient = call(name, x), call(name + "_backward", dy, x)
    out = np.full_like(x, np.nan)
    assert call(name, x, out=out) is out and (out == expected).all()
    assert call(name + "_backward", dy, x, out=out) is out and (out == gradient).all()
    for mine, other in ((dy.copy(), x), (dy, x.copy())):
        target = mine if other is x else other
        assert call(name + "_backward", mine, other, out=target) is target and (target == gradient).all()
    memory = np.concatenate([x.ravel(), np.zeros(3, np.float32)])
    shifted, source = memory[3:].reshape(x.shape), memory[:-3].reshape(x.shape)
    assert (call(name, source, out=shifted) == expected).all()
    columns = np.empty((40, 5), np.float32).T
    assert call(name, x, out=columns) is columns and (columns == expected).all()
    double = np.empty(x.shape)
    assert_close(call(name, x.astype(np.float64), out=double), expected)


@pytest.mark.parametrize("name", PAIRS)
def test_a_replacement_runs_instead(name):
    x = randn(3, 4)
    with kernels.use(**{name: lambda x: x + 1, name + "_backward": lambda dy, y: dy - y}):
        assert (call(name, x) == x + 1).all()
        assert (call(name + "_backward", x, x) == 0).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 5), (2, 3, 50), (0, 3)])
def test_gelu_is_the_reference(form, shape):
    x, dy = 3 * randn(*shape), randn(*shape, seed=1)
    double, dy_double = x.astype(np.float64), dy.astype(np.float64)
    assert_close(kernels.gelu(x, form), reference.gelu(double, form))
    assert_close(kernels.gelu_backward(dy, x, form), reference.gelu_backward(dy_double, double, form))


@pytest.mark.parametrize("form", FORMS)
def test_gelu_over_its_whole_range(form):
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    exact = reference.gelu(x.astype(np.float64), form)
    assert (np.abs(kernels.gelu(x, form) - exact) <= 1e-6 * np.maximum(1, np.abs(x))).all()
    slopes = reference.gelu_backward(np.ones(4001), x.astype(np.float64), form)
    assert_close(kernels.gelu_backward(np.ones_like(x), x, form), slopes, atol=1e-6)
    ends = np.array([-1e30, -100, 100, 1e30], np.float32)
    assert_close(kernels.gelu(ends, form), np.array([0, 0, 100, 1e30]))
    assert_close(kernels.gelu_backward(np.ones(2, np.float32), ends[1:3], form), np.array([0.0, 1]))


@pytest.mark.parametrize("form", FORMS)
def test_nan_and_inf(form):
    assert np.isnan(kernels.gelu(np.array([np.nan], np.float32), form)).all()
    ends = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert_close(kernels.gelu(ends, form), np.array([np.inf, np.nan, np.nan]))
    assert_close(kernels.gelu_backward(np.ones(3, np.float32), ends, form), np.array([1, 0, np.nan]))


def test_layouts_and_dtypes():
    x = randn(6, 8)
    assert_close(kernels.gelu(x.T), kernels.gelu(x).T.copy())
    assert_close(kernels.gelu([1, 2]), kernels.gelu(np.array([1, 2], np.float32)))
    assert kernels.gelu(x.astype(np.float64)).dtype == np.float64


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="approximate must be one of 'none', 'tanh', 'sigmoid', got 'erf'"):
        kernels.gelu(randn(2), "erf")
    with pytest.raises(ValueError, match="approximate must be one of"):
        kernels.gelu_backward(randn(2), randn(2), None)
    with pytest.raises(ValueError, match="dy must have the shape of x"):
        kernels.gelu_backward(randn(2), randn(3))
    with pytest.raises(TypeError, match="x must be an array of numbers, got NoneType"):
        kernels.gelu(None)
    with pytest.raises(ValueError, match="relu: out must have the shape of the result"):
        kernels.relu(randn(2), out=np.empty(3, np.float32))
    with pytest.raises(TypeError, match="tanh: out must be an array of float32, got float64"):
        kernels.tanh(randn(2), out=np.empty(2))
    with pytest.raises(ValueError, match="sigmoid_backward: dy must have the shape of y"):
        kernels.sigmoid_backward(randn(2), randn(3))
    with pytest.raises(ValueError, match="out is read-only"):
        kernels.relu(randn(2), out=np.broadcast_to(np.float32(1), 2))
