"""Matrix products, the fully connected layer, and weights packed once for both."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import reference
from ._checks import (
    ACTIVATIONS,
    as_floats,
    as_int,
    check_axes,
    check_choice,
    check_ndim,
    check_vector,
    copied_into,
    is_double,
    lined_up,
)
from ._registry import _C, REFUSED, alternative, product, replacements

__all__ = ["PackedMatrix", "linear", "matmul", "pack"]


class PackedMatrix:
    """Weights in the order in which the kernels read them; made by ``pack``.

    Attributes
    ----------
    shape : tuple of int
        The shape of the weights: (K, N), or (O, C / groups, kh, kw) for a convolution.
    groups : int
        The convolution's groups; 1 for a matrix.
    nbytes : int
        Bytes held, padding included.
    """

    __slots__ = ("_buffer", "groups", "shape")

    def __init__(self, buffer: np.ndarray, shape: tuple[int, ...], groups: int) -> None:
        self._buffer = buffer
        self.shape = shape
        self.groups = groups

    @property
    def nbytes(self) -> int:
        return self._buffer.nbytes

    def unpack(self) -> np.ndarray:
        """The weights as an ordinary float32 array."""
        if len(self.shape) == 2:
            return _C.unpack_matmul(self._buffer, *self.shape)
        return _C.unpack_conv2d(self._buffer, *self.shape, self.groups)

    def __reduce__(self) -> Any:
        # The layout belongs to this machine's CPU level, so a pickle carries the weights themselves.
        return partial(pack, groups=self.groups), (self.unpack(),)

    def __repr__(self) -> str:
        return f"PackedMatrix(shape={self.shape}, nbytes={self.nbytes})"


def pack(w: ArrayLike, *, groups: int = 1) -> PackedMatrix:
    """Bring weights that are used many times into the order the kernels read them in.

    Parameters
    ----------
    w : array
        (K, N) for ``matmul`` and ``linear``, or (O, C / groups, kh, kw) for ``conv2d``. Becomes
        float32.
    groups : int
        The groups of the convolution that will use the weights.

    Returns
    -------
    PackedMatrix
        A copy; later changes of w do not reach it.
    """
    (w,) = as_floats("pack", w=w)
    w = _C.as_float32(w)
    if w.ndim == 2:
        as_int("pack", "groups of a matrix", groups, 1, 1)
        return PackedMatrix(_C.pack_matmul(w), w.shape, 1)
    if w.ndim != 4:
        raise ValueError(
            f"pack: w must have 2 axes (K, N) or 4 axes (O, C/groups, kh, kw), got shape {w.shape}"
        )
    groups = as_int("pack", "groups", groups, 1)
    if w.shape[0] % groups:
        raise ValueError(f"pack: {w.shape[0]} output channels do not divide into {groups} groups")
    return PackedMatrix(_C.pack_conv2d(w, groups), w.shape, groups)


def matmul(
    a: ArrayLike,
    b: ArrayLike | PackedMatrix,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The matrix product a @ b.

    Parameters
    ----------
    a : array, (..., M, K)
        (..., K, M) with ``transpose_a``. Leading axes broadcast as in ``np.matmul``, and so do
        1-D operands: (K,) stands for a row on the left and for a column on the right.
    b : array, (..., K, N), or PackedMatrix
        (..., N, K) with ``transpose_b``.
    transpose_a, transpose_b : bool
        Read the operand with its last two axes exchanged, without copying it.
    out : array, optional
        Where the result goes; it must have the result's shape and dtype.

    Returns
    -------
    array, (..., M, N)
        float32, or float64 when an operand is float64.

    Raises
    ------
    ValueError
        When the inner axes differ, the leading axes do not broadcast, or out has the wrong shape.
    TypeError
        For operands that are not real numbers, or an out of another dtype.

    Notes
    -----
    Packed panels and a register micro-kernel, after Goto and van de Geijn, "Anatomy of
    high-performance matrix multiplication" (2008).
    """
    if not replacements():
        try:
            return _C.matmul(a, b, transpose_a, transpose_b, out)
        except REFUSED:
            pass
    return _matmul(a, b, transpose_a, transpose_b, out)


def _matmul(a: Any, b: Any, transpose_a: bool, transpose_b: bool, out: np.ndarray | None) -> np.ndarray:
    if isinstance(b, PackedMatrix):
        return _matmul_packed(a, b, transpose_a, transpose_b, out)
    a, transpose_a = _untransposed(a, transpose_a)
    b, transpose_b = _untransposed(b, transpose_b)
    a, b = as_floats("matmul", a=a, b=b)
    a_is_row, b_is_column = a.ndim == 1, b.ndim == 1
    a, b = _at_least_matrices(a, b, transpose_a, transpose_b)
    shape = _product_shape(a, b, transpose_a, transpose_b)
    y = _multiply(a, b, transpose_a, transpose_b, shape)
    if a_is_row or b_is_column:
        y = y.reshape(shape[:-2] + shape[-2:][a_is_row : 2 - b_is_column])
    return y if out is None else copied_into("matmul", out, y)


def _untransposed(x: Any, transpose: bool) -> tuple[Any, bool]:
    """A transposed view as the array beneath it and the opposite flag, which saves a copy."""
    if isinstance(x, np.ndarray) and x.ndim >= 2 and not x.flags.c_contiguous:
        swapped = np.swapaxes(x, -1, -2)
        if swapped.flags.c_contiguous:
            return swapped, not transpose
    return x, bool(transpose)


def _at_least_matrices(
    a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A 1-D a as a row, a 1-D b as a column."""
    for name, x, transpose in (("a", a, transpose_a), ("b", b, transpose_b)):
        if x.ndim == 0:
            raise ValueError(f"matmul: {name} is a single number; multiply with * instead")
        if x.ndim == 1 and transpose:
            raise ValueError(
                f"matmul: {name} of shape {x.shape} has one axis and cannot be transposed; "
                f"drop transpose_{name}"
            )
    return (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)


def _product_shape(a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool) -> tuple[int, ...]:
    """The shape of the product, or the error that says why there is none."""
    inner_a, inner_b = (-2 if transpose_a else -1), (-1 if transpose_b else -2)
    check_axes(
        "matmul", "the inner axes must be equally long",
        ("a", a.shape, inner_a), ("b", b.shape, inner_b),
        "transpose one of them (transpose_a=True or transpose_b=True), or reshape it",
    )  # fmt: skip
    batch = a.shape[:-2]
    try:
        if b.ndim > 2 and b.shape[:-2] != batch:
            batch = np.broadcast_shapes(batch, b.shape[:-2])
    except ValueError:
        raise ValueError(
            "matmul: the leading axes do not broadcast (each pair must be equal, or one be 1)\n"
            + lined_up(a=a, b=b)
        ) from None
    m = a.shape[-1] if transpose_a else a.shape[-2]
    n = b.shape[-2] if transpose_b else b.shape[-1]
    return (*batch, m, n)


def _multiply(
    a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool, shape: tuple[int, ...]
) -> np.ndarray:
    """The product of checked operands, as stacks of matrices that C understands."""
    if is_double(a):
        return reference.matmul(a, b, transpose_a, transpose_b)
    if "matmul" in replacements():
        return reference.matmul(a, b, transpose_a, transpose_b, matmul=partial(product, "matmul"))
    if a.ndim == b.ndim == 2:
        return _C.matmul(a, b, transpose_a, transpose_b, None)
    if b.ndim == 2 and not transpose_a:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return _C.matmul(rows, b, False, transpose_b, None).reshape(shape)
    batch = shape[:-2]
    a, b = _as_stack(a, batch), _as_stack(b, batch)
    return _C.matmul(a, b, transpose_a, transpose_b, None).reshape(shape)


def _as_stack(x: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """x (..., R, C) as (B, R, C), or as (1, R, C) when one matrix serves the whole batch."""
    matrix = x.shape[-2:]
    if math.prod(x.shape[:-2]) == 1:
        return x.reshape(1, *matrix)
    if x.shape[:-2] != batch:
        x = np.ascontiguousarray(np.broadcast_to(x, (*batch, *matrix)))
    return x.reshape(math.prod(batch), *matrix)


def _matmul_packed(
    a: Any, b: PackedMatrix, transpose_a: bool, transpose_b: bool, out: np.ndarray | None
) -> np.ndarray:
    if transpose_b:
        raise ValueError("matmul: b is packed and has its order; pack the transpose, pack(b.T)")
    (a,) = as_floats("matmul", a=a)
    if transpose_a and a.ndim >= 2:
        a = np.ascontiguousarray(np.swapaxes(a, -1, -2))
    _check_packed("matmul", "b", b, 2)
    if is_double(a) or "matmul" in replacements():
        return matmul(a, b.unpack(), out=out)
    _check_inner("matmul", "a", a, "b", b.shape)
    y = _C.matmul_packed(a, b._buffer, *b.shape, None)
    return y if out is None else copied_into("matmul", out, y)


def _check_packed(kernel: str, name: str, packed: PackedMatrix, ndim: int) -> None:
    if len(packed.shape) != ndim:
        held = "a convolution" if len(packed.shape) == 4 else "a matrix"
        wanted = "a matrix (K, N)" if ndim == 2 else "convolution weights (O, C/groups, kh, kw)"
        raise ValueError(
            f"{kernel}: {name} holds the packed weights of {held}, shape {packed.shape}; pack {wanted}"
        )


def _check_inner(kernel: str, x_name: str, x: np.ndarray, w_name: str, w: tuple[int, ...]) -> None:
    if x.ndim == 0:
        raise ValueError(f"{kernel}: {x_name} is a single number; it needs an axis of {w[0]}")
    check_axes(
        kernel, f"the last axis of {x_name} must be as long as the first of {w_name}",
        (x_name, x.shape, -1), (w_name, w, 0),
        f"{w_name} is (in, out); transpose it if it is stored as (out, in)",
    )  # fmt: skip


def linear(
    x: ArrayLike,
    w: ArrayLike | PackedMatrix,
    bias: ArrayLike | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """The fully connected layer: activation(x @ w + bias), in one pass over the result.

    Parameters
    ----------
    x : array, (..., in)
    w : array, (in, out), or PackedMatrix
    bias : array, (out,), optional
    activation : None, "relu" or "gelu"
        gelu is the erf form.

    Returns
    -------
    array, (..., out)
        float32, or float64 when an input is float64.

    Raises
    ------
    ValueError
        When shapes do not fit or the activation is unknown.
    TypeError
        For inputs that are not real numbers.
    """
    if not replacements():
        try:
            if isinstance(w, PackedMatrix):
                return _C.linear_packed(x, w._buffer, *w.shape, bias, ACTIVATIONS[activation])
            return _C.linear(x, w, bias, ACTIVATIONS[activation])
        except REFUSED:
            pass
    return _linear(x, w, bias, activation)


def _linear(x: Any, w: Any, bias: Any, activation: str | None) -> np.ndarray:
    check_choice("linear", "activation", activation, ACTIVATIONS)
    packed = isinstance(w, PackedMatrix)
    if packed:
        _check_packed("linear", "w", w, 2)
        x, bias = as_floats("linear", ("bias",), x=x, bias=bias)
    else:
        x, w, bias = as_floats("linear", ("bias",), x=x, w=w, bias=bias)
        check_ndim("linear", "w", w, 2, "(in, out)")
    _check_inner("linear", "x", x, "w", w.shape)
    check_vector("linear", "bias", bias, w.shape[1], "output")
    other = alternative("linear", is_double(x), (*x.shape[:-1], w.shape[1]))
    if other:
        return other(x, w.unpack() if packed else w, bias, activation)
    code = ACTIVATIONS[activation]
    if packed:
        return _C.linear_packed(x, w._buffer, *w.shape, bias, code)
    return _C.linear(x, w, bias, code)
