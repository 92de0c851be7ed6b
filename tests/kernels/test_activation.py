"""gelu and its gradient against the reference."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

FORMS = ["none", "tanh", "sigmoid"]


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
    assert_close(kernels.gelu(x, form), reference.gelu(x.astype(np.float64), form), atol=1e-6)
    ends = np.array([-1e30, -100, 100, 1e30], np.float32)
    assert_close(kernels.gelu(ends, form), np.array([0, 0, 100, 1e30]))
    assert_close(kernels.gelu_backward(np.ones(2), ends[1:3], form), np.array([0.0, 1]))


@pytest.mark.parametrize("form", FORMS)
def test_nan_and_inf(form):
    assert np.isnan(kernels.gelu(np.array([np.nan], np.float32), form)).all()
    assert kernels.gelu(np.array([np.inf], np.float32), form)[0] == np.inf


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
