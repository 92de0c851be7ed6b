"""Sums of quantized arrays, and rows quantized as they pass: the reference's integers on all levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

DTYPES = st.sampled_from([np.uint8, np.int8])


def integers(dtype, *shape, seed=0):
    info = np.iinfo(dtype)
    return np.random.default_rng([seed, *shape]).integers(info.min, info.max + 1, shape).astype(dtype)


@given(
    shape=st.sampled_from([(), (0,), (1,), (7,), (64,), (3, 5, 7), (2, 40, 41), (20_000,)]),
    dtypes=st.tuples(DTYPES, DTYPES, st.sampled_from(["uint8", "int8"])),
    scales=st.tuples(*[st.sampled_from([1e-3, 0.05, 0.7, 9.0])] * 3),
    activation=st.sampled_from([None, "relu"]),
)
def test_add_int8_is_the_reference(shape, dtypes, scales, activation):
    a, b = integers(dtypes[0], *shape), integers(dtypes[1], *shape, seed=1)
    points = [3 if dtype == np.uint8 else -70 for dtype in (*dtypes[:2], np.dtype(dtypes[2]))]
    y = kernels.add_int8(
        a, scales[0], points[0], b, scales[1], points[1],
        out_scale=scales[2], out_zero_point=points[2], activation=activation, out_dtype=dtypes[2],
    )  # fmt: skip
    expected = reference.add_int8(
        a, scales[0], points[0], b, scales[1], points[1], activation, scales[2], points[2], dtypes[2]
    )
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == dtypes[2] and y.shape == shape


def test_add_int8_meets_integers_where_scales_are_powers_of_two():
    """With such scales nothing is rounded before the end, so whole numbers tell the answer."""
    a, b = integers(np.uint8, 5000), integers(np.int8, 5000, seed=1)
    total = (a.astype(np.int64) - 9) * 4 + (b.astype(np.int64) + 3)  # in units of b's scale; out: 8 units
    down, rest = np.divmod(total, 8)
    rounded = down + ((rest > 4) | ((rest == 4) & (down % 2 == 1)))
    expected = np.clip(rounded + 50, 50, 255)
    y = kernels.add_int8(a, 0.25, 9, b, 0.0625, -3, out_scale=0.5, out_zero_point=50, activation="relu")
    np.testing.assert_array_equal(y, expected)


@given(
    rows=st.sampled_from([(), (1,), (7,), (2, 3), (0,), (66,)]),
    k=st.integers(0, 150),
    n=st.integers(1, 70),
    activation=st.sampled_from([None, "relu"]),
    biased=st.booleans(),
)
def test_linear_int8_dynamic_is_the_reference(rows, k, n, activation, biased):
    x, w = 3 * randn(*rows, k), integers(np.int8, k, n, seed=1)
    scale = np.abs(randn(n)) * np.float32(0.02) + np.float32(0.001)
    bias = randn(n) if biased else None
    packed = kernels.pack_int8(w, scale)
    y = kernels.linear_int8_dynamic(x, packed, bias, activation=activation)
    np.testing.assert_array_equal(y, reference.linear_int8_dynamic(x, w, scale, bias, activation))
    assert y.dtype == np.float32 and y.shape == (*rows, n)


def test_linear_int8_dynamic_is_the_integer_product_of_whole_numbers():
    """Rows whose largest is 127 have the scale 1: the result is the exact product."""
    x = np.random.default_rng(0).integers(-126, 127, (5, 90))
    x[:, 4] = 127
    w = integers(np.int8, 90, 33)
    y = kernels.linear_int8_dynamic(x.astype(np.float32), kernels.pack_int8(w, 1.0))
    np.testing.assert_array_equal(y, x @ w.astype(np.int64))


def test_a_row_depends_on_no_other():
    x, packed = randn(40, 64), kernels.pack_int8(integers(np.int8, 64, 48), 0.01)
    together = kernels.linear_int8_dynamic(x, packed, randn(48))
    x[1:] *= 1000
    np.testing.assert_array_equal(kernels.linear_int8_dynamic(x, packed, randn(48))[0], together[0])
    np.testing.assert_array_equal(kernels.linear_int8_dynamic(x[:1], packed, randn(48))[0], together[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_without_a_scale_are_nan_and_zeros_are_zero(value):
    x = randn(3, 40)
    x[1, 7], x[2] = value, 0
    y = kernels.linear_int8_dynamic(x, kernels.pack_int8(integers(np.int8, 40, 33), 0.01))
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).all() and (y[2] == 0).all()


def test_gelu_and_other_dtypes():
    x, packed = randn(3, 8), kernels.pack_int8(integers(np.int8, 8, 5), 0.01)
    plain = kernels.linear_int8_dynamic(x, packed)
    assert_close(kernels.linear_int8_dynamic(x, packed, activation="gelu"), kernels.gelu(plain))
    assert_close(kernels.linear_int8_dynamic(x.astype(np.float64), packed), plain, atol=1e-5)
    whole = np.arange(24).reshape(3, 8)
    np.testing.assert_array_equal(
        kernels.linear_int8_dynamic(whole, packed),
        kernels.linear_int8_dynamic(whole.astype(np.float32), packed),
    )


BYTES = np.zeros((2, 3), np.uint8)
PACKED = kernels.pack_int8(np.zeros((3, 4), np.int8), 0.1)
MISUSE = {
    "floats": (
        lambda: kernels.add_int8(BYTES + 0.5, 1, 0, BYTES, 1, 0, out_scale=1),
        TypeError,
        "kernels.quantize",
    ),
    "shapes": (
        lambda: kernels.add_int8(BYTES, 1, 0, BYTES[:1], 1, 0, out_scale=1),
        ValueError,
        r"(?s)one shape.*\(2, 3\).*\(1, 3\).*shortcut",
    ),
    "scale": (lambda: kernels.add_int8(BYTES, 0, 0, BYTES, 1, 0, out_scale=1), ValueError, "a_scale"),
    "zero point": (
        lambda: kernels.add_int8(BYTES, 1, 0, BYTES, 1, 300, out_scale=1),
        ValueError,
        "b_zero_point",
    ),
    "no scale for the sum": (
        lambda: kernels.add_int8(BYTES, 1, 0, BYTES, 1, 0, out_scale=None),
        ValueError,
        "out_scale",
    ),
    "gelu": (
        lambda: kernels.add_int8(BYTES, 1, 0, BYTES, 1, 0, out_scale=1, activation="gelu"),
        ValueError,
        "activation",
    ),
    "not packed": (lambda: kernels.linear_int8_dynamic(randn(2, 3), randn(3, 4)), TypeError, "pack_int8"),
    "features": (
        lambda: kernels.linear_int8_dynamic(randn(2, 4), PACKED),
        ValueError,
        r"(?s)last axis.*\(2, 4\)",
    ),
    "bias": (lambda: kernels.linear_int8_dynamic(randn(2, 3), PACKED, randn(3)), ValueError, "bias"),
    "scalar": (lambda: kernels.linear_int8_dynamic(np.float32(1), PACKED), ValueError, "needs an axis"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, kind, message = MISUSE[name]
    with pytest.raises(kind, match=message):
        call()
