"""GELU in its three forms, and the activations that other kernels fuse."""

import math

import numpy as np

_erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has no erf

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715
_SIGMOID_SCALE = 1.702


def _normal_cdf(x):
    # erfc of the negated argument keeps its relative accuracy where 1 + erf cancels to 0.
    return np.asarray(0.5 * _erfc(x / -math.sqrt(2.0)), x.dtype)


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


@np.errstate(all="ignore")
def gelu(x, approximate="none"):
    """x times the share of a normal distribution below x (Hendrycks and Gimpel 2016)."""
    if approximate == "none":
        return x * _normal_cdf(x)
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(_TANH_SCALE * (x + _TANH_CUBIC * x**3)))
    return x * _sigmoid(_SIGMOID_SCALE * x)


@np.errstate(all="ignore")
def gelu_backward(dy, x, approximate="none"):
    """dy times the derivative of gelu at x."""
    if approximate == "none":
        density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        return dy * (_normal_cdf(x) + x * density)
    if approximate == "tanh":
        t = np.tanh(_TANH_SCALE * (x + _TANH_CUBIC * x**3))
        inner = _TANH_SCALE * (1 + 3 * _TANH_CUBIC * x**2)
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)
    s = _sigmoid(_SIGMOID_SCALE * x)
    return dy * (s + _SIGMOID_SCALE * x * s * (1 - s))


def activate(y, activation):
    """What linear and conv2d apply to their result: None, "relu" or "gelu"."""
    if activation == "relu":
        return np.maximum(y, 0)
    if activation == "gelu":
        return gelu(y)
    return y
