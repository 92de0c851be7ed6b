"""4-bit weights: what they stand for, and products with them."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels.reference.quantize import dequantize_int4, quantize_int4

from .common import UNIT, randn

pytestmark = pytest.mark.kernel


@given(k=st.integers(0, 200), n=st.integers(1, 40), group_size=st.sampled_from([32, 64, 128]))
def test_unpacking_gives_the_rounded_weights(k, n, group_size):
    w = randn(k, n)
    packed = kernels.pack_int4(w, group_size)
    expected = dequantize_int4(*quantize_int4(w, group_size), group_size) if k else w
    np.testing.assert_array_equal(packed.unpack(), expected)
    assert packed.shape == (k, n) and packed.group_size == group_size


def assert_within_rounding(y, x, w, bias, group_size, x_dtype="int8"):
    """Within what rounding x to int8 in groups may cost, where it is, plus float32's own bound."""
    x, w = x.astype(np.float64).reshape(-1, x.shape[-1]), w.astype(np.float64)
    spread = np.abs(x)
    starts = np.arange(0, x.shape[1], group_size)
    largest = np.maximum.reduceat(spread, starts, axis=1)
    largest = np.repeat(largest, group_size, axis=1)[:, : x.shape[1]]
    exact = x @ w + (0 if bias is None else bias)
    magnitude = spread @ np.abs(w) + (0 if bias is None else np.abs(bias))
    rounding = largest / 254 @ np.abs(w) * 1.001 if x_dtype == "int8" else 0
    bound = rounding + 2 * (x.shape[1] + 2) * UNIT * magnitude + 1e-30
    assert (np.abs(y.reshape(exact.shape) - exact) <= bound).all()


@given(
    rows=st.sampled_from([(), (1,), (7,), (2, 3), (0,), (40,)]),
    k=st.integers(1, 200),
    n=st.integers(1, 70),
    group_size=st.sampled_from([32, 64]),
    biased=st.booleans(),
    x_dtype=st.sampled_from(["int8", "float32"]),
)
def test_linear_int4_is_the_product_with_the_rounded_weights(rows, k, n, group_size, biased, x_dtype):
    x, bias = randn(*rows, k), randn(n) if biased else None
    packed = kernels.pack_int4(randn(k, n, seed=1), group_size)
    y = kernels.linear_int4(x, packed, bias, x_dtype=x_dtype)
    assert y.shape == (*rows, n) and y.dtype == np.float32
    assert_within_rounding(y, x, packed.unpack(), bias, group_size, x_dtype)


@pytest.mark.parametrize("rows", range(1, 10))
def test_x_in_float32_is_exact_for_whole_numbers(rows):
    """Scales of 1, so every product and sum is a whole number that float32 holds."""
    rng = np.random.default_rng(0)
    w = rng.integers(-7, 8, (100, 37)).astype(np.float32)
    w[::32] = 7  # the largest of each group
    x = rng.integers(-300, 300, (rows, 100)).astype(np.float32)
    y = kernels.linear_int4(x, kernels.pack_int4(w), x_dtype="float32")
    np.testing.assert_array_equal(y, x @ w)


def test_only_x_in_int8_drowns_small_values_beside_a_large_one():
    x = np.full((1, 32), 1e-4, np.float32)
    x[0, 0] = 1.0
    packed = kernels.pack_int4(np.ones((32, 1)))
    weight = packed.unpack()[0, 0]
    assert kernels.linear_int4(x, packed)[0, 0] == pytest.approx(weight)
    assert kernels.linear_int4(x, packed, x_dtype="float32")[0, 0] == pytest.approx(weight * (1 + 31e-4))


def test_linear_int4_over_many_weights():
    x, packed = randn(2, 1000), kernels.pack_int4(randn(1000, 300))
    assert_within_rounding(kernels.linear_int4(x, packed), x, packed.unpack(), None, 32)


def test_zeros_and_empty_sums():
    packed = kernels.pack_int4(np.zeros((64, 3)))
    assert not packed.unpack().any()
    assert not kernels.linear_int4(randn(2, 64), packed).any()
    assert not kernels.linear_int4(np.zeros((2, 64)), kernels.pack_int4(randn(64, 3))).any()
    empty = kernels.pack_int4(np.zeros((0, 3)))
    np.testing.assert_array_equal(kernels.linear_int4(np.zeros((2, 0)), empty, [1, 2, 3]), [[1, 2, 3]] * 2)


def test_it_takes_about_an_eighth_of_the_bytes():
    w = randn(1024, 512)
    packed = kernels.pack_int4(w)
    assert w.nbytes / 8 <= packed.nbytes <= 1.05 * (w.nbytes / 8 + w.size / 32 * 2)
    assert "group_size=32" in repr(packed)


def test_it_can_be_pickled():
    packed = kernels.pack_int4(randn(100, 7), 64)
    clone = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(clone.unpack(), packed.unpack())
    assert clone.group_size == 64


@pytest.mark.parametrize("x_dtype", ["int8", "float32"])
@pytest.mark.parametrize("position", [5, 39])
def test_nan_reaches_the_result(x_dtype, position):
    x = randn(2, 40)
    x[1, position] = np.nan
    y = kernels.linear_int4(x, kernels.pack_int4(randn(40, 3)), x_dtype=x_dtype)
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()


def test_float64_is_not_rounded():
    x, packed = randn(2, 40).astype(np.float64), kernels.pack_int4(randn(40, 3))
    np.testing.assert_allclose(kernels.linear_int4(x, packed), x @ packed.unpack())


P = kernels.pack_int4(randn(40, 3))
MISTAKES = [
    (lambda: kernels.pack_int4(randn(40)), ValueError, r"w must have 2 axes \(K, N\)"),
    (lambda: kernels.pack_int4(randn(40, 3), 16), ValueError, "group_size must be at least 32"),
    (lambda: kernels.pack_int4(randn(40, 3), 40), ValueError, "group_size must be a multiple of 32, got 40"),
    (lambda: kernels.pack_int4(np.full((2, 3), np.nan)), ValueError, r"w holds nan at \(0, 0\)"),
    (lambda: kernels.pack_int4([[1.0, 2.0], [1.0, np.inf]]), ValueError, r"w holds inf at \(1, 1\)"),
    (lambda: kernels.pack_int4([[1e6]]), ValueError, "within 7"),
    (
        lambda: kernels.linear_int4(randn(2, 40), randn(40, 3)),
        TypeError,
        r"packed must come from pack_int4\(w\)",
    ),
    (lambda: kernels.linear_int4(randn(2, 39), P), ValueError, "39 is not 40"),
    (lambda: kernels.linear_int4(randn(2, 40), P, [1.0]), ValueError, r"bias must have shape \(3,\)"),
    (lambda: kernels.linear_int4(1.0, P), ValueError, "x is a single number"),
    (lambda: kernels.linear_int4(randn(2, 40), P, x_dtype="int4"), ValueError, "x_dtype must be 'int8' or"),
    (lambda: kernels.linear_int4(randn(2, 40), P, x_dtype=[]), ValueError, "x_dtype must be 'int8' or"),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
