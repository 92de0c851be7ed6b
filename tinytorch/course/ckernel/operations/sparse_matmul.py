"""sparse_matmul: y = w x for a w whose zeros are not stored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from tinytorch import kernels
from tinytorch.kernels import SparseMatrix, lessons, reference

from .operation import UNIT, Arguments, Call, Case, Mistake, Operation, Opponent, named, normal, whole

SHAPES = [  # (m, k, n, share of w that is not zero)
    (1, 1, 1, 1.0), (2, 3, 4, 0.5), (5, 4, 3, 0.4), (1, 9, 8, 0.3), (8, 8, 1, 0.3), (7, 13, 11, 0.2),
    (16, 64, 33, 0.1), (65, 130, 70, 0.05), (4, 5, 6, 0.0), (9, 10, 17, 1.0), (0, 3, 4, 0.5), (3, 4, 0, 0.5),
]  # fmt: skip


def _sparse(w: np.ndarray, share: float) -> np.ndarray:
    kept = np.random.default_rng(7).random(w.shape) < share
    if len(w) > 3:
        kept[1] = False  # a row of zeros
    return np.where(kept, np.where(w == 0, np.float32(1), w), np.float32(0))


@functools.lru_cache(maxsize=64)
def rows_of(w: SparseMatrix) -> Arguments:
    """values, indices, row_pointers, m and k of single elements; kept, since weights are used many times."""
    if w.block != (1, 1):
        w = SparseMatrix.from_dense(w.to_dense())
    return w.values[:, 0].copy(), w.indices.astype(np.int32), w.row_pointers.copy(), *w.shape


def _operands(dense: np.ndarray, x: np.ndarray) -> Arguments:
    *arrays, m, k = rows_of(SparseMatrix.from_dense(dense))
    return *arrays, x, m, k


def arguments(
    values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, x: np.ndarray, m: int, k: int
) -> Arguments:
    if x.ndim != 2 or len(x) != k:
        raise ValueError(
            f"sparse_matmul: x must be (k, n) for w (m, k)\n  w  {(m, k)}\n  x  {x.shape}\n"
            "  fix: one row of x for each column of w"
        )
    n = x.shape[1]
    return values, indices, row_pointers, x, np.empty((m, n), np.float32), m, k, n


def cases() -> Iterator[Case]:
    for m, k, n, share in SHAPES:
        dense = _sparse(whole(m, k), share)
        stored = np.count_nonzero(dense)
        yield Case(f"{named(m=m, k=k, n=n)}, {stored} stored", _operands(dense, whole(k, n, seed=1)))
    dense, x = _sparse(normal(33, 65), 0.2), normal(65, 47, seed=1)
    yield Case("m=33, k=65, n=47, not whole", _operands(dense, x), exact=False)
    dense, x = _sparse(normal(5, 6), 0.5), normal(6, 7, seed=1)
    x[1, 2], x[3, 3], x[4] = np.nan, np.inf, np.inf
    yield Case("m=5, k=6, n=7, with NaN and infinities in x", _operands(dense, x), exact=False, special=True)


def expected(
    values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, x: np.ndarray, m: int, k: int
) -> np.ndarray:
    w = SparseMatrix(values[:, None], indices, row_pointers, (m, k))
    with np.errstate(invalid="ignore"):
        return reference.sparse_matmul(w, x.astype(np.float64))


def tolerance(
    values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, x: np.ndarray, m: int, k: int
) -> np.ndarray:
    most = int(np.diff(row_pointers).max(initial=1))
    return 2 * most * UNIT * expected(np.abs(values), indices, row_pointers, np.abs(x), m, k) + 1e-30


def _without(which: slice) -> Callable[..., np.ndarray]:
    """The output when the first or the last element of each row is left out."""

    def output(
        values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, x: np.ndarray, m: int, k: int,
        **_: object,
    ) -> np.ndarray:  # fmt: skip
        y = np.zeros((m, x.shape[1]))
        for i in range(m):
            row = slice(row_pointers[i], row_pointers[i + 1])
            y[i] = values[row][which].astype(np.float64) @ x[indices[row][which]]
        return y

    return output


def _empty_rows_unwritten(
    values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, *rest: object,
    expected: np.ndarray, fill: float,
) -> np.ndarray:  # fmt: skip
    return np.where(np.diff(row_pointers)[:, None] == 0, fill, expected)


MISTAKES = (
    Mistake(
        "the last element of each row is missing: e runs from row_pointers[i] to row_pointers[i + 1] - 1",
        _without(slice(None, -1)),
    ),
    Mistake(
        "the first element of each row is missing: e starts at row_pointers[i]", _without(slice(1, None))
    ),
    Mistake(
        "rows of w without elements are not written: their rows of y are 0",
        _empty_rows_unwritten,
    ),
)


def race_operands(m: int, k: int, n: int, percent: int) -> Arguments:
    return _operands(_sparse(normal(m, k), percent / 100), normal(k, n, seed=1))


def work(
    values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, x: np.ndarray, m: int, k: int
) -> tuple[float, float]:
    moved = 8 * values.size + 4 * (row_pointers.size + x.size + m * x.shape[1])
    return 2.0 * values.size * x.shape[1], float(moved)


def opponents(
    values: np.ndarray, indices: np.ndarray, row_pointers: np.ndarray, x: np.ndarray, m: int, k: int
) -> list[Opponent]:
    w = SparseMatrix(values[:, None], indices, row_pointers, (m, k))
    dense, y = w.to_dense(), kernels.empty((m, x.shape[1]))
    return [
        Opponent("plain loop", lambda: lessons.sparse_matmul[0](dense, x, out=y)),
        Opponent("TinyTorch", lambda: kernels.sparse_matmul(w, x, out=y)),
    ]


def replacement(call: Call) -> Callable[..., np.ndarray]:
    def sparse_matmul(w: SparseMatrix, x: np.ndarray) -> np.ndarray:
        *arrays, m, k = rows_of(w)
        return call(*arrays, np.ascontiguousarray(x, np.float32), m, k)

    return sparse_matmul


SPARSE_MATMUL = Operation(
    name="sparse_matmul",
    prototype=(
        "void sparse_matmul(const float *values, const int32_t *indices, const int32_t *row_pointers, "
        "const float *x, float *y, int m, int k, int n)"
    ),
    about=(
        "sparse_matmul: y = w x. w is (m, k) in compressed rows: row i of it has the elements e from\n"
        "row_pointers[i] to row_pointers[i + 1] - 1, values[e] in column indices[e]. x is (k, n) and y is\n"
        "(m, n), rows one after the other. y holds anything at first; m, n and the number of elements may\n"
        "be 0."
    ),
    stub=(
        "for (int i = 0; i < m; i++)\n"
        "    for (int j = 0; j < n; j++)\n"
        "        y[i * n + j] = 0;  /* the sum over e of values[e] * x[indices[e] * n + j] */"
    ),
    arguments=arguments,
    cases=cases,
    expected=expected,
    tolerance=tolerance,
    mistakes=MISTAKES,
    replacement=replacement,
    race_sizes={"m": 512, "k": 512, "n": 128, "percent": 10},
    race_operands=race_operands,
    work=work,
    opponents=opponents,
)
