"""Softmax and its logarithm along one axis."""

import numpy as np


@np.errstate(all="ignore")
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)); subtracting the maximum first keeps exp from overflowing."""
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy, y, axis=-1):
    """y is softmax's result."""
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


@np.errstate(all="ignore")
def log_softmax(x, axis=-1):
    """x - log(sum(exp(x)))."""
    x = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy, y, axis=-1):
    """y is log_softmax's result."""
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)
