"""matmul: c = a b in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinytorch import kernels
from tinytorch.kernels import lessons, reference

from .operation import (
    UNIT,
    Arguments,
    Call,
    Case,
    Mistake,
    Operation,
    Opponent,
    doubled,
    named,
    normal,
    whole,
)

SHAPES = [  # (m, k, n)
    (1, 1, 1), (2, 3, 4), (1, 7, 1), (3, 1, 5), (5, 4, 3), (8, 8, 8), (7, 13, 11), (16, 16, 16),
    (17, 33, 9), (31, 64, 65), (130, 70, 190), (0, 3, 4), (3, 0, 4), (3, 4, 0),
]  # fmt: skip


def shape_of(a: np.ndarray, b: np.ndarray) -> dict[str, int]:
    return {"m": a.shape[0], "k": a.shape[1], "n": b.shape[1]}


def check_matrices(name: str, a: np.ndarray, b: np.ndarray) -> None:
    """ValueError unless a (m, k) and b (k, n) can be multiplied."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(
            f"{name}: a must be (m, k) and b (k, n), with the same k\n  a  {a.shape}\n  b  {b.shape}\n"
            f"  fix: kernels.use({name}=mine) and then kernels.{name}(a, b) deals with batches and transposes"
        )


def arguments(a: np.ndarray, b: np.ndarray) -> Arguments:
    check_matrices("matmul", a, b)
    return a, b, np.empty((a.shape[0], b.shape[1]), np.float32), *shape_of(a, b).values()


def cases() -> Iterator[Case]:
    for m, k, n in SHAPES:
        yield Case(named(m=m, k=k, n=n), (whole(m, k), whole(k, n, seed=1)))
    a, b = normal(33, 65), normal(65, 47, seed=1)
    yield Case("m=33, k=65, n=47, not whole", (a, b), exact=False)
    a, b = normal(5, 6), normal(6, 7, seed=1)
    a[1, 2], a[3] = np.inf, 0
    b[4, 5], b[0, 0], b[3, 3] = np.nan, -np.inf, np.inf
    yield Case("m=5, k=6, n=7, with NaN and infinities", (a, b), exact=False, special=True)


def expected(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return reference.matmul(*doubled(a, b))


def tolerance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return 2 * a.shape[1] * UNIT * (np.abs(a).astype(np.float64) @ np.abs(b)) + 1e-30


def _other_order(x: np.ndarray) -> np.ndarray:
    """x as one sees it who takes its columns for its rows."""
    return x.reshape(x.shape[1], x.shape[0]).T


def _last_unwritten(axis: int) -> Callable[..., np.ndarray]:
    def output(a: np.ndarray, b: np.ndarray, *, expected: np.ndarray, fill: float) -> np.ndarray:
        y = expected.copy()
        y[(slice(None),) * axis + (slice(-1, None),)] = fill
        return y

    return output


MISTAKES = (
    Mistake(
        "b is read as if it were stored by columns: its element (p, j) is b[p * n + j]",
        lambda a, b, **_: a @ _other_order(b),
    ),
    Mistake(
        "a is read as if it were stored by columns: its element (i, p) is a[i * k + p]",
        lambda a, b, **_: _other_order(a) @ b,
    ),
    Mistake(
        "c is written transposed: its element (i, j) is c[i * n + j]",
        lambda a, b, expected, **_: expected.T.reshape(expected.shape),
    ),
    Mistake(
        "the last of the k products is missing: p runs from 0 to k - 1, so `p < k`",
        lambda a, b, **_: a[:, :-1] @ b[:-1],
    ),
    Mistake(
        "the first of the k products is missing: p starts at 0",
        lambda a, b, **_: a[:, 1:] @ b[1:],
    ),
    Mistake("the last row of c is never written: i runs from 0 to m - 1, so `i < m`", _last_unwritten(0)),
    Mistake("the last column of c is never written: j runs from 0 to n - 1, so `j < n`", _last_unwritten(1)),
)


def race_operands(m: int, k: int, n: int) -> Arguments:
    return normal(m, k), normal(k, n, seed=1)


def work(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    m, k, n = shape_of(a, b).values()
    return 2.0 * m * k * n, 4.0 * (m * k + k * n + m * n)


def opponents(a: np.ndarray, b: np.ndarray) -> list[Opponent]:
    c = kernels.empty((a.shape[0], b.shape[1]))
    return [
        Opponent("plain loop", lambda: lessons.matmul[0](a, b, out=c)),
        Opponent("TinyTorch", lambda: kernels.matmul(a, b, out=c)),
    ]


def replacement(call: Call) -> Callable[..., np.ndarray]:
    return call  # kernels.use hands over what the C function takes


MATMUL = Operation(
    name="matmul",
    prototype="void matmul(const float *a, const float *b, float *c, int m, int k, int n)",
    about=(
        "matmul: c = a b. a is (m, k), b is (k, n), c is (m, n); rows lie one after the other, so that\n"
        "element (i, j) of c is c[i * n + j]. c holds anything at first; any size may be 0."
    ),
    stub=(
        "for (int i = 0; i < m; i++)\n"
        "    for (int j = 0; j < n; j++)\n"
        "        c[i * n + j] = 0;  /* the sum over p < k of a[i * k + p] * b[p * n + j] */"
    ),
    arguments=arguments,
    cases=cases,
    expected=expected,
    tolerance=tolerance,
    mistakes=MISTAKES,
    replacement=replacement,
    race_sizes={"m": 256, "k": 256, "n": 256},
    race_operands=race_operands,
    work=work,
    opponents=opponents,
)
