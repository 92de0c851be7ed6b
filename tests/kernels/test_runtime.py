"""The CPU's description and the number of threads."""

import numpy as np
import pytest

from tinytorch import kernels

from .common import randn

pytestmark = pytest.mark.kernel


@pytest.fixture
def threads():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


def test_cpu_info_is_consistent():
    info = kernels.cpu_info()
    assert info["level"] in info["levels"] and info["levels"][-1] == "scalar"
    assert info["cores"] >= 1 and isinstance(info["model"], str)
    assert all(size > 0 for size in info["caches"].values())


def test_the_number_of_threads_is_kept(threads):
    kernels.set_num_threads(3)
    assert kernels.get_num_threads() == 3


@pytest.mark.parametrize("n, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)])
def test_a_number_of_threads_must_be_a_positive_integer(n, error):
    before = kernels.get_num_threads()
    with pytest.raises(error, match="set_num_threads: n must be"):
        kernels.set_num_threads(n)
    assert kernels.get_num_threads() == before


def test_results_do_not_depend_on_the_number_of_threads(threads):
    x, w, bias = randn(2, 8, 40, 40), randn(16, 8, 3, 3), randn(16)
    a, b = randn(150, 300), randn(300, 170)
    heads = randn(2, 4, 100, 32)

    def results():
        y = kernels.conv2d(x, w, bias, padding=1)
        return [
            kernels.matmul(a, b),
            y,
            *kernels.conv2d_backward(y, x, w, padding=1),
            kernels.softmax(a),
            *kernels.layer_norm_backward(a, a),
            *kernels.attention_backward(heads, heads, heads, heads, causal=True),
        ]

    kernels.set_num_threads(1)
    alone = results()
    kernels.set_num_threads(4)
    for one, many in zip(alone, results(), strict=True):
        np.testing.assert_array_equal(one, many)
