"""Products with a matrix whose zeros are not stored."""

import itertools
import math

import numpy as np

from .activation import activate
from .conv import conv2d


def sparse_matmul(w, x):
    """w SparseMatrix (M, K), x (K, N) -> (M, N): each block row gathers the rows of x it needs."""
    r, values, indices, row_pointers = w.block[0], w.values, w.indices, w.row_pointers
    y = np.zeros((r * (len(row_pointers) - 1), x.shape[1]), x.dtype)
    for i, (start, end) in enumerate(itertools.pairwise(row_pointers)):
        y[i * r : (i + 1) * r] = values[start:end].T @ x[indices[start:end]]
    return y[: w.shape[0]]


def sparse_linear(x, w, bias=None, activation=None):
    """activation(x @ w.T + bias): x (..., K), bias (M,) -> (..., M)."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = sparse_matmul(w, rows.T).T
    y = y if bias is None else y + bias
    return np.ascontiguousarray(activate(y, activation)).reshape(*x.shape[:-1], w.shape[0])


def sparse_conv2d(
    x, w, kernel_size, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), activation=None
):
    """x (N, C, H, W), w SparseMatrix (O, C kh kw), bias (O,) -> (N, O, OH, OW): the dense convolution."""
    weight = w.to_dense().astype(x.dtype).reshape(w.shape[0], x.shape[1], *kernel_size)
    return conv2d(x, weight, bias, stride, padding, dilation, 1, activation)
