"""Ladders: one computation in steps from plain to fast, to read, to replace and to race.

The rungs of the matrix product that are written in Python are here; those in C are `kernels.lessons`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import kernels, timing
from .kernels import lessons
from .tensor import Tensor
from .timing import Call, Race, Races

Array = np.ndarray

DEFAULT_WARMUP_ITERATIONS = 2
DEFAULT_TIMING_ITERATIONS = 5


def matmul_naive(a: Array, b: Array) -> Array:
    """a (M, K) @ b (K, N) in three Python loops over array elements.

    Reading ``a[i, p]`` makes a Python object for one number, each time.
    """
    m, k, n = _matmul_shape("matmul_naive", a, b)
    c = np.empty((m, n), dtype=np.float32)
    for i in range(m):
        for j in range(n):
            total = 0.0
            for p in range(k):
                total += a[i, p] * b[p, j]
            c[i, j] = total
    return c


def matmul_lists(a: Array, b: Array) -> Array:
    """a (M, K) @ b (K, N) in three Python loops over lists of floats.

    Reading a list element hands out a float that exists; reading an array element makes a new object.
    """
    _matmul_shape("matmul_lists", a, b)
    rows, columns = a.tolist(), b.T.tolist()
    c = []
    for row in rows:
        out = []
        for column in columns:
            total = 0.0
            for x, y in zip(row, column, strict=True):
                total += x * y
            out.append(total)
        c.append(out)
    return np.array(c, dtype=np.float32).reshape(len(rows), len(columns))


def matmul_rows(a: Array, b: Array) -> Array:
    """a (M, K) @ b (K, N) as one NumPy dot product for each element: the innermost loop has left Python."""
    m, _, n = _matmul_shape("matmul_rows", a, b)
    c = np.empty((m, n), dtype=np.float32)
    for i in range(m):
        for j in range(n):
            c[i, j] = np.dot(a[i], b[:, j])
    return c


def matmul_blocked(a: Array, b: Array, block_size: int = 64) -> Array:
    """a (M, K) @ b (K, N) by blocks that fit in a cache, with NumPy's product inside each block."""
    m, k, n = _matmul_shape("matmul_blocked", a, b)
    if block_size < 1:
        raise ValueError(f"matmul_blocked: block_size is {block_size}, must be at least 1")
    c = np.zeros((m, n), dtype=np.float32)
    for i in range(0, m, block_size):
        for p in range(0, k, block_size):
            block = a[i : i + block_size, p : p + block_size]
            for j in range(0, n, block_size):
                c[i : i + block_size, j : j + block_size] += block @ b[p : p + block_size, j : j + block_size]
    return c


def matmul_numpy(a: Array, b: Array) -> Array:
    """a (M, K) @ b (K, N) by the BLAS that NumPy is linked to."""
    _matmul_shape("matmul_numpy", a, b)
    return np.matmul(a, b)


def _matmul_shape(operation: str, a: Array, b: Array) -> tuple[int, int, int]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(
            f"{operation}: a {a.shape} and b {b.shape} do not fit: both must be matrices, "
            "and a's columns must equal b's rows"
        )
    return a.shape[0], a.shape[1], b.shape[1]


def vectorized_matmul(a: Tensor, b: Tensor) -> Tensor:
    """a (..., M, K) @ b (..., K, N) by our packed kernel, outside the graph."""
    x, y = _operands("vectorized_matmul", a, b)
    return Tensor(kernels.matmul(x, y))


def tiled_matmul(a: Tensor, b: Tensor, tile_size: int = 64) -> Tensor:
    """a (M, K) @ b (K, N) by tiles in Python; see `matmul_blocked`."""
    x, y = _operands("tiled_matmul", a, b)
    return Tensor(matmul_blocked(x, y, tile_size))


def _operands(operation: str, a: Tensor, b: Tensor) -> tuple[Array, Array]:
    x, y = a.data, b.data
    if x.ndim < 2 or y.ndim < 2:
        raise ValueError(
            f"{operation}: a {x.shape} and b {y.shape} must have at least 2 dimensions each; "
            "make a vector a matrix with reshape(1, -1)"
        )
    if x.shape[-1] != y.shape[-2]:
        raise ValueError(
            f"{operation}: Inner dimensions must match: {x.shape[-1]} ≠ {y.shape[-2]} "
            f"(a {x.shape}, b {y.shape})"
        )
    return x, y


def fused_gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form, in one pass over x instead of one for each of its eight operations."""
    return Tensor(kernels.gelu(x.data, approximate="tanh"))


class OptimizedBackend:
    """Hands each operation to the fastest implementation there is here: the compiled kernel."""

    def __init__(self) -> None:
        self.operations: dict[str, Callable[..., Any]] = {"matmul": self.matmul}

    def dispatch(self, op: str, *args: Any, **kwargs: Any) -> Any:
        """Run an operation by its name.

        Raises
        ------
        NotImplementedError
            With the names that there are.
        """
        if op not in self.operations:
            raise NotImplementedError(
                f"OptimizedBackend: there is no operation {op!r}; there are {', '.join(self.operations)}"
            )
        return self.operations[op](*args, **kwargs)

    def matmul(self, a: Array, b: Array) -> Array:
        """a (M, K) @ b (K, N)."""
        _matmul_shape("matmul", a, b)
        return kernels.matmul(a, b)


def matmul(a: Array, b: Array) -> Array:
    """a (M, K) @ b (K, N) by `OptimizedBackend`."""
    return OptimizedBackend().dispatch("matmul", a, b)


# --- racing them -------------------------------------------------------------------------------------------


def _numbers(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _matmul_rungs(size: int) -> dict[str, Call]:
    a, b, out = _numbers(size, size), _numbers(size, size), np.empty((size, size), np.float32)
    return {
        **{
            f"Python, {rung.__name__}": partial(rung, a, b)
            for rung in (matmul_naive, matmul_lists, matmul_rows, matmul_numpy)
        },
        **_steps(lessons.matmul, a, b, out),
        "kernel": lambda: kernels.matmul(a, b, out=out),
    }


def _conv2d_rungs(size: int) -> dict[str, Call]:
    x, w = _numbers(1, 32, size, size), _numbers(32, 32, 3, 3)
    packed = kernels.pack(w)
    return {
        **_steps(lessons.conv2d, x, w, padding=1),
        "kernel": lambda: kernels.conv2d(x, packed, padding=1),
    }


def _matmul_int8_rungs(size: int) -> dict[str, Call]:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (size, size)).astype(np.uint8)
    b = rng.integers(-127, 128, (size, size)).astype(np.int8)
    return {**_steps(lessons.matmul_int8, a, b), "kernel": lambda: kernels.matmul_int8(a, b)}


def _sparse_matmul_rungs(size: int) -> dict[str, Call]:
    w, x = _numbers(size, size), _numbers(size, 64)
    w[np.abs(w) < np.quantile(np.abs(w), 0.9)] = 0  # 90 % zeros
    sparse = kernels.SparseMatrix.from_dense(w)
    return {
        **{f"C, {step.name}": partial(step, step.prepare(w), x) for step in lessons.sparse_matmul},
        "kernel": lambda: kernels.sparse_matmul(sparse, x),
    }


def _attention_rungs(size: int) -> dict[str, Call]:
    q = _numbers(4, size, 32)
    return {
        **_steps(lessons.attention, q, q, q),
        "kernel": lambda: kernels.attention(q[None], q[None], q[None])[0],
    }


def _steps(steps: Sequence[Any], *operands: Array, **options: Any) -> dict[str, Call]:
    """Each lesson on the same operands."""
    return {f"C, {step.name}": partial(step, *operands, **options) for step in steps}


LADDERS: dict[str, tuple[Callable[[int], dict[str, Call]], int]] = {
    "matmul": (_matmul_rungs, 64),
    "conv2d": (_conv2d_rungs, 16),
    "matmul_int8": (_matmul_int8_rungs, 128),
    "sparse_matmul": (_sparse_matmul_rungs, 256),
    "attention": (_attention_rungs, 128),
}


def ladder(operation: str = "matmul", size: int | None = None) -> dict[str, Call]:
    """The rungs of an operation, from plain to fast, each ready to be called.

    Parameters
    ----------
    operation : {"matmul", "conv2d", "matmul_int8", "sparse_matmul", "attention"}
    size : int, optional
        Rows of square matrices, side of an image, or tokens; the default keeps the plainest rung below a
        second.

    Returns
    -------
    dict
        Name → function of no arguments. All compute the same.
    """
    if operation not in LADDERS:
        raise ValueError(f"ladder: there is no ladder for {operation!r}; there are {', '.join(LADDERS)}")
    make, usual = LADDERS[operation]
    size = usual if size is None else size
    if size < 1:
        raise ValueError(f"ladder: size must be at least 1, got {size}")
    return make(size)


def climb(operation: str = "matmul", size: int | None = None, **options: Any) -> Races:
    """Race all rungs of a ladder; takes the options of `timing.race_many`.

    Examples
    --------
    >>> races = climb("attention", 16, seconds=0.01)
    >>> races.between("C, plain", "kernel").names
    ('C, plain', 'kernel')
    """
    return timing.race_many(ladder(operation, size), **options)


def fused_and_separate(batch: int = 64, features: int = 256) -> tuple[Call, Call]:
    """A linear layer with bias and ReLU as three calls, and as one; race the two.

    The three calls write the output three times and read it twice; the one call has bias and ReLU done while
    the output is still in registers.
    """
    x, bias = _numbers(batch, features), _numbers(features)
    weight = kernels.pack(_numbers(features, features))
    return (
        lambda: kernels.relu(kernels.linear(x, weight) + bias),
        lambda: kernels.linear(x, weight, bias, activation="relu"),
    )


@dataclass(frozen=True)
class ThreadLadder:
    """One function with several numbers of threads, raced against one thread.

    Attributes
    ----------
    races : dict
        Threads → the race of that many (the contender) against one.
    """

    races: dict[int, Race]

    def efficiency(self, threads: int) -> float:
        """The gain for each thread: 1 when they share the work without loss."""
        return self.races[threads].ratio.value / threads

    def __str__(self) -> str:
        return "\n".join(
            f"{threads} threads: {race.ratio} of one thread's speed, {100 * self.efficiency(threads):.0f} "
            f"% each, {race.verdict}"
            for threads, race in self.races.items()
        )


def thread_ladder(call: Call, counts: Sequence[int] | None = None, **options: Any) -> ThreadLadder:
    """Race `call` with more and more threads.

    Parameters
    ----------
    call : function of no arguments
        That runs kernels.
    counts : sequence of int, optional
        Numbers of threads above 1; the default doubles up to all CPUs that this process may use.
    **options
        Those of `timing.race_many`.
    """
    cores = int(kernels.cpu_info()["cores"])
    if counts is None:
        counts = [count for count in (2**power for power in range(1, 11)) if count < cores] + [cores]
        counts = [count for count in counts if count > 1]
    if not counts or min(counts) < 2:
        raise ValueError(
            f"thread_ladder: counts are numbers of threads above 1, which is what they are raced against, "
            f"got {list(counts)}; this process may use {cores} CPUs"
        )

    def with_threads(count: int) -> Call:
        def run() -> Any:
            kernels.set_num_threads(count)
            return call()

        return run

    before = kernels.get_num_threads()
    options.setdefault("claims", len(counts))
    try:
        races = timing.race_many({str(count): with_threads(count) for count in (1, *counts)}, **options)
    finally:
        kernels.set_num_threads(before)
    return ThreadLadder({count: races.between("1", str(count)) for count in counts})
