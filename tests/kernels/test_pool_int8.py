"""Max pooling of integers is that of the values they stand for, and stays in integers."""

import numpy as np
import pytest

from tinytorch import kernels

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 1, 1), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), (1, 1, 0)])
@pytest.mark.parametrize("size", [(6, 6), (7, 37), (40, 5)])
def test_integers_are_pooled_like_floats(dtype, window, size):
    limits = np.iinfo(dtype)
    x = np.random.default_rng(0).integers(limits.min, limits.max + 1, (2, 3, *size)).astype(dtype)
    y = kernels.max_pool2d(x, *window)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, kernels.max_pool2d(x.astype(np.float32), *window))
    np.testing.assert_array_equal(y, kernels.max_pool2d(np.asfortranarray(x), *window))


def test_no_integer_stands_for_the_maximum_of_nothing():
    with pytest.raises(ValueError, match="max_pool2d"):
        kernels.max_pool2d(np.zeros((1, 1, 0, 0), np.uint8), 2, 1, 1)
