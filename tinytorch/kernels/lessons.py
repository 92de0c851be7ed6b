"""The lessons: five operations in numbered steps, from the plain loop to nearly what the kernel itself does.

Each step adds one idea to the step before and is a few dozen lines of C in ``csrc/lessons/``:
``lessons.matmul[3](a, b)`` multiplies by step 3, and ``lessons.matmul[3].source`` is the file to read. The
ladders are ``matmul``, ``matmul_int8``, ``sparse_matmul``, ``conv2d`` and ``attention``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_pair, check_axes, check_ndim, lined_up
from ._registry import _C
from .conv import Pair
from .sparse import SparseMatrix

__all__ = ["CompressedMatrix", "Step", "attention", "conv2d", "matmul", "matmul_int8", "sparse_matmul"]


@dataclass(frozen=True)
class Step:
    """One step of a ladder; calling it computes.

    Attributes
    ----------
    number : int
        Its place on the ladder, from 0.
    name, description : str
        What it is called, and the idea it adds.
    flags : str
        What the compiler was told. The first steps have its auto-vectoriser off, so that what they
        gain is the idea's and not the compiler's.
    source : str
        The file to read, in a checkout.
    """

    number: int
    name: str
    description: str
    flags: str
    source: str


class MatmulStep(Step):
    """A step of the matmul ladder."""

    def __call__(self, a: ArrayLike, b: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """a (M, K) @ b (K, N) by this step.

        Parameters
        ----------
        a, b : array
            Become float32 and C-contiguous.
        out : array, (M, N) float32, optional
            Where the result goes; it shares no memory with a and b.

        Returns
        -------
        array, (M, N) float32

        Raises
        ------
        ValueError
            When a has another number of columns than b has rows, or out does not fit.
        TypeError
            For operands that are not real numbers, or an out of another dtype.
        """
        a, b = _floats(a, b)
        _check_matrices(self, a, b)
        return _C.lesson_matmul(self.number, a, b, out)


class MatmulInt8Step(Step):
    """A step of the INT8 matmul ladder."""

    def __call__(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """a (M, K) @ b (K, N) in integers, by this step.

        Parameters
        ----------
        a : array of uint8, (M, K)
            K at most 65536, so that no sum overflows.
        b : array of int8, (K, N)
        out : array of int32, (M, N), optional
            Where the result goes; it shares no memory with a and b.

        Returns
        -------
        array of int32, (M, N)

        Raises
        ------
        ValueError
            When shapes do not fit or K is too large.
        TypeError
            For arrays of another dtype: nothing is converted, since no conversion to bytes is safe.
        """
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        _check_matrices(self, a, b)
        return _C.lesson_matmul_int8(self.number, a, b, out)


class CompressedMatrix:
    """A matrix (M, K) in compressed rows of blocks, as the sparse steps read it; made by their ``prepare``.

    Attributes
    ----------
    shape : (M, K)
    block : (r, 1)
    values, indices, row_pointers : arrays
        As those of the ``SparseMatrix`` that it is made of.
    """

    __slots__ = ("block", "indices", "row_pointers", "shape", "values")

    def __init__(self, w: SparseMatrix) -> None:
        self.shape, self.block = w.shape, w.block
        # Checked and read-only, so the steps may trust the indices.
        self.values, self.indices, self.row_pointers = w.values, w.indices, w.row_pointers


@dataclass(frozen=True)
class SparseMatmulStep(Step):
    """A step of the sparse matmul ladder.

    Attributes
    ----------
    block : None or (r, 1)
        The blocks in which this step takes its weights; None for a step that takes an ordinary array.
    """

    block: tuple[int, int] | None

    def prepare(self, w: ArrayLike) -> "np.ndarray | CompressedMatrix":
        """The weights w (M, K) as this step takes them, so that a race does not count compressing them."""
        (dense,) = _floats(w)
        check_ndim(f"lesson {self.name}", "w", dense, 2, "(M, K)")
        return dense if self.block is None else CompressedMatrix(SparseMatrix.from_dense(dense, self.block))

    def __call__(
        self, w: "ArrayLike | CompressedMatrix", x: ArrayLike, out: np.ndarray | None = None
    ) -> np.ndarray:
        """w (M, K) @ x (K, N) by this step.

        Parameters
        ----------
        w : array or CompressedMatrix
            What ``prepare`` gave; an array is prepared first.
        x : array
            Becomes float32 and C-contiguous.
        out : array, (M, N) float32, optional
            Where the result goes; it shares no memory with w and x.

        Returns
        -------
        array, (M, N) float32
            From step 1 on a zero in w is not multiplied, so a NaN or Inf opposite to it does not reach the
            result.

        Raises
        ------
        ValueError
            When shapes do not fit, or w has other blocks than this step takes.
        TypeError
            For operands that are not real numbers, or an out of another dtype.
        """
        kernel = f"lesson {self.name}"
        weights = w if isinstance(w, CompressedMatrix) else self.prepare(w)
        (x,) = _floats(x)
        check_ndim(kernel, "x", x, 2, "(K, N)")
        check_axes(
            kernel, "the inner axes must be equally long",
            ("w", weights.shape, 1), ("x", x.shape, 0), "x is (K, N), one column for each right-hand side",
        )  # fmt: skip
        if not isinstance(weights, CompressedMatrix):
            return _C.lesson_sparse_matmul(self.number, weights, x, out)
        if weights.block != self.block:
            raise ValueError(
                f"{kernel}: w is compressed in blocks of {weights.block}, and this step takes "
                + (f"blocks of {self.block}" if self.block else "an ordinary array")
                + f"; {self.name}.prepare(array) gives what it takes"
            )
        parts = (weights.values, weights.indices, weights.row_pointers, *weights.shape, weights.block[0])
        return _C.lesson_sparse_matmul(self.number, *parts, x, out)


class Conv2dStep(Step):
    """A step of the convolution ladder."""

    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike,
        out: np.ndarray | None = None,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
    ) -> np.ndarray:
        """x (N, C, H, W) convolved with w (O, C, kh, kw) by this step.

        Parameters
        ----------
        x, w : array
            Become float32 and C-contiguous.
        out : array, (N, O, OH, OW) float32, optional
            Where the result goes; it shares no memory with x and w.
        stride, padding : int or (height, width)

        Returns
        -------
        array, (N, O, OH, OW) float32

        Raises
        ------
        ValueError
            When x and w differ in channels, w is larger than the padded x, or out does not fit.
        TypeError
            For operands that are not real numbers, or an out of another dtype.
        """
        kernel = f"lesson {self.name}"
        x, w = _floats(x, w)
        check_ndim(kernel, "x", x, 4, "(N, C, H, W)")
        check_ndim(kernel, "w", w, 4, "(O, C, kh, kw)")
        strides, paddings = as_pair(kernel, "stride", stride, 1), as_pair(kernel, "padding", padding, 0)
        return _C.lesson_conv2d(self.number, x, w, *strides, *paddings, out)


class AttentionStep(Step):
    """A step of the attention ladder."""

    def __call__(
        self,
        q: ArrayLike,
        k: ArrayLike,
        v: ArrayLike,
        out: np.ndarray | None = None,
        *,
        causal: bool = False,
    ) -> np.ndarray:
        """softmax(q kᵀ / √D) v by this step.

        Parameters
        ----------
        q : array, (H, T, D)
        k, v : array, (H, S, D)
            All become float32 and C-contiguous.
        out : array, (H, T, D) float32, optional
            Where the result goes; it shares no memory with q, k and v.
        causal : bool
            Query i sees the keys 0 ... i only.

        Returns
        -------
        array, (H, T, D) float32
            Zero where there are no keys.

        Raises
        ------
        ValueError
            When shapes do not fit.
        TypeError
            For operands that are not real numbers, or an out of another dtype.
        """
        kernel = f"lesson {self.name}"
        q, k, v = _floats(q, k, v)
        for name, x, axes in (("q", q, "(H, T, D)"), ("k", k, "(H, S, D)"), ("v", v, "(H, S, D)")):
            check_ndim(kernel, name, x, 3, axes)
        if k.shape != v.shape or (q.shape[0], q.shape[2]) != (k.shape[0], k.shape[2]):
            raise ValueError(
                f"{kernel}: q (H, T, D), k and v (H, S, D) must agree in H, S and D\n"
                + lined_up(q=q, k=k, v=v)
            )
        return _C.lesson_attention(self.number, q, k, v, bool(causal), out)


def _floats(*arrays: ArrayLike) -> list[np.ndarray]:
    return [_C.as_float32(np.asarray(x)) for x in arrays]


def _check_matrices(step: Step, a: np.ndarray, b: np.ndarray) -> None:
    kernel = f"lesson {step.name}"
    check_ndim(kernel, "a", a, 2, "(M, K)")
    check_ndim(kernel, "b", b, 2, "(K, N)")
    check_axes(
        kernel, "a must have as many columns as b has rows", ("a", a.shape, 1), ("b", b.shape, 0),
        "transpose one of them, or reshape it",
    )  # fmt: skip


def _told(ladder: str) -> list[tuple[tuple[int, str, str, str, str], int]]:
    """For each step of a ladder the fields of a Step, and the rows of the blocks it takes."""
    return [
        ((number, name, description, flags, f"csrc/lessons/{source}"), rows)
        for number, (name, description, flags, source, rows) in enumerate(_C.lesson_ladders()[ladder])
    ]


matmul: tuple[MatmulStep, ...] = tuple(MatmulStep(*told) for told, _ in _told("matmul"))
matmul_int8: tuple[MatmulInt8Step, ...] = tuple(MatmulInt8Step(*told) for told, _ in _told("matmul_int8"))
sparse_matmul: tuple[SparseMatmulStep, ...] = tuple(
    SparseMatmulStep(*told, (rows, 1) if rows else None) for told, rows in _told("sparse_matmul")
)
conv2d: tuple[Conv2dStep, ...] = tuple(Conv2dStep(*told) for told, _ in _told("conv2d"))
attention: tuple[AttentionStep, ...] = tuple(AttentionStep(*told) for told, _ in _told("attention"))
