"""Matrices whose zeros are neither stored nor multiplied."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    ACTIVATIONS,
    as_floats,
    as_int,
    as_pair,
    check_axes,
    check_choice,
    check_ndim,
    check_vector,
    copied_into,
    is_double,
)
from ._registry import _C, REFUSED, alternative, replacements
from .conv import Pair, Window

__all__ = ["SparseMatrix", "sparse_conv2d", "sparse_linear", "sparse_matmul"]

_BLOCK_ROWS = (1, 2, 4, 8, 16)


class SparseMatrix:
    """A matrix (M, K) as compressed rows of blocks; made by ``SparseMatrix.from_dense``.

    A block is r rows by 1 column: it is stored when any of its weights is not zero. Blocks of 4 or
    more rows let one value of x serve several outputs, which is what makes them fast.

    Attributes
    ----------
    shape : (M, K)
    block : (r, 1)
    values : array of float32, (blocks, r)
    indices : array of uint16 (K up to 65536) or int32, (blocks,)
        The column of each block, ascending within a block row.
    row_pointers : array of int32, (ceil(M / r) + 1,)
        Block row i holds the blocks row_pointers[i] ... row_pointers[i + 1] - 1.
    nbytes : int
        Bytes held.
    sparsity : float
        The share of the weights that are zero.

    Notes
    -----
    Single weights are held sliced and sorted, four rows together, as the kernels read them; the three
    arrays are then made whenever they are asked for. The method is that of Kreutzer et al., "A unified
    sparse matrix data format" (2014).
    """

    __slots__ = ("_parts", "block", "shape")

    def __init__(
        self,
        values: np.ndarray,
        indices: np.ndarray,
        row_pointers: np.ndarray,
        shape: tuple[int, int],
        block: tuple[int, int] = (1, 1),
    ) -> None:
        self.shape = shape
        self.block = _checked_block(block)
        index_dtype = _index_dtype(shape[1])
        parts = (
            np.array(values, np.float32, order="C"),
            np.array(indices, index_dtype, order="C"),
            np.array(row_pointers, np.int32, order="C"),
        )
        self._check(*parts, np.asarray(indices))
        # What C takes: the arrays, or single elements sliced.
        self._parts: tuple[Any, ...] = (*parts, *shape, self.block[0])
        if self.block[0] == 1:
            self._parts = (_C.slice_sparse(*self._parts), *shape)
        # The kernels trust the indices, so nobody may change them after this check.
        for array in self._arrays:
            array.flags.writeable = False

    def _check(
        self, values: np.ndarray, narrowed: np.ndarray, pointers: np.ndarray, indices: np.ndarray
    ) -> None:
        blocks, block_rows = len(narrowed), -(-self.shape[0] // self.block[0])
        if values.shape != (blocks, self.block[0]):
            raise ValueError(
                f"SparseMatrix: values must have shape ({blocks}, {self.block[0]}), one row for "
                f"each index, and has {values.shape}"
            )
        if (
            pointers.shape != (block_rows + 1,)
            or pointers[0] != 0
            or pointers[-1] != blocks
            or (np.diff(pointers) < 0).any()
        ):
            raise ValueError(
                f"SparseMatrix: row_pointers must be {block_rows + 1} ascending numbers from 0 to "
                f"{blocks}, the number of blocks"
            )
        if blocks and not (indices.min() >= 0 and indices.max() < self.shape[1]):
            raise ValueError(f"SparseMatrix: indices must be columns 0 ... {self.shape[1] - 1}")
        falls = np.diff(narrowed.astype(np.int64)) <= 0
        starts = pointers[(pointers > 0) & (pointers < blocks)] - 1
        falls[starts] = False
        if falls.any():
            raise ValueError("SparseMatrix: the columns of a block row must ascend")

    @classmethod
    def from_dense(cls, w: ArrayLike, block: tuple[int, int] = (1, 1)) -> "SparseMatrix":
        """Leave out every block of w that holds nothing but zeros.

        Parameters
        ----------
        w : array, (M, K)
        block : (r, 1)
            r is 1, 2, 4, 8 or 16.

        Raises
        ------
        ValueError
            For another shape or block.
        """
        (dense,) = as_floats("SparseMatrix.from_dense", w=w)
        check_ndim("SparseMatrix.from_dense", "w", dense, 2, "(M, K)")
        r, _ = _checked_block(block)
        m, k = dense.shape
        block_rows = -(-m // r)
        padded = np.zeros((block_rows * r, k), np.float32)
        padded[:m] = dense
        blocks = padded.reshape(block_rows, r, k).swapaxes(1, 2)
        stored = (blocks != 0).any(axis=2)
        pointers = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
        if pointers[-1] > np.iinfo(np.int32).max:
            raise ValueError(f"SparseMatrix.from_dense: {pointers[-1]} blocks are too many")
        return cls(blocks[stored], np.nonzero(stored)[1], pointers, (m, k), (r, 1))

    def to_dense(self) -> np.ndarray:
        """The matrix as an ordinary float32 array, (M, K)."""
        values, indices, row_pointers = self._compressed_rows()
        r, block_rows = self.block[0], len(row_pointers) - 1
        rows = np.repeat(np.arange(block_rows), np.diff(row_pointers))
        blocks = np.zeros((block_rows, self.shape[1], r), np.float32)
        blocks[rows, indices] = values
        return blocks.swapaxes(1, 2).reshape(block_rows * r, self.shape[1])[: self.shape[0]].copy()

    def _compressed_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """values, indices and row_pointers; read-only."""
        if self.block[0] > 1:
            return self._parts[:3]
        values, indices, row_pointers = _C.unslice_sparse(*self._parts)
        result = (values, indices.astype(_index_dtype(self.shape[1]), copy=False), row_pointers)
        for array in result:
            array.flags.writeable = False
        return result

    @property
    def values(self) -> np.ndarray:
        return self._compressed_rows()[0]

    @property
    def indices(self) -> np.ndarray:
        return self._compressed_rows()[1]

    @property
    def row_pointers(self) -> np.ndarray:
        return self._compressed_rows()[2]

    @property
    def _arrays(self) -> list[np.ndarray]:
        return [part for part in self._parts if isinstance(part, np.ndarray)]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays)

    @property
    def sparsity(self) -> float:
        size = self.shape[0] * self.shape[1]
        return 1 - np.count_nonzero(self.values) / size if size else 0.0

    def __reduce__(self) -> Any:
        # Built anew, so that a copy is validated and read-only as well.
        return SparseMatrix, (*self._compressed_rows(), self.shape, self.block)

    def __repr__(self) -> str:
        return f"SparseMatrix(shape={self.shape}, block={self.block}, sparsity={self.sparsity:.3f})"


def _index_dtype(columns: int) -> type[np.unsignedinteger[Any]] | type[np.signedinteger[Any]]:
    return np.uint16 if columns <= 65536 else np.int32


def _checked_block(block: Any) -> tuple[int, int]:
    if not isinstance(block, (tuple, list)) or len(block) != 2:
        raise ValueError(f"SparseMatrix: block must be a pair (rows, columns), got {block!r}")
    rows, columns = (as_int("SparseMatrix", "block", size, 1) for size in block)
    if rows not in _BLOCK_ROWS or columns != 1:
        raise ValueError(
            f"SparseMatrix: block must be (r, 1) with r in {_BLOCK_ROWS}, got {tuple(block)}; "
            f"blocks along the output rows are the ones that pay"
        )
    return rows, columns


def _check_sparse(kernel: str, w: Any) -> None:
    if not isinstance(w, SparseMatrix):
        raise TypeError(
            f"{kernel}: w must be a SparseMatrix, got {type(w).__name__}; "
            f"SparseMatrix.from_dense(w) makes one"
        )


def sparse_matmul(w: SparseMatrix, x: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """w @ x for a sparse w.

    Parameters
    ----------
    w : SparseMatrix, (M, K)
    x : array, (K, N)
    out : array, optional
        Where the result goes; it must have the result's shape and dtype.

    Returns
    -------
    array, (M, N)
        float32, or float64 when x is float64. A zero that is not stored is not multiplied, so a NaN
        or Inf opposite to it does not reach the result.

    Raises
    ------
    ValueError
        When shapes do not fit.
    TypeError
        When w is not a SparseMatrix, or for an out of another dtype.
    """
    if isinstance(w, SparseMatrix) and not replacements():
        try:
            return _C.sparse_matmul(w._parts, x, out)
        except REFUSED:
            pass
    _check_sparse("sparse_matmul", w)
    (x,) = as_floats("sparse_matmul", x=x)
    check_ndim("sparse_matmul", "x", x, 2, "(K, N)")
    check_axes(
        "sparse_matmul", "the inner axes must be equally long",
        ("w", w.shape, 1), ("x", x.shape, 0), "x is (K, N), one column for each right-hand side",
    )  # fmt: skip
    other = alternative("sparse_matmul", is_double(x), (w.shape[0], x.shape[1]))
    y = other(w, x) if other else _C.sparse_matmul(w._parts, x, None)
    return y if out is None else copied_into("sparse_matmul", out, y)


def sparse_linear(
    x: ArrayLike,
    w: SparseMatrix,
    bias: ArrayLike | None = None,
    activation: str | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The fully connected layer with sparse weights: activation(x @ w.T + bias).

    Parameters
    ----------
    x : array, (..., K)
    w : SparseMatrix, (M, K)
        One row for each output: the transpose of ``linear``'s (in, out).
    bias : array, (M,), optional
    activation : None, "relu" or "gelu"
    out : array, optional
        Where the result goes; it must have the result's shape and dtype.

    Returns
    -------
    array, (..., M)
        float32, or float64 when x or bias is float64.

    Raises
    ------
    ValueError, TypeError
        As for ``sparse_matmul``.
    """
    if isinstance(w, SparseMatrix) and not replacements():
        try:
            return _C.sparse_linear(w._parts, x, bias, ACTIVATIONS[activation], out)
        except REFUSED:
            pass
    kernel = "sparse_linear"
    _check_sparse(kernel, w)
    check_choice(kernel, "activation", activation, ACTIVATIONS)
    x, bias = as_floats(kernel, ("bias",), x=x, bias=bias)
    if x.ndim == 0:
        raise ValueError(f"{kernel}: x is a single number; it needs an axis of {w.shape[1]}")
    check_axes(
        kernel, "the last axis of x must be as long as the last of w",
        ("x", x.shape, -1), ("w", w.shape, 1), "w is (out, in); SparseMatrix.from_dense(weight.T)",
    )  # fmt: skip
    check_vector(kernel, "bias", bias, w.shape[0], "output")
    other = alternative(kernel, is_double(x), (*x.shape[:-1], w.shape[0]))
    if other:
        y = other(x, w, bias, activation)
    else:
        y = _C.sparse_linear(w._parts, x, bias, ACTIVATIONS[activation], None)
    return y if out is None else copied_into(kernel, out, y)


def sparse_conv2d(
    x: ArrayLike,
    w: SparseMatrix,
    kernel_size: Pair,
    bias: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    activation: str | None = None,
) -> np.ndarray:
    """Convolution with sparse weights, bias and activation.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : SparseMatrix, (O, C * kh * kw)
        ``SparseMatrix.from_dense(weight.reshape(O, -1))``.
    kernel_size : int or (height, width)
    bias : array, (O,), optional
    stride, padding, dilation : int or (height, width)
    activation : None, "relu" or "gelu"

    Returns
    -------
    array, (N, O, OH, OW)
        float32, or float64 when x or bias is float64.

    Raises
    ------
    ValueError, TypeError
        As for ``conv2d`` and ``sparse_matmul``.

    Notes
    -----
    Panels of pixels that stay in the cache, after Elsen, Dukhan, Gale and Simonyan, "Fast sparse
    ConvNets" (2020).
    """
    kernel = "sparse_conv2d"
    _check_sparse(kernel, w)
    check_choice(kernel, "activation", activation, ACTIVATIONS)
    x, bias = as_floats(kernel, ("bias",), x=x, bias=bias)
    check_ndim(kernel, "x", x, 4, "(N, C, H, W)")
    size = as_pair(kernel, "kernel_size", kernel_size, 1)
    taps = x.shape[1] * size[0] * size[1]
    if w.shape[1] != taps:
        raise ValueError(
            f"{kernel}: w {w.shape} must have a column for each channel and kernel position: x {x.shape} has "
            f"{x.shape[1]} channels, times {size[0]} × {size[1]} is {taps}"
        )
    check_vector(kernel, "bias", bias, w.shape[0], "output")
    window = Window(kernel, stride, padding, dilation, 1)
    shape = window.output_shape(kernel, x.shape, (w.shape[0], x.shape[1], *size), "w")
    other = alternative(kernel, is_double(x), shape)
    if other:
        return other(x, w, size, bias, window.stride, window.padding, window.dilation, activation)
    return _C.sparse_conv2d(w._parts, x, *size, bias, *window.numbers(), ACTIVATIONS[activation])
