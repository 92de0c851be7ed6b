"""SparseMatrix and its products against dense ones."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import SparseMatrix

from .common import assert_close, assert_product_close, randn, whole

pytestmark = pytest.mark.kernel

BLOCKS = [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1)]


def pruned(m, k, sparsity, block=(1, 1), seed=0):
    """Whole numbers of which a share, in whole blocks, is zero."""
    rng = np.random.default_rng([seed, m, k])
    keep = np.repeat(rng.random((-(-m // block[0]), k)) >= sparsity, block[0], axis=0)[:m]
    return whole(m, k, seed=seed, low=1) * keep


@given(
    m=st.integers(0, 50),
    k=st.integers(0, 50),
    n=st.integers(0, 70),
    sparsity=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    block=st.sampled_from(BLOCKS),
)
def test_products_are_the_dense_ones(m, k, n, sparsity, block):
    dense = pruned(m, k, sparsity, block)
    w = SparseMatrix.from_dense(dense, block)
    np.testing.assert_array_equal(w.to_dense(), dense)
    x, bias = whole(k, n), whole(m)
    y = kernels.sparse_matmul(w, x)
    np.testing.assert_array_equal(y, dense @ x)
    assert y.dtype == np.float32 and y.shape == (m, n)
    rows = np.ascontiguousarray(x.T)
    np.testing.assert_array_equal(kernels.sparse_linear(rows, w), rows @ dense.T)
    relu = kernels.sparse_linear(rows, w, bias, "relu")
    np.testing.assert_array_equal(relu, np.maximum(rows @ dense.T + bias, 0))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("columns", [1, 3, 64, 130])
def test_random_weights_agree_within_the_bound(block, columns):
    dense = pruned(70, 700, 0.8, block) * randn(70, 700)
    w, x = SparseMatrix.from_dense(dense, block), randn(700, columns)
    exact = dense.astype(np.float64) @ x.astype(np.float64)
    magnitude = np.abs(dense).astype(np.float64) @ np.abs(x).astype(np.float64)
    assert_product_close(kernels.sparse_matmul(w, x), exact, magnitude, 700)
    assert_product_close(kernels.sparse_linear(x.T, w), exact.T, magnitude.T, 700)


def test_sparse_linear_takes_vectors_and_batches():
    dense = pruned(9, 7, 0.5)
    w = SparseMatrix.from_dense(dense)
    for shape in ((7,), (2, 3, 7), (0, 7)):
        x = whole(*shape)
        y = kernels.sparse_linear(x, w)
        np.testing.assert_array_equal(y, x @ dense.T)
        assert y.shape == (*shape[:-1], 9)


def test_out_is_written_and_returned():
    dense, x = pruned(9, 7, 0.5), whole(7, 4)
    w, rows = SparseMatrix.from_dense(dense), np.ascontiguousarray(x.T)
    c, y = np.full((9, 4), np.nan, np.float32), np.full((4, 9), np.nan, np.float32)
    assert kernels.sparse_matmul(w, x, out=c) is c
    assert kernels.sparse_linear(rows, w, out=y) is y
    np.testing.assert_array_equal(c, dense @ x)
    np.testing.assert_array_equal(y, c.T)


def test_out_may_be_strided_or_an_input():
    dense, x, wide = pruned(6, 6, 0.5), whole(6, 6), np.zeros((6, 12), np.float32)
    w, expected = SparseMatrix.from_dense(dense), dense @ x
    kernels.sparse_matmul(w, x, out=wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], expected)
    assert not wide[:, 1::2].any()
    np.testing.assert_array_equal(kernels.sparse_matmul(w, x, out=x), expected)
    bias = whole(6)
    y = kernels.sparse_linear(x[0], w, bias.copy())
    np.testing.assert_array_equal(kernels.sparse_linear(x[0], w, bias, out=bias), y)


def test_gelu():
    dense, x, bias = pruned(9, 7, 0.5), randn(4, 7), randn(9)
    y = kernels.sparse_linear(x, SparseMatrix.from_dense(dense), bias, "gelu")
    assert_close(y, kernels.gelu((x @ dense.T + bias).astype(np.float64)), atol=2e-5)


def test_a_value_opposite_to_a_zero_is_not_read():
    w = SparseMatrix.from_dense([[1.0, 0.0], [0.0, 2.0]])
    assert kernels.sparse_matmul(w, np.array([[3.0], [np.nan]], np.float32))[0] == 3


def test_float64_stays_float64():
    w = SparseMatrix.from_dense(pruned(4, 5, 0.5))
    assert kernels.sparse_matmul(w, np.ones((5, 2))).dtype == np.float64
    assert kernels.sparse_linear(np.ones((2, 5)), w).dtype == np.float64


class TestSparseMatrix:
    def test_stores_blocks_that_are_not_all_zero(self):
        w = SparseMatrix.from_dense([[0, 1, 0], [0, 0, 2], [0, 3, 0]], (2, 1))
        assert w.values.tolist() == [[1, 0], [0, 2], [3, 0]]
        assert w.indices.tolist() == [1, 2, 1] and w.row_pointers.tolist() == [0, 2, 3]
        assert w.sparsity == pytest.approx(6 / 9)
        assert w.nbytes == 6 * 4 + 3 * 2 + 3 * 4
        assert "shape=(3, 3)" in repr(w)

    def test_wide_matrices_need_wide_indices(self):
        for k, dtype in ((65536, np.uint16), (65537, np.int32)):
            dense = np.zeros((1, k), np.float32)
            dense[0, -1] = 3
            w = SparseMatrix.from_dense(dense)
            assert w.indices.dtype == dtype
            assert kernels.sparse_matmul(w, np.ones((k, 1)).astype(np.float32))[0, 0] == 3

    def test_cannot_be_changed(self):
        w = SparseMatrix.from_dense(np.eye(3))
        for array in (w.values, w.indices, w.row_pointers):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_a_copy_cannot_be_changed_either(self):
        w = copy.deepcopy(SparseMatrix.from_dense(pruned(9, 7, 0.5), (2, 1)))
        np.testing.assert_array_equal(w.to_dense(), pruned(9, 7, 0.5))
        assert not w.indices.flags.writeable

    def test_of_nothing(self):
        assert SparseMatrix.from_dense(np.zeros((0, 0))).sparsity == 0
        assert SparseMatrix.from_dense(np.zeros((3, 4))).sparsity == 1


def build(values, indices, row_pointers, shape=(2, 3)):
    return lambda: SparseMatrix(np.array(values), np.array(indices), np.array(row_pointers), shape)


W = SparseMatrix.from_dense(np.eye(3, 4))
MISTAKES = [
    (lambda: SparseMatrix.from_dense(randn(3)), ValueError, r"w must have 2 axes \(M, K\)"),
    (lambda: SparseMatrix.from_dense(randn(3, 3), (3, 1)), ValueError, r"block must be \(r, 1\)"),
    (lambda: SparseMatrix.from_dense(randn(3, 3), (1, 4)), ValueError, "along the output rows"),
    (lambda: SparseMatrix.from_dense(randn(3, 3), 4), ValueError, "block must be a pair"),
    (build([[1.0]], [0], [0, 1]), ValueError, "row_pointers must be 3 ascending numbers from 0 to 1"),
    (build([[1.0]], [0], [0, 2, 1]), ValueError, "row_pointers must be"),
    (build([[1.0]], [3], [0, 1, 1]), ValueError, "indices must be columns 0 ... 2"),
    (build([[1.0]], [-1], [0, 1, 1]), ValueError, "indices must be columns 0 ... 2"),
    (build([[1.0], [1.0]], [1, 0], [0, 2, 2]), ValueError, "columns of a block row must ascend"),
    (build([1.0], [0], [0, 1, 1]), ValueError, r"values must have shape \(1, 1\)"),
    (
        lambda: kernels.sparse_matmul(np.eye(3), randn(3, 2)),
        TypeError,
        r"SparseMatrix.from_dense\(w\) makes one",
    ),
    (lambda: kernels.sparse_matmul(W, randn(3, 2)), ValueError, "4 is not 3"),
    (lambda: kernels.sparse_matmul(W, randn(4)), ValueError, r"x must have 2 axes \(K, N\)"),
    (
        lambda: kernels.sparse_matmul(W, randn(4, 2), out=np.zeros((2, 3), np.float32)),
        ValueError,
        r"result  \(3, 2\)",
    ),
    (lambda: kernels.sparse_linear(randn(2, 4), W, out=np.zeros((2, 3))), TypeError, "array of float32"),
    (lambda: kernels.sparse_linear(randn(2, 3), W), ValueError, r"w is \(out, in\)"),
    (lambda: kernels.sparse_linear(randn(2, 4), W, randn(4)), ValueError, r"bias must have shape \(3,\)"),
    (lambda: kernels.sparse_linear(randn(2, 4), W, None, "tanh"), ValueError, "activation must be one of"),
    (lambda: kernels.sparse_linear(1.0, W), ValueError, "x is a single number"),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
