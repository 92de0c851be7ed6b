"""Activations: values against formulas in float64, gradients against differences."""

import math

import numpy as np
import pytest

from tinytorch import activations
from tinytorch.activations import ELU, GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from tinytorch.autograd import gradcheck
from tinytorch.tensor import Tensor

POINTS = np.array([[-30.0, -3.0, -0.5], [0.1, 2.0, 40.0]])


def phi(x):
    return np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x)


CASES = {
    "relu": (ReLU(), lambda x: np.maximum(x, 0)),
    "sigmoid": (Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (Tanh(), np.tanh),
    "gelu": (GELU(), lambda x: x * phi(x)),
    "gelu tanh": (
        GELU("tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "gelu sigmoid": (GELU("sigmoid"), lambda x: x / (1 + np.exp(-1.702 * x))),
    "leaky relu": (LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    "elu": (ELU(1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0)))),
    "silu": (SiLU(), lambda x: x / (1 + np.exp(-x))),
    "log_softmax 0": (LogSoftmax(dim=0), lambda x: x - np.log(np.exp(x).sum(axis=0, keepdims=True))),
    "softmax": (Softmax(), lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
    "softmax 0": (Softmax(dim=0), lambda x: np.exp(x) / np.exp(x).sum(axis=0, keepdims=True)),
    "log_softmax": (activations.log_softmax, lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True))),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    activation, formula = CASES[name]
    y = activation(Tensor(POINTS))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.data, formula(POINTS), rtol=2e-6, atol=1e-7)
    y = activation(Tensor(POINTS, dtype=np.float64))
    np.testing.assert_allclose(y.data, formula(POINTS), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_gradients(name, shape):
    x = Tensor(np.random.default_rng(1).normal(0, 2, shape), requires_grad=True, dtype=np.float64)
    assert gradcheck(CASES[name][0], [x])


@pytest.mark.parametrize("name", CASES)
def test_float32_gradients_agree_with_float64(name):
    activation, _ = CASES[name]
    weights = np.random.default_rng(2).normal(size=POINTS.shape)
    grads = []
    for dtype in (np.float32, np.float64):
        x = Tensor(POINTS, requires_grad=True, dtype=dtype)
        activation(x).backward(weights)
        grads.append(x.grad)
    assert grads[0].dtype == np.float32
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-4, atol=1e-6)


def test_large_inputs_neither_overflow_nor_warn():
    with np.errstate(all="raise", under="ignore"):
        x = Tensor([-1000.0, 0.0, 1000.0])
        assert Sigmoid()(x).data.tolist() == [0, 0.5, 1]
        assert np.isfinite(Softmax()(x).data).all()


def test_relu_at_zero_has_no_gradient():
    x = Tensor([0.0, -1.0, 1.0], requires_grad=True)
    ReLU()(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


def test_softmax_dim_in_the_call():
    x = Tensor(np.zeros((2, 4)))
    assert np.allclose(Softmax()(x, dim=0).data, 0.5)


def test_activations_have_no_parameters():
    assert ReLU().parameters() == []
    assert repr(ReLU()) == "ReLU()"


def test_unknown_gelu():
    with pytest.raises(ValueError, match="approximate"):
        GELU("best")(Tensor([1.0]))
