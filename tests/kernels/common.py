"""What the kernel tests share: inputs, error bounds and numeric gradients."""

import numpy as np

UNIT = 2.0**-24  # rounding error of float32


def randn(*shape, seed=0):
    """Normal float32 values."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def whole(*shape, seed=0, low=-4, high=5):
    """Small whole numbers as float32: their products and sums are exact, in any order."""
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.float32)


def assert_product_close(actual, exact, magnitude, terms):
    """|actual - exact| <= 2 K 2^-24 sum(|a| |b|), the bound for a float32 sum of K products."""
    error = np.abs(actual.astype(np.float64) - exact)
    bound = 2 * max(terms, 1) * UNIT * magnitude + 1e-30
    worst = (error / bound).max(initial=0)
    assert worst <= 1, f"error is {worst:.2f} times the bound"


def assert_close(actual, exact, rtol=1e-5, atol=2e-6):
    """Shape and float32 agreement of one array or a tuple of them."""
    if isinstance(exact, tuple):
        assert isinstance(actual, tuple) and len(actual) == len(exact)
        for a, e in zip(actual, exact, strict=True):
            assert_close(a, e, rtol, atol)
    elif exact is None:
        assert actual is None
    else:
        assert actual.shape == exact.shape
        np.testing.assert_allclose(actual, exact, rtol=rtol, atol=atol)


def as_double(*arrays):
    """float64 copies; None stays None."""
    return [None if x is None else np.array(x, np.float64) for x in arrays]


def numeric_gradient(f, x, dy, step=1e-6):
    """The gradient of sum(dy * f()) with respect to the float64 array x, by central differences."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + step
        above = np.sum(dy * f())
        x[i] = kept - step
        below = np.sum(dy * f())
        x[i] = kept
        gradient[i] = (above - below) / (2 * step)
    return gradient


def assert_gradients(forward, backward, *inputs):
    """backward(dy, *inputs) agrees with central differences of forward(*inputs), input by input."""
    inputs = as_double(*inputs)
    y = forward(*inputs)
    dy = np.random.default_rng(1).standard_normal(np.shape(y))
    for x, gradient in zip(inputs, backward(dy, *inputs), strict=True):
        expected = numeric_gradient(lambda: forward(*inputs), x, dy)
        assert gradient.shape == x.shape
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)
