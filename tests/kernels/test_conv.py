"""conv2d and its gradients against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import as_double, assert_close, assert_product_close, randn, whole

pytestmark = pytest.mark.kernel

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    """x, w, bias of small whole numbers, and options under which the window fits."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = [
        max(d * (k - 1) + 1 - 2 * p, 1) + draw(st.integers(0, 9))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    channels, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 9))
    x = whole(draw(st.integers(0, 2)), channels, *size)
    w = whole(outputs, channels // groups, *kernel)
    return x, w, whole(outputs), dict(stride=stride, padding=padding, dilation=dilation, groups=groups)


@given(convolutions(), st.sampled_from([None, "relu"]))
def test_whole_numbers_convolve_exactly(case, activation):
    x, w, bias, options = case
    expected = reference.conv2d(x, w, bias, **options, activation=activation)
    y = kernels.conv2d(x, w, bias, **options, activation=activation)
    np.testing.assert_array_equal(y, expected)
    assert y.shape == expected.shape and y.dtype == np.float32 and y.flags.c_contiguous
    packed = kernels.pack(w, groups=options["groups"])
    np.testing.assert_array_equal(kernels.conv2d(x, packed, bias, **options, activation=activation), expected)
    np.testing.assert_array_equal(packed.unpack(), w)


@given(convolutions())
def test_gradients_of_whole_numbers_are_exact(case):
    x, w, _, options = case
    dy = whole(*reference.conv2d(x, w, **options).shape, seed=2)
    actual = kernels.conv2d_backward(dy, x, w, **options)
    for a, e in zip(actual, reference.conv2d_backward(dy, x, w, **options), strict=True):
        np.testing.assert_array_equal(a, e)
        assert a.shape == e.shape


LAYERS = [
    # x, w, options: a first layer, a middle layer, pointwise, depthwise, strided, wide
    ((2, 3, 32, 32), (16, 3, 3, 3), dict(padding=1)),
    ((2, 16, 14, 14), (40, 16, 3, 3), dict(padding=1)),
    ((1, 24, 9, 9), (17, 24, 1, 1), {}),
    ((2, 8, 15, 15), (8, 1, 3, 3), dict(padding=1, groups=8)),
    ((1, 3, 40, 40), (9, 3, 7, 7), dict(stride=2, padding=3)),
    ((1, 6, 12, 50), (10, 3, 3, 5), dict(dilation=2, groups=2)),
]


@pytest.mark.parametrize("x, w, options", LAYERS)
def test_layers_agree_within_the_bound(x, w, options):
    x, w, bias = randn(*x), randn(*w), randn(w[0])
    pairs = {name: (n, n) if name != "groups" else n for name, n in options.items()}
    exact = reference.conv2d(*as_double(x, w, bias), **pairs)
    magnitude = reference.conv2d(*as_double(abs(x), abs(w), abs(bias)), **pairs)
    terms = w[0].size + 1
    y = kernels.conv2d(x, w, bias, **options)
    assert_product_close(y, exact, magnitude, terms)
    packed = kernels.pack(w, groups=options.get("groups", 1))
    assert_product_close(kernels.conv2d(x, packed, bias, **options), exact, magnitude, terms)
    dy = randn(*exact.shape)
    exact = reference.conv2d_backward(*as_double(dy, x, w), **pairs)
    magnitude = reference.conv2d_backward(*as_double(abs(dy), abs(x), abs(w)), **pairs)
    products = dy[:, 0].size  # each element of dw and db sums over all pixels, dx over the taps
    terms = (w.shape[0] * w[0, 0].size, products, products)
    for actual, e, m, k in zip(
        kernels.conv2d_backward(dy, x, w, **options), exact, magnitude, terms, strict=True
    ):
        assert_product_close(actual, e, m, k)


@pytest.mark.parametrize(
    "x, w, options",
    [
        ((2, 40, 19, 17), (21, 40, 3, 3), dict(padding=1)),
        ((1, 80, 33, 31), (50, 40, 3, 3), dict(stride=2, padding=2, dilation=2, groups=2)),
        ((3, 130, 12, 11), (7, 130, 1, 2), dict(stride=(1, 2))),
    ],
)
def test_layers_of_several_strips_and_blocks_are_exact(x, w, options):
    x, w, bias = whole(*x), whole(*w), whole(w[0])
    pairs = {name: (n, n) if isinstance(n, int) and name != "groups" else n for name, n in options.items()}
    y = reference.conv2d(x, w, bias, **pairs)
    np.testing.assert_array_equal(kernels.conv2d(x, w, bias, **options), y)
    dy = whole(*y.shape, seed=1)
    for actual, exact in zip(
        kernels.conv2d_backward(dy, x, w, **options),
        reference.conv2d_backward(dy, x, w, **pairs),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, exact)


def test_gelu_is_fused():
    x, w, bias = randn(2, 3, 8, 8), randn(5, 3, 3, 3), randn(5)
    exact = reference.conv2d(*as_double(x, w, bias), activation="gelu")
    assert_close(kernels.conv2d(x, w, bias, activation="gelu"), exact, atol=3e-5)


def test_output_mask_leaves_gradients_out():
    x, w, dy = whole(1, 2, 5, 5), whole(3, 2, 3, 3), whole(1, 3, 3, 3)
    whole_answer = kernels.conv2d_backward(dy, x, w)
    for mask in ((True, False, False), (False, True, False), (False, False, True), (False, False, False)):
        for wanted, part, full in zip(
            mask, kernels.conv2d_backward(dy, x, w, output_mask=mask), whole_answer, strict=True
        ):
            assert (part is not None) == wanted
            if wanted:
                np.testing.assert_array_equal(part, full)


def test_views_and_float64():
    x, w = whole(2, 5, 6, 3).transpose(0, 3, 1, 2), whole(3, 3, 4, 3).transpose(2, 0, 1, 3)
    np.testing.assert_array_equal(kernels.conv2d(x, w), reference.conv2d(x, w))
    assert kernels.conv2d(x.astype(np.float64), w).dtype == np.float64


def test_a_nan_reaches_only_the_windows_that_hold_it():
    x = whole(1, 1, 8, 8)
    x[0, 0, 0, 0] = np.nan
    y = kernels.conv2d(x, np.ones((1, 1, 3, 3)), padding=1)
    assert np.isnan(y[0, 0, :2, :2]).all() and np.isnan(y).sum() == 4


X, W = whole(2, 4, 6, 6), whole(6, 2, 3, 3)
MISTAKES = [
    (lambda: kernels.conv2d(X, W), "x has 4 channels, and w reads 2 x 1 group"),
    (lambda: kernels.conv2d(whole(1, 6, 6, 2), W), "move its channels to axis 1"),
    (lambda: kernels.conv2d(X, W, groups=4), "6 output channels of w do not divide into 4 groups"),
    (lambda: kernels.conv2d(X[0], W, groups=2), r"x must have 4 axes \(N, C, H, W\), and has 3"),
    (lambda: kernels.conv2d(X, W[0], groups=2), "w must have 4 axes"),
    (lambda: kernels.conv2d(X, W, whole(2), groups=2), r"bias must have shape \(6,\)"),
    (lambda: kernels.conv2d(X, W, groups=2, stride=-1), "stride must be at least 1, got -1"),
    (lambda: kernels.conv2d(X, W, groups=2, stride=0), "stride must be at least 1, got 0"),
    (lambda: kernels.conv2d(X, W, groups=2, padding=-1), "padding must be at least 0"),
    (lambda: kernels.conv2d(X, W, groups=2, dilation=(1, 0)), "dilation must be at least 1"),
    (lambda: kernels.conv2d(X, W, groups=0), "groups must be at least 1"),
    (lambda: kernels.conv2d(X, W, groups=2, stride=(1, 2, 3)), r"stride must be one integer or a pair"),
    (
        lambda: kernels.conv2d(X, W, groups=2, dilation=4),
        "window's height of 9 .* does not fit into the padded height of 6",
    ),
    (lambda: kernels.conv2d(X, whole(6, 2, 7, 3), groups=2), "fix: a smaller kernel, or more padding"),
    (lambda: kernels.conv2d(X, W, groups=2, activation="sin"), "activation must be one of"),
    (lambda: kernels.conv2d(X, kernels.pack(W), groups=2), r"packed for 1 group\(s\), and groups=2"),
    (lambda: kernels.conv2d(X, kernels.pack(whole(4, 4))), r"packed matrix of shape \(4, 4\)"),
    (lambda: kernels.conv2d_backward(whole(2, 6, 4, 5), X, W, groups=2), r"axis 3 differs, and 5 is not 4"),
    (
        lambda: kernels.conv2d_backward(whole(6, 4, 4), X, W, groups=2),
        "dy must have the shape of the forward result",
    ),
]


@pytest.mark.parametrize("call, message", MISTAKES)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_options_must_be_integers():
    with pytest.raises(TypeError, match=r"stride must be an integer, got 1\.5"):
        kernels.conv2d(X, W, groups=2, stride=1.5)
    with pytest.raises(TypeError, match="x must hold real numbers"):
        kernels.conv2d(X.astype(complex), W, groups=2)
