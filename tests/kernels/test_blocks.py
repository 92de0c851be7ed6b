"""Shapes that take more than one block, portion of the batch or worker: nothing is lost between them.

Small whole numbers make every sum exact, whatever its order; random ones show whether the order depends on
the number of threads.
"""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import as_double, assert_close, randn, whole

pytestmark = pytest.mark.kernel


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = kernels.get_num_threads()
    kernels.set_num_threads(request.param)
    yield request.param
    kernels.set_num_threads(before)


CONVOLUTIONS = [
    # x, w, options
    ((2, 40, 9, 9), (50, 40, 3, 3), dict(padding=1)),  # taps beyond one block of depth
    ((37, 3, 6, 6), (5, 3, 3, 3), dict(padding=2)),  # more images than portions of dw
    ((1, 3, 70, 70), (4, 3, 3, 3), dict(stride=2)),  # one image, many pixels
    ((3, 70, 12, 12), (20, 70, 5, 5), dict(stride=(2, 3), padding=2)),  # col2im in several blocks
    ((2, 64, 23, 23), (64, 1, 5, 5), dict(padding=2, groups=64)),  # depthwise
    ((2, 12, 9, 83), (24, 2, 3, 3), dict(dilation=(1, 2), groups=6)),
    ((3, 16, 10, 10), (1, 16, 3, 3), dict(padding=1)),  # a single output
    ((2, 5, 6, 6), (7, 5, 2, 2), dict(padding=3)),  # more padding than kernel
]


def as_pairs(options):
    """The options as the reference takes them."""
    return {name: n if name == "groups" or isinstance(n, tuple) else (n, n) for name, n in options.items()}


@pytest.mark.parametrize("x, w, options", CONVOLUTIONS)
def test_convolutions_are_exact_in_every_block(x, w, options, threads):
    x, w, bias = whole(*x), whole(*w), whole(w[0])
    exact = reference.conv2d(*as_double(x, w, bias), **as_pairs(options))
    np.testing.assert_array_equal(kernels.conv2d(x, w, bias, **options), exact)
    packed = kernels.pack(w, groups=options.get("groups", 1))
    np.testing.assert_array_equal(kernels.conv2d(x, packed, bias, **options), exact)
    np.testing.assert_array_equal(packed.unpack(), w)
    dy = whole(*exact.shape, seed=1)
    gradients = kernels.conv2d_backward(dy, x, w, **options)
    for actual, expected in zip(
        gradients, reference.conv2d_backward(*as_double(dy, x, w), **as_pairs(options)), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


def results():
    """Random inputs through every kernel that splits its work, large enough to be split."""
    x, w, strided = randn(20, 16, 20, 20), randn(24, 16, 3, 3), randn(20, 24, 10, 10)
    rows, features, channels = randn(150, 333), randn(333), randn(16)
    y = kernels.conv2d(x, w, padding=1)
    params, grads = [randn(20000), randn(3), randn(9, 1000)], [randn(20000, seed=1), randn(3), randn(9, 1000)]
    state = [np.abs(p) for p in params], [np.abs(p) for p in params]
    kernels.adam_step(params, grads, *state, step=2, lr=0.1)
    mean, variance = np.zeros_like(channels), np.ones_like(channels)
    yield from [y, *kernels.conv2d_backward(y, x, w, padding=1), *params, *state[0], *state[1]]
    yield from kernels.conv2d_backward(strided, x, w, padding=1, stride=2)
    yield from [
        kernels.max_pool2d(x, 3, 2, 1),
        kernels.avg_pool2d(x, 2),
        kernels.gelu(x),
        kernels.softmax(rows),
    ]
    yield kernels.max_pool2d_backward(strided[:, :16], x, 2)
    yield from kernels.layer_norm_backward(rows, rows, features)
    yield from kernels.rms_norm_backward(rows, rows, features)
    yield kernels.batch_norm2d(x, channels, channels, mean, variance, training=True)
    yield from [mean, variance, *kernels.batch_norm2d_backward(x, x, channels, mean, variance)]
    yield kernels.cross_entropy(rows, np.arange(150))
    yield kernels.cross_entropy_backward(1.0, rows, np.arange(150))


def test_bits_do_not_depend_on_the_number_of_threads(threads):
    actual = list(results())
    kernels.set_num_threads(1)
    for i, (a, expected) in enumerate(zip(actual, results(), strict=True)):
        np.testing.assert_array_equal(a, expected, err_msg=f"result {i}")


@pytest.mark.parametrize("n", [1, 100, 8192, 8193, 30000])
def test_an_optimizer_step_reaches_every_element_once(n, threads):
    params, grads = [whole(n), whole(0), whole(n + 5)], [whole(n, seed=1), whole(0), whole(n + 5, seed=1)]
    expected = [p - 0.5 * g for p, g in zip(params, grads, strict=True)]
    kernels.sgd_step(params, grads, lr=0.5)
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_array_equal(p, e)


def test_gelu_is_within_its_bound_everywhere():
    """1e-6 of max(1, |x|): the tail below zero keeps its sign and its size, not its last digits."""
    x = np.linspace(-12, 12, 200001, dtype=np.float32)
    exact = reference.gelu(x.astype(np.float64))
    values = kernels.gelu(x)
    assert (np.abs(values - exact) <= 1e-6 * np.maximum(1, np.abs(x))).all()
    assert (values[x < 0] <= 0).all()
    assert_close(values[x > -2], exact[x > -2], rtol=1e-5)
