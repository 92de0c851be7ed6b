"""The sparse kernels at the edges of panels, strips and blocks of depth, on any thread count."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import SparseMatrix

from .common import randn, whole
from .test_sparse import pruned

pytestmark = pytest.mark.kernel

BLOCK_ROWS = [1, 2, 4, 8, 16]


@pytest.fixture
def threads():
    before = kernels.get_num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


@pytest.mark.parametrize("columns", [2, 15, 16, 17, 31, 48, 63, 64, 65, 128, 129])
@pytest.mark.parametrize("r", BLOCK_ROWS)
def test_every_width_of_panel(r, columns):
    dense = pruned(37, 90, 0.7, (r, 1))
    w, x = SparseMatrix.from_dense(dense, (r, 1)), whole(90, columns)
    np.testing.assert_array_equal(kernels.sparse_matmul(w, x), dense @ x)
    np.testing.assert_array_equal(kernels.sparse_linear(x.T, w), (dense @ x).T)


@pytest.mark.parametrize("sparsity", [0.3, 0.85, 0.99])
@pytest.mark.parametrize("k", [128, 129, 256, 1100])
def test_depth_is_summed_across_its_blocks(k, sparsity):
    dense = pruned(300, k, sparsity)
    w, x = SparseMatrix.from_dense(dense), whole(k, 70)
    np.testing.assert_array_equal(w.to_dense(), dense)
    np.testing.assert_array_equal(kernels.sparse_matmul(w, x), dense @ x)
    np.testing.assert_array_equal(kernels.sparse_linear(x[:, 0], w), dense @ x[:, 0])


@pytest.mark.parametrize("r", BLOCK_ROWS)
@pytest.mark.parametrize("columns", [1, 3, 16, 200])
def test_threads_do_not_change_a_bit(threads, r, columns):
    w = SparseMatrix.from_dense(pruned(500, 400, 0.8, (r, 1)) * randn(500, 400), (r, 1))
    x = randn(400, columns)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append((kernels.sparse_matmul(w, x), kernels.sparse_linear(x.T, w, activation="relu")))
    for y, z in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(z, results[0][1])


def test_columns_beyond_16_bits():
    columns = [0, 65535, 65536, 69999]
    dense = np.zeros((3, 70000), np.float32)
    dense[:, columns] = whole(3, 4, low=1)
    x = whole(70000, 5)
    w = SparseMatrix.from_dense(dense)
    assert w.indices.dtype == np.int32
    np.testing.assert_array_equal(kernels.sparse_matmul(w, x), dense[:, columns] @ x[columns])
    np.testing.assert_array_equal(kernels.sparse_linear(x.T[0], w), dense[:, columns] @ x[columns, 0])


@pytest.mark.parametrize("columns", [1, 70])
def test_rows_of_any_length_side_by_side(columns):
    dense = whole(300, 300, low=1) * (np.arange(300) < np.arange(300)[:, None] % 7 * 40)
    x = whole(300, columns)
    w = SparseMatrix.from_dense(dense)
    np.testing.assert_array_equal(w.to_dense(), dense)
    assert w.row_pointers.tolist() == [0, *np.cumsum(np.arange(300) % 7 * 40)]
    np.testing.assert_array_equal(kernels.sparse_matmul(w, x), dense @ x)


@pytest.mark.parametrize("columns", [1, 70])
def test_nan_and_inf_reach_only_the_rows_that_use_them(columns):
    dense = np.zeros((6, 8), np.float32)
    dense[1, 2] = dense[4, 5] = dense[2, 6] = 1
    x = np.ones((8, columns), np.float32)
    x[2], x[5] = np.nan, np.inf
    y = kernels.sparse_matmul(SparseMatrix.from_dense(dense), x)
    assert (
        np.isnan(y[1]).all() and np.isposinf(y[4]).all() and (y[[0, 2, 3, 5]] == [[0], [1], [0], [0]]).all()
    )
