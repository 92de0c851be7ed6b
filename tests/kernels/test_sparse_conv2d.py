"""A convolution with sparse weights is the dense one with their zeros."""

import numpy as np
import pytest

from tinytorch import kernels

from .common import randn, whole

pytestmark = pytest.mark.kernel


def weights(shape, share, seed=0):
    keep = np.random.default_rng(seed).random(shape) > share
    return whole(*shape, seed=seed) * keep


@pytest.mark.parametrize("block", [1, 4, 16])
@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
@pytest.mark.parametrize(
    ("x", "w", "window"),
    [
        ((2, 3, 9, 11), (5, 3, 3, 3), {"padding": 1}),
        ((1, 2, 20, 20), (8, 2, 3, 2), {"stride": (2, 1), "padding": (0, 1)}),
        ((3, 4, 12, 7), (6, 4, 3, 3), {"dilation": 2, "padding": 2}),
        ((2, 5, 8, 8), (7, 5, 1, 1), {}),
    ],
)
def test_it_is_the_dense_convolution(x, w, window, share, block):
    image, weight = whole(*x), weights(w, share)
    sparse = kernels.SparseMatrix.from_dense(weight.reshape(len(weight), -1), block=(block, 1))
    bias = whole(w[0], seed=3)
    for activation in (None, "relu"):
        y = kernels.sparse_conv2d(image, sparse, w[2:], bias, activation=activation, **window)
        np.testing.assert_array_equal(y, kernels.conv2d(image, weight, bias, activation=activation, **window))


def test_float64_and_empty_batches():
    weight = randn(4, 2, 3, 3)
    sparse = kernels.SparseMatrix.from_dense(weight.reshape(4, -1))
    image = randn(2, 2, 6, 6).astype(np.float64)
    np.testing.assert_allclose(
        kernels.sparse_conv2d(image, sparse, 3), kernels.conv2d(image, weight.astype(np.float64))
    )
    assert kernels.sparse_conv2d(randn(0, 2, 6, 6), sparse, 3).shape == (0, 4, 4, 4)


def test_mistakes_are_explained():
    sparse = kernels.SparseMatrix.from_dense(randn(4, 18))
    with pytest.raises(ValueError, match=r"w \(4, 18\) must have a column .* 3 channels, times 3 × 3 is 27"):
        kernels.sparse_conv2d(randn(1, 3, 6, 6), sparse, 3)
    with pytest.raises(TypeError, match="SparseMatrix"):
        kernels.sparse_conv2d(randn(1, 2, 6, 6), randn(4, 18), 3)
    with pytest.raises(ValueError, match="sparse_conv2d"):
        kernels.sparse_conv2d(randn(1, 2, 2, 2), sparse, 3)
    with pytest.raises(ValueError, match="bias"):
        kernels.sparse_conv2d(randn(1, 2, 6, 6), sparse, 3, randn(5))
