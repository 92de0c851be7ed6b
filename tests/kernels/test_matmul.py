"""matmul, linear and packed weights: values, layouts, broadcasting, and how mistakes are told."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, assert_product_close, randn, whole

pytestmark = pytest.mark.kernel

size = st.integers(0, 40)


@given(m=size, k=size, n=size, transpose_a=st.booleans(), transpose_b=st.booleans())
def test_whole_numbers_multiply_exactly(m, k, n, transpose_a, transpose_b):
    a, b = whole(m, k), whole(k, n, seed=1)
    stored_a = np.ascontiguousarray(a.T) if transpose_a else a
    stored_b = np.ascontiguousarray(b.T) if transpose_b else b
    y = kernels.matmul(stored_a, stored_b, transpose_a=transpose_a, transpose_b=transpose_b)
    np.testing.assert_array_equal(y, a @ b)
    assert y.dtype == np.float32 and y.shape == (m, n)


@pytest.mark.parametrize(
    "m, k, n", [(1, 1000, 1), (65, 300, 130), (200, 700, 70), (1, 512, 700), (300, 3, 5)]
)
def test_random_numbers_multiply_within_the_bound(m, k, n):
    a, b = randn(m, k), randn(k, n)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    assert_product_close(kernels.matmul(a, b), exact, magnitude, k)
    assert_product_close(kernels.matmul(a, kernels.pack(b)), exact, magnitude, k)
    assert_product_close(kernels.linear(a, b), exact, magnitude, k)


batch = st.sampled_from([((), ()), ((2,), ()), ((), (2,)), ((2,), (2,)), ((2, 1), (3,)), ((0,), (0,)),
                         ((1,), (4,)), ((2, 3), (2, 3)), ((3, 1), (1, 2)), ((2, 3), ())])  # fmt: skip


@given(batch=batch, transpose_a=st.booleans(), transpose_b=st.booleans())
def test_leading_axes_broadcast_as_in_numpy(batch, transpose_a, transpose_b):
    a, b = whole(*batch[0], 3, 4), whole(*batch[1], 4, 5)
    expected = a @ b
    if transpose_a:
        a = np.ascontiguousarray(a.swapaxes(-1, -2))
    if transpose_b:
        b = np.ascontiguousarray(b.swapaxes(-1, -2))
    y = kernels.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    np.testing.assert_array_equal(y, expected)
    assert y.shape == expected.shape


@pytest.mark.parametrize(
    "a, b", [((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,))]
)
def test_one_dimensional_operands_follow_numpy(a, b):
    a, b = whole(*a), whole(*b)
    y = kernels.matmul(a, b)
    np.testing.assert_array_equal(y, a @ b)
    assert y.shape == np.shape(a @ b)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T.copy().T,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: np.broadcast_to(x, (1, *x.shape))[0],
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.int8),
        lambda x: x.astype(np.float16),
        lambda x: x.tolist(),
        lambda x: np.frombuffer(b"-" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
    ],
)
def test_any_layout_and_real_dtype_is_taken(view):
    a, b = whole(5, 6), whole(6, 7)
    for y in (kernels.matmul(view(a), b), kernels.matmul(a, view(b)), kernels.linear(view(a), view(b))):
        np.testing.assert_array_equal(y, a @ b)
        assert y.dtype == np.float32


def test_booleans_count_as_numbers():
    np.testing.assert_array_equal(kernels.matmul(np.eye(2, dtype=bool), whole(2, 3)), whole(2, 3))


def test_float64_stays_float64():
    a, b = randn(3, 4).astype(np.float64), randn(4, 5)
    for y in (kernels.matmul(a, b), kernels.linear(b.T, a.T), kernels.matmul(a, kernels.pack(b))):
        assert y.dtype == np.float64
    np.testing.assert_allclose(kernels.matmul(a, b), a @ b.astype(np.float64))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_reach_the_result(value):
    a, b = whole(40, 40), np.abs(whole(40, 40)) + 1
    a[3, 7] = value
    y = kernels.matmul(a, b)
    np.testing.assert_array_equal(y, a @ b)
    assert not np.isfinite(y[3]).any() and np.isfinite(np.delete(y, 3, axis=0)).all()


def test_an_empty_sum_is_zero_or_the_bias():
    assert not kernels.matmul(np.ones((2, 0)), np.ones((0, 3))).any()
    np.testing.assert_array_equal(
        kernels.linear(np.ones((2, 0)), np.ones((0, 3)), [1, 2, 3]), [[1, 2, 3]] * 2
    )


class TestOut:
    def test_is_written_and_returned(self):
        a, b, out = whole(3, 4), whole(4, 5), np.full((3, 5), np.nan, np.float32)
        assert kernels.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, a @ b)
        out = np.empty((2, 3, 5), np.float32)
        assert kernels.matmul(whole(2, 3, 4), b, out=out) is out
        np.testing.assert_array_equal(out, whole(2, 3, 4) @ b)
        packed_out = np.empty((3, 5), np.float32)
        assert kernels.matmul(a, kernels.pack(b), out=packed_out) is packed_out
        np.testing.assert_array_equal(packed_out, a @ b)

    def test_may_be_an_operand(self):
        a, b = whole(4, 4), whole(4, 4, seed=1)
        expected = a @ b
        np.testing.assert_array_equal(kernels.matmul(a, b, out=a), expected)
        a = whole(4, 4)
        np.testing.assert_array_equal(kernels.matmul(a, b, out=b), expected)

    def test_may_be_a_view(self):
        out = np.zeros((3, 10), np.float32)
        kernels.matmul(whole(3, 4), whole(4, 5), out=out[:, ::2])
        np.testing.assert_array_equal(out[:, ::2], whole(3, 4) @ whole(4, 5))
        assert not out[:, 1::2].any()

    @pytest.mark.parametrize(
        "out, error, message",
        [
            (np.zeros((5, 3), np.float32), ValueError, r"result  \(3, 5\)\n  out     \(5, 3\)"),
            (np.zeros((3, 5)), TypeError, "out must be an array of float32, got float64"),
            ([[0.0] * 5] * 3, TypeError, "out must be an array of float32, got list"),
        ],
    )
    def test_must_fit(self, out, error, message):
        with pytest.raises(error, match=message):
            kernels.matmul(whole(3, 4), whole(4, 5), out=out)

    def test_must_be_writable(self):
        out = np.zeros((3, 5), np.float32)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            kernels.matmul(whole(3, 4), whole(4, 5), out=out)


@given(
    rows=st.sampled_from([(), (1,), (7,), (2, 3), (0,), (65,)]), k=st.integers(0, 30), n=st.integers(0, 40)
)
def test_linear_is_the_reference(rows, k, n):
    x, w, bias = whole(*rows, k), whole(k, n), whole(n)
    packed = kernels.pack(w)
    for b in (None, bias):
        for activation in (None, "relu"):
            expected = reference.linear(x, w, b, activation)
            for weights in (w, packed):
                y = kernels.linear(x, weights, b, activation)
                np.testing.assert_array_equal(y, expected)
                assert y.shape == expected.shape and y.dtype == np.float32


def test_linear_with_gelu():
    x, w, bias = randn(5, 20), randn(20, 33), randn(33)
    expected = reference.linear(*(v.astype(np.float64) for v in (x, w, bias)), "gelu")
    assert_close(kernels.linear(x, w, bias, "gelu"), expected, atol=2e-5)
    assert_close(kernels.linear(x, kernels.pack(w), bias, "gelu"), expected, atol=2e-5)


def test_relu_lets_nan_through():
    x = np.array([[np.nan], [-1.0], [1.0]], np.float32)
    np.testing.assert_array_equal(kernels.linear(x, np.ones((1, 1)), None, "relu"), [[np.nan], [0], [1]])


class TestPackedMatrix:
    @pytest.mark.parametrize("shape", [(1, 1), (3, 70), (70, 3), (0, 4), (4, 0), (33, 65)])
    def test_unpacks_to_what_was_packed(self, shape):
        w = randn(*shape)
        packed = kernels.pack(w)
        np.testing.assert_array_equal(packed.unpack(), w)
        assert packed.shape == shape and packed.nbytes >= w.nbytes
        assert str(shape) in repr(packed)

    def test_is_a_copy(self):
        w = whole(3, 4)
        packed = kernels.pack(w)
        expected = w.copy()
        w[:] = 0
        np.testing.assert_array_equal(packed.unpack(), expected)

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda packed: pickle.loads(pickle.dumps(packed))])
    def test_can_be_copied_and_pickled(self, clone):
        w, filters = randn(5, 40), randn(6, 2, 3, 3)
        np.testing.assert_array_equal(clone(kernels.pack(w)).unpack(), w)
        packed = clone(kernels.pack(filters, groups=3))
        np.testing.assert_array_equal(packed.unpack(), filters)
        assert packed.groups == 3

    def test_takes_a_transposed_a(self):
        a, b = whole(4, 3), whole(4, 5)
        y = kernels.matmul(a, kernels.pack(b), transpose_a=True)
        np.testing.assert_array_equal(y, a.T @ b)

    def test_takes_batches_and_vectors(self):
        b = whole(4, 5)
        for a in (whole(2, 3, 4), whole(4)):
            np.testing.assert_array_equal(kernels.matmul(a, kernels.pack(b)), a @ b)


MISTAKES = [
    (
        lambda: kernels.matmul(whole(2, 3), whole(4, 5)),
        ValueError,
        r"and 3 is not 4\n  a  \(2, 3\)\n         \^\n  b  \(4, 5\)\n      \^\n  fix: transpose",
    ),
    (lambda: kernels.matmul(whole(2, 3), whole(3, 5), transpose_a=True), ValueError, "2 is not 3"),
    (lambda: kernels.matmul(whole(2, 3, 4), whole(3, 4, 5)), ValueError, "leading axes do not broadcast"),
    (lambda: kernels.matmul(2.0, whole(2, 2)), ValueError, "a is a single number"),
    (lambda: kernels.matmul(whole(3), whole(3, 2), transpose_a=True), ValueError, "drop transpose_a"),
    (lambda: kernels.matmul(whole(2, 2), np.ones((2, 2), complex)), TypeError, "b must hold real numbers"),
    (lambda: kernels.matmul(np.array([[None]]), whole(1, 1)), TypeError, "a must hold real numbers"),
    (lambda: kernels.matmul([[1, 2], [3]], whole(2, 2)), ValueError, "a is a ragged list"),
    (lambda: kernels.matmul(None, whole(2, 2)), TypeError, "a must be an array of numbers, got NoneType"),
    (lambda: kernels.matmul(whole(2, 2), "w"), TypeError, "b must be an array of numbers, got str"),
    (lambda: kernels.matmul(kernels.pack(whole(2, 2)), whole(2, 2)), TypeError, "got PackedMatrix"),
    (lambda: kernels.matmul(whole(2, 3), kernels.pack(whole(4, 5))), ValueError, "3 is not 4"),
    (
        lambda: kernels.matmul(whole(2, 4), kernels.pack(whole(4, 5)), transpose_b=True),
        ValueError,
        r"pack\(b.T\)",
    ),
    (
        lambda: kernels.matmul(whole(2, 4), kernels.pack(whole(4, 4, 1, 1))),
        ValueError,
        "packed weights of a convolution",
    ),
    (lambda: kernels.linear(whole(2, 3), whole(4, 5)), ValueError, r"3 is not 4(.|\n)*w is \(in, out\)"),
    (lambda: kernels.linear(whole(2, 3), whole(3, 5), whole(3)), ValueError, r"bias must have shape \(5,\)"),
    (
        lambda: kernels.linear(whole(2, 3), whole(3, 5), whole(1, 5)),
        ValueError,
        r"bias must have shape \(5,\)",
    ),
    (lambda: kernels.linear(whole(2, 3), whole(2, 3, 5)), ValueError, "w must have 2 axes"),
    (lambda: kernels.linear(3.0, whole(3, 5)), ValueError, "x is a single number"),
    (
        lambda: kernels.linear(whole(2, 3), whole(3, 5), None, "swish"),
        ValueError,
        "activation must be one of None, 'relu', 'gelu'",
    ),
    (
        lambda: kernels.linear(whole(2, 3), whole(3, 5), None, ["relu"]),
        ValueError,
        "activation must be one of",
    ),
    (
        lambda: kernels.linear(whole(2, 3), kernels.pack(whole(3, 3, 1, 1))),
        ValueError,
        "packed weights of a convolution",
    ),
    (
        lambda: kernels.linear(whole(2, 3), kernels.pack_int8(np.ones((3, 2), np.int8), 1.0)),
        TypeError,
        "got PackedInt8",
    ),
    (lambda: kernels.pack(whole(3)), ValueError, "w must have 2 axes"),
    (lambda: kernels.pack(whole(3, 2), groups=2), ValueError, "groups of a matrix"),
    (
        lambda: kernels.pack(whole(3, 2, 1, 1), groups=2),
        ValueError,
        "3 output channels do not divide into 2 groups",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("k", [0, 1, 3, 4, 5, 8, 130])
@pytest.mark.parametrize("n", [1, 7, 15, 16, 17, 33, 2047, 2048, 2049, 4100])
def test_one_row_takes_every_width_and_depth(n, k):
    x, w, bias = whole(1, k), whole(k, n), whole(n)
    np.testing.assert_array_equal(kernels.matmul(x, w), x @ w)
    np.testing.assert_array_equal(kernels.matmul(x.T.copy(), w, transpose_a=True), x @ w)
    np.testing.assert_array_equal(kernels.linear(x, w, bias, "relu"), np.maximum(x @ w + bias, 0))


def test_one_row_of_a_column_block():
    """The rows of w are longer than the part that a thread takes, and what lies beside it is left alone."""
    before = kernels.get_num_threads()
    x, w = whole(1, 200), whole(200, 1500)
    try:
        kernels.set_num_threads(3)
        np.testing.assert_array_equal(kernels.matmul(x, w), x @ w)
    finally:
        kernels.set_num_threads(before)
