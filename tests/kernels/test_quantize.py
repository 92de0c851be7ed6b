"""quantize and dequantize against the reference: equal to the last bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import randn

pytestmark = pytest.mark.kernel

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


@given(
    shape=st.lists(st.integers(0, 9), max_size=4),
    dtype=st.sampled_from(["int8", "uint8"]),
    along=st.booleans(),
    data=st.data(),
)
def test_they_are_the_reference(shape, dtype, along, data):
    x = 3 * randn(*shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if along and shape else None
    length = 1 if axis is None else shape[axis]
    scale = np.abs(randn(length, seed=1)) * np.float32(0.05) + np.float32(0.001)
    zero_point = np.random.default_rng(0).integers(*LIMITS[dtype], length)
    if axis is None:
        scale, zero_point = scale[0], int(zero_point[0])
    positive = axis if axis is None else axis % len(shape)
    q = kernels.quantize(x, scale, zero_point, axis=axis, dtype=dtype)
    np.testing.assert_array_equal(q, reference.quantize(x, scale, zero_point, positive, dtype))
    assert q.dtype == dtype and q.shape == x.shape
    back = kernels.dequantize(q, scale, zero_point, axis=axis)
    np.testing.assert_array_equal(back, reference.dequantize(q, scale, zero_point, positive))
    assert back.dtype == np.float32 and back.shape == x.shape


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_tie_rounds_to_even(dtype):
    x = np.arange(-300, 300, dtype=np.float32) + 0.5
    q = kernels.quantize(x, 1.0, 100, dtype=dtype)
    np.testing.assert_array_equal(q, np.clip(np.rint(x) + 100, *LIMITS[dtype]))


def test_every_integer_comes_back():
    for dtype, (low, high) in LIMITS.items():
        q = np.arange(low, high + 1).astype(dtype)
        for scale in (0.1, 3e-5, 7.0):
            x = kernels.dequantize(q, scale, 3)
            np.testing.assert_array_equal(kernels.quantize(x, scale, 3, dtype=dtype), q)


def test_infinities_and_huge_values_clamp():
    x = np.array([np.inf, -np.inf, 3e38, -3e38], np.float32)
    assert kernels.quantize(x, 1e-3).tolist() == [127, -128, 127, -128]
    assert kernels.quantize(x, 1e-3, 7, dtype="uint8").tolist() == [255, 0, 255, 0]


def test_layouts_and_spellings():
    x = randn(4, 6)
    expected = kernels.quantize(x.T.copy(), 0.1)
    np.testing.assert_array_equal(kernels.quantize(x.T, np.float64(0.1), dtype=np.int8), expected)
    np.testing.assert_array_equal(kernels.quantize(x.T.tolist(), [0.1], [0]), expected)
    np.testing.assert_array_equal(kernels.quantize(x.T.astype(np.float64), 0.1), expected)
    np.testing.assert_array_equal(kernels.dequantize(expected.T, 0.5), expected.T * np.float32(0.5))


def test_accumulators_dequantize_too():
    q = np.array([100000, -5], np.int32)
    np.testing.assert_array_equal(kernels.dequantize(q, 0.5), [50000, -2.5])


X = randn(2, 3)
Q = np.zeros((2, 3), np.int8)
MISTAKES = [
    (lambda: kernels.quantize(X, 0.0), ValueError, "scale must be finite and above 0 in float32, got 0.0"),
    (lambda: kernels.quantize(X, -1.0), ValueError, "scale must be finite and above 0"),
    (lambda: kernels.quantize(X, float("nan")), ValueError, "scale must be finite and above 0"),
    (lambda: kernels.quantize(X, 1e-50), ValueError, "above 0 in float32"),
    (lambda: kernels.quantize(X, [1.0, 0.0, 1.0], axis=1), ValueError, "got 0.0 at index 1"),
    (
        lambda: kernels.quantize(X, 1.0, 128),
        ValueError,
        "zero_point must be a value of int8, in -128 ... 127",
    ),
    (lambda: kernels.quantize(X, 1.0, -1, dtype="uint8"), ValueError, "in 0 ... 255, got -1"),
    (lambda: kernels.quantize(X, 1.0, 0.5), TypeError, "zero_point must be an integer"),
    (lambda: kernels.quantize(X, [1.0, 2.0, 3.0]), ValueError, "scale must be one for the whole array"),
    (lambda: kernels.quantize(X, [1.0, 2.0], axis=1), ValueError, "one for each element of axis 1"),
    (lambda: kernels.quantize(X, 1.0, [0, 1], axis=1), ValueError, "zero_point must be one, or"),
    (lambda: kernels.quantize(X, 1.0, axis=2), ValueError, "axis 2 does not exist"),
    (lambda: kernels.quantize(X, 1.0, dtype="int16"), ValueError, "dtype must be one of 'int8', 'uint8'"),
    (
        lambda: kernels.quantize(np.array([[1, 2], [np.nan, 4]], np.float32), 1.0),
        ValueError,
        r"x holds NaN at \(1, 0\)",
    ),
    (lambda: kernels.dequantize(X, 1.0), TypeError, "q must be int8, uint8 or int32, and is float32"),
    (lambda: kernels.dequantize(Q, 0.0), ValueError, "scale must be finite and above 0"),
    (lambda: kernels.dequantize(Q, 1.0, 200), ValueError, "zero_point must be a value of int8"),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
