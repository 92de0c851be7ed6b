"""The derivative of each operation: one node class for each, built by `record` after the forward computation.

Where broadcasting stretched an input, a rule returns the gradient in the shape of the output, and `Function`
sums it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch._arrays import contiguous

from .engine import Function, sum_to_shape

# --------------------------------------------------------------------------------------------------
# Arithmetic
# --------------------------------------------------------------------------------------------------


class AddBackward(Function):
    """a + b"""

    reads_inputs = False

    def backward(self, grad: np.ndarray) -> tuple:
        return grad, grad


class SubBackward(Function):
    """a - b"""

    reads_inputs = False

    def backward(self, grad: np.ndarray) -> tuple:
        return grad, -grad if self.needs_input_grad[1] else None


class MulBackward(Function):
    """a * b"""

    owns_gradients = True

    def backward(self, grad: np.ndarray) -> tuple:
        a, b = self.saved_tensors
        need_a, need_b = self.needs_input_grad
        return grad * b.data if need_a else None, grad * a.data if need_b else None


class DivBackward(Function):
    """a / b"""

    owns_gradients = True

    def backward(self, grad: np.ndarray) -> tuple:
        a, b = self.saved_tensors
        da = grad / b.data
        return da, -da * a.data / b.data if self.needs_input_grad[1] else None


class PowBackward(Function):
    """a ** b"""

    owns_gradients = True

    def backward(self, grad: np.ndarray) -> tuple:
        a, b = (tensor.data for tensor in self.saved_tensors)
        da = db = None
        if self.needs_input_grad[0]:  # a⁰ is constant, also at 0 and ∞ where b·aᵇ⁻¹ gives 0·∞
            da = grad * (b * np.where(b == 0, 1, a) ** (b - 1))
        if self.needs_input_grad[1]:
            constant = (a == 0) & (b >= 0)
            db = grad * np.where(constant, 0, a**b * np.log(np.where(constant, 1, a)))
        return da, db


class ElementwiseBackward(Function):
    """Any f(x) on single elements, given ``derivative(source)``; source is x itself or the output array."""

    owns_gradients = True

    def __init__(self, x: Any, derivative: Callable, source: Any) -> None:
        self.reads_inputs = source is x
        self.reads_output = not self.reads_inputs
        super().__init__(x)
        self.derivative, self.source = derivative, source

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * self.derivative(self.source.data if self.reads_inputs else self.source)


class WhereBackward(Function):
    """where(condition, a, b)"""

    reads_inputs = False

    def __init__(self, a: Any, b: Any, condition: np.ndarray) -> None:
        super().__init__(a, b)
        self.condition = condition

    def backward(self, grad: np.ndarray) -> tuple:
        zero = np.zeros((), grad.dtype)
        return np.where(self.condition, grad, zero), np.where(self.condition, zero, grad)


# --------------------------------------------------------------------------------------------------
# Matrix products
# --------------------------------------------------------------------------------------------------


class MatmulBackward(Function):
    """a @ b, with np.matmul's rules for 1-D operands and batches."""

    owns_gradients = True

    def backward(self, grad: np.ndarray) -> tuple:
        a, b = (tensor.data for tensor in self.saved_tensors)
        need_a, need_b = self.needs_input_grad
        if a.ndim == 1 or b.ndim == 1:
            return self._backward_vectors(grad, a, b)
        shape = a.shape
        if b.ndim == 2:  # one product over all rows, where a batch of products would have to be summed
            a, grad = _rows(a), _rows(grad)
        da = kernels.matmul(grad, b, transpose_b=True) if need_a else None
        if da is not None and b.ndim == 2:
            da = da.reshape(shape)
        return da, kernels.matmul(a, grad, transpose_a=True) if need_b else None

    @staticmethod
    def _backward_vectors(grad: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple:
        """A 1-D operand acts as a row (left) or a column (right) whose extra axis the result lacks."""
        row, column = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
        if b.ndim == 1:
            grad = grad[..., None]
        if a.ndim == 1:
            grad = grad[..., None, :]
        da = sum_to_shape(kernels.matmul(grad, column, transpose_b=True), row.shape)
        db = sum_to_shape(kernels.matmul(row, grad, transpose_a=True), column.shape)
        return da.reshape(a.shape), db.reshape(b.shape)


class LinearBackward(Function):
    """x @ w + bias"""

    owns_gradients = True

    def __init__(self, x: Any, w: Any, bias: Any = None) -> None:
        super().__init__(*((x, w) if bias is None else (x, w, bias)))

    def backward(self, grad: np.ndarray) -> tuple:
        x, w = self.saved_tensors[:2]
        need_x, need_w, *need_bias = self.needs_input_grad
        rows = _rows(grad)
        dx = kernels.matmul(rows, w.data, transpose_b=True).reshape(x.shape) if need_x else None
        dw = kernels.matmul(_rows(x.data), rows, transpose_a=True) if need_w else None
        return dx, dw, *(rows.sum(axis=0) for _ in need_bias)


def _rows(array: np.ndarray) -> np.ndarray:
    """(…, n) as (rows, n); reshape(-1, n) would fail for empty arrays."""
    if array.ndim == 2:
        return array
    return contiguous(array).reshape(math.prod(array.shape[:-1]), array.shape[-1])


# --------------------------------------------------------------------------------------------------
# Shape
# --------------------------------------------------------------------------------------------------


class ReshapeBackward(Function):
    """reshape, flatten, squeeze, unsqueeze"""

    reads_inputs = False

    def __init__(self, t: Any, shape: Any = None) -> None:
        super().__init__(t)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return contiguous(grad).reshape(self.input_shape())


class ExpandBackward(Function):
    """expand: `Function` sums the stretched axes"""

    reads_inputs = False

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad


class TransposeBackward(Function):
    """Two axes swapped"""

    reads_inputs = False

    def __init__(self, t: Any, dim0: int, dim1: int) -> None:
        super().__init__(t)
        self.dims = dim0, dim1

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad.swapaxes(*self.dims)


class PermuteBackward(Function):
    """Axes reordered"""

    reads_inputs = False

    def __init__(self, t: Any, axes: tuple[int, ...]) -> None:
        super().__init__(t)
        self.axes = axes

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad.transpose(np.argsort([axis % grad.ndim for axis in self.axes]))


class ConcatenateBackward(Function):
    """Tensors joined along an axis"""

    reads_inputs = False

    def __init__(self, *tensors: Any, axis: int = 0) -> None:
        super().__init__(*tensors)
        self.axis = axis
        self.ends = list(accumulate(tensor.shape[axis] for tensor in tensors))

    def backward(self, grad: np.ndarray) -> tuple:
        return tuple(np.split(grad, self.ends[:-1], axis=self.axis))


class SliceBackward(Function):
    """x[key] for any NumPy key; an element that was picked twice receives both gradients."""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, t: Any, key: Any) -> None:
        super().__init__(t)
        self.key = key

    def backward(self, grad: np.ndarray) -> np.ndarray:
        key, shape = self.key, self.input_shape()
        if isinstance(key, np.ndarray) and key.dtype.kind in "iu":
            return _add_rows(grad, key, shape)
        dx = np.zeros(shape, grad.dtype)
        if _picks_once(key):
            dx[key] = grad
        else:
            np.add.at(dx, key, grad)
        return dx


class EmbeddingBackward(Function):
    """Rows of `weight` looked up by integer `indices` of any shape"""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, weight: Any, indices: Any) -> None:
        super().__init__(weight)
        self.indices = indices if isinstance(indices, np.ndarray) else np.asarray(indices.data)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return _add_rows(grad, self.indices.astype(np.int64, copy=False), self.input_shape())


def _picks_once(key: Any) -> bool:
    """Whether `key` cannot name an element twice: slices, single integers, or one boolean mask."""
    if isinstance(key, np.ndarray):
        return key.dtype == bool
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) for part in parts
    )


def _add_rows(grad: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape` with each row of `grad` added at its index; sorting first beats np.add.at by far."""
    out = np.zeros(shape, grad.dtype)
    if indices.size and out.size:
        flat = indices.reshape(-1) % shape[0]
        order = np.argsort(flat, kind="stable")
        rows, starts = np.unique(flat[order], return_index=True)
        out[rows] = np.add.reduceat(grad.reshape(-1, *shape[1:])[order], starts, axis=0)
    return out


# --------------------------------------------------------------------------------------------------
# Reductions
# --------------------------------------------------------------------------------------------------


class _Reduction(Function):
    def __init__(self, x: Any, axis: Any = None, keepdims: bool = False) -> None:
        super().__init__(x)
        self.axis, self.keepdims = axis, keepdims

    def keep(self, reduced: np.ndarray) -> np.ndarray:
        """Give a result its reduced axes back, with size 1; without an axis, broadcasting does."""
        return reduced if self.keepdims or self.axis is None else np.expand_dims(reduced, self.axis)


class SumBackward(_Reduction):
    """sum over some axes, or all"""

    reads_inputs = False
    owns_gradients = True

    def backward(self, grad: np.ndarray) -> np.ndarray:
        dx = np.empty(self.input_shape(), grad.dtype)
        dx[...] = self.keep(grad)
        return dx


class ExtremumBackward(_Reduction):
    """max or min; elements that tie share the gradient equally, as in torch.amax"""

    owns_gradients = True

    def __init__(self, x: Any, result: np.ndarray, axis: Any = None, keepdims: bool = False) -> None:
        super().__init__(x, axis, keepdims)
        self.result = result

    def backward(self, grad: np.ndarray) -> np.ndarray:
        chosen = self.saved_tensors[0].data == self.keep(self.result)
        return chosen * (self.keep(grad) / chosen.sum(axis=self.axis, keepdims=True).astype(grad.dtype))


# --------------------------------------------------------------------------------------------------
# Activations
# --------------------------------------------------------------------------------------------------


class _FromOutput(Function):
    """An activation whose derivative needs the output only."""

    reads_inputs = False
    reads_output = True
    owns_gradients = True

    def __init__(self, x: Any, output: Any) -> None:
        super().__init__(x)
        self.output = _as_array(output)


class ReLUBackward(_FromOutput):
    """max(x, 0), whose gradient at 0 is 0; the output is positive where x is"""

    def __init__(self, x: Any, output: Any = None) -> None:
        super().__init__(x, x if output is None else output)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.relu_backward(grad, self.output)


class SigmoidBackward(_FromOutput):
    """1 / (1 + exp(-x))"""

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.sigmoid_backward(grad, self.output)


class TanhBackward(_FromOutput):
    """tanh(x)"""

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.tanh_backward(grad, self.output)


class SoftmaxBackward(Function):
    """softmax along `dim`, from its output"""

    reads_inputs = False
    reads_output = True
    owns_gradients = True

    def __init__(self, x: Any, output: Any, dim: int = -1) -> None:
        super().__init__(x)
        self.output, self.dim = _as_array(output), dim

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.softmax_backward(grad, self.output, axis=self.dim)


class LogSoftmaxBackward(SoftmaxBackward):
    """log(softmax) along `dim`, from its output"""

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.log_softmax_backward(grad, self.output, axis=self.dim)


class GELUBackward(Function):
    """x·Φ(x), or one of its approximations"""

    owns_gradients = True

    def __init__(self, x: Any, approximate: str = "none") -> None:
        super().__init__(x)
        self.approximate = approximate

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.gelu_backward(grad, self.saved_tensors[0].data, approximate=self.approximate)


def _as_array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else value.data


# --------------------------------------------------------------------------------------------------
# Losses
# --------------------------------------------------------------------------------------------------


class _DifferenceBackward(Function):
    """The mean of f(prediction - target)"""

    owns_gradients = True

    def slope(self, difference: np.ndarray) -> np.ndarray:
        """The derivative of f."""
        raise NotImplementedError

    def backward(self, grad: np.ndarray) -> tuple:
        prediction, target = (tensor.data for tensor in self.saved_tensors)
        slope = self.slope(prediction - target) * (grad / prediction.size)
        return slope, -slope if self.needs_input_grad[1] else None


class MSEBackward(_DifferenceBackward):
    """mean((prediction - target)²)"""

    def slope(self, difference: np.ndarray) -> np.ndarray:
        return 2 * difference


class L1Backward(_DifferenceBackward):
    """mean(|prediction - target|), whose gradient at 0 is 0"""

    def slope(self, difference: np.ndarray) -> np.ndarray:
        return np.sign(difference)


class HuberBackward(_DifferenceBackward):
    """mean of half the square of small differences, and of the size of those beyond delta"""

    def __init__(self, prediction: Any, target: Any, delta: float) -> None:
        super().__init__(prediction, target)
        self.delta = delta

    def slope(self, difference: np.ndarray) -> np.ndarray:
        return np.clip(difference, -self.delta, self.delta)


class BCEBackward(Function):
    """mean(-target·log(p) - (1 - target)·log(1 - p)) with p clipped to [eps, 1 - eps]"""

    def __init__(self, prediction: Any, target: Any, eps: float = 1e-7) -> None:
        super().__init__(prediction, target)
        self.eps = eps

    def backward(self, grad: np.ndarray) -> tuple:
        prediction, target = (tensor.data for tensor in self.saved_tensors)
        p = np.clip(prediction, self.eps, 1 - self.eps)
        scale = grad / p.size
        dtarget = scale * (np.log(1 - p) - np.log(p)) if self.needs_input_grad[1] else None
        return scale * (p - target) / (p * (1 - p)), dtarget


class BCEWithLogitsBackward(Function):
    """mean binary cross-entropy of sigmoid(logits)"""

    owns_gradients = True

    def backward(self, grad: np.ndarray) -> tuple:
        logits, target = (tensor.data for tensor in self.saved_tensors)
        scale = grad / logits.size
        dtarget = -scale * logits if self.needs_input_grad[1] else None
        return scale * (kernels.sigmoid(logits) - target), dtarget


class CrossEntropyBackward(Function):
    """mean negative log-likelihood of integer `targets` (N,) under softmax(logits) (N, C)"""

    owns_gradients = True

    def __init__(
        self, logits: Any, targets: Any, ignore_index: int = -100, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(logits)
        self.targets = _as_array(targets)
        self.options: dict[str, Any] = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}

    def backward(self, grad: np.ndarray) -> np.ndarray:
        logits = self.saved_tensors[0].data
        return kernels.cross_entropy_backward(
            float(grad), logits, self.targets.astype(np.int64, copy=False), **self.options
        )
