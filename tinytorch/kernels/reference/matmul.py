"""Matrix multiplication and the fully connected layer."""

import math

import numpy as np

from .activation import activate


def matmul(a, b, transpose_a=False, transpose_b=False, *, matmul=np.matmul):
    """(..., M, K) @ (..., K, N) -> (..., M, N); a transposed operand is stored the other way."""
    if transpose_a:
        a = np.swapaxes(a, -1, -2)
    if transpose_b:
        b = np.swapaxes(b, -1, -2)
    return matmul(a, b)


def linear(x, w, bias=None, activation=None, *, matmul=np.matmul):
    """activation(x @ w + bias): x (..., K), w (K, N), bias (N,) -> (..., N)."""
    rows = math.prod(x.shape[:-1])
    y = matmul(x.reshape(rows, x.shape[-1]), w)
    if bias is not None:
        y = y + bias
    return activate(y, activation).reshape(*x.shape[:-1], w.shape[1])
