"""Activations and their gradients, and what other kernels fuse of them."""

import math

import numpy as np

_erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has no erf

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715
_SIGMOID_SCALE = 1.702


def _normal_cdf(x):
    # erfc of the negated argument keeps its relative accuracy where 1 + erf cancels to 0.
    return np.asarray(0.5 * _erfc(x / -math.sqrt(2.0)), x.dtype)


def relu(x):
    """max(x, 0)"""
    return np.maximum(x, 0)


def relu_backward(dy, x):
    """dy where x is above 0."""
    return np.where(x > 0, dy, np.zeros_like(dy))


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))


def sigmoid_backward(dy, y):
    """dy times the derivative of sigmoid, from its result y."""
    return dy * (y * (1 - y))


def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


def tanh_backward(dy, y):
    """dy times the derivative of tanh, from its result y."""
    return dy * (1 - y * y)


@np.errstate(all="ignore")
def gelu(x, approximate="none"):
    """x times the share of a normal distribution below x (Hendrycks and Gimpel 2016)."""
    if approximate == "none":
        return x * _normal_cdf(x)
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(_TANH_SCALE * (x + _TANH_CUBIC * x**3)))
    return x * sigmoid(_SIGMOID_SCALE * x)


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
    s = sigmoid(_SIGMOID_SCALE * x)
    return dy * (s + _SIGMOID_SCALE * x * s * (1 - s))


def activate(y, activation):
    """What linear and conv2d apply to their result: None, "relu" or "gelu"."""
    if activation == "relu":
        return relu(y)
    if activation == "gelu":
        return gelu(y)
    return y
