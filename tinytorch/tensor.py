"""Tensor: a NumPy array that remembers how it was computed, so that gradients can flow back through it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import kernels
from ._arrays import (
    align_shapes,
    as_float,
    broadcast_error,
    contiguous,
    divide,
    index_arrays,
    reusing,
    to_array,
)
from ._interop import apply_ufunc, describe_html
from ._mistakes import along, axis_error, in_place_error, index_error, permute_error, squeeze_error
from .autograd import engine, rules
from .autograd.engine import is_grad_enabled, record

__all__ = ["Tensor", "array_of", "as_tensor", "from_dlpack", "from_numpy", "match_dtypes"]

BYTES_PER_FLOAT32 = 4
KB_TO_BYTES = 1024
MB_TO_BYTES = 1024 * 1024

Axis = int | tuple[int, ...] | None

_add, _subtract, _multiply = reusing(np.add), reusing(np.subtract), reusing(np.multiply)


class Tensor:
    """An n-dimensional array with gradients.

    Parameters
    ----------
    data : array_like
        Copied. Python numbers, lists of them and floating-point arrays become float32; boolean and integer
        arrays keep their dtype unless `requires_grad`.
    requires_grad : bool
        Whether `backward` should fill `grad`.
    dtype : dtype, optional
        Overrides the above. float64 makes every operation run in float64, slowly, as `gradcheck` needs.

    Attributes
    ----------
    data : ndarray
        May be assigned (its dtype becomes that of the tensor), but not between forward and backward, where
        `backward` objects (not to ``x.data[0] = 1``, which it can't see unless `mark_changed` is called).
    grad : ndarray or None
        The gradient, in the shape of `data`; `backward` adds to it.
    """

    _data: np.ndarray
    _hooks: tuple = ()  # called with the gradient of a leaf
    # Fixed places for what every tensor has: a graph has many small tensors, which must be quick to make.
    __slots__ = ("__dict__", "__weakref__", "_data", "_grad_fn", "_version", "grad", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self._data = to_array(data._data if isinstance(data, Tensor) else data, requires_grad, dtype)
        self._version = 0
        self.requires_grad = requires_grad
        self.grad: Any = None
        self._grad_fn: engine.Function | None = None

    @staticmethod
    def _wrap(data: np.ndarray) -> Tensor:
        """A tensor that holds `data` itself: no copy, no conversion."""
        tensor = Tensor.__new__(Tensor)
        tensor._data = data if isinstance(data, np.ndarray) else np.asarray(data)
        tensor._version = 0
        tensor.requires_grad = False
        tensor.grad = None
        tensor._grad_fn = None
        return tensor

    # --- what it holds ----------------------------------------------------------------------------

    def _set_data(self, data: np.ndarray) -> None:
        self._data = data if isinstance(data, np.ndarray) else to_array(data, self.requires_grad, None)
        self.mark_changed()

    data = property(operator.attrgetter("_data"), _set_data)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def _layout(self) -> tuple[tuple[int, ...], np.dtype]:
        """What a gradient of this tensor must be like."""
        return self._data.shape, self._data.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by hand rather than computed from tensors that require gradients."""
        return self._grad_fn is None

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy."""
        return self._data

    def item(self) -> float | int | bool:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(
                f"item() needs exactly one element, but this tensor has {self.size} (shape {self.shape})"
            )
        return self._data.item()

    def tolist(self) -> Any:
        return self._data.tolist()

    def detach(self) -> Tensor:
        """The same data outside the graph: no gradient flows through the result."""
        return Tensor._wrap(self._data)

    def copy(self) -> Tensor:
        """A copy of the data, through which gradients flow back to this tensor."""
        return record(self._data.copy(), rules.ReshapeBackward, self)

    clone = copy

    def contiguous(self) -> Tensor:
        """This tensor if its elements lie in memory in the order of its axes, else such a copy of it.

        Worth it before a transposed tensor is read several times: each kernel would copy it again.
        """
        data = contiguous(self._data)
        return self if data is self._data else record(data, rules.ReshapeBackward, self)

    def astype(self, dtype: Any) -> Tensor:
        """Convert; between floating-point types gradients flow, to integers and booleans they can't."""
        data = self._data.astype(dtype)
        return record(data, rules.ReshapeBackward, self) if data.dtype.kind == "f" else Tensor._wrap(data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad and is_grad_enabled():
            raise RuntimeError(
                "NumPy functions lose the gradient of a tensor: use its own operations, or pass .detach()"
            )
        array = self._data if dtype is None else self._data.astype(dtype, copy=False)
        return array.copy() if copy and array is self._data else array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Let NumPy's functions give tensors, through whose counterparts here gradients flow."""
        return apply_ufunc(ufunc, method, inputs, options, lambda value: as_tensor(value, self))

    def __dlpack__(self, **options: Any) -> Any:
        """The data for another library, without a copy; see `from_dlpack` for the way back."""
        if self.requires_grad:
            raise BufferError("a tensor that requires a gradient cannot be shared: pass .detach()")
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple:
        return self._data.__dlpack_device__()

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-D tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"a tensor of shape {self.shape} is neither true nor false; compare with .data and .all()"
            )
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        dtype = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        made_by = f", grad_fn={type(self._grad_fn).__name__}" if self._grad_fn is not None else ""
        return f"Tensor(data={self._data}, shape={self.shape}{dtype}{grad}{made_by})"

    def _repr_html_(self) -> str:
        return describe_html(self)

    def __str__(self) -> str:
        return f"Tensor({self._data})"

    __hash__ = object.__hash__

    # --- gradients --------------------------------------------------------------------------------

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to the `grad` of every leaf that it was computed from.

        Parameters
        ----------
        gradient : array_like, optional
            Gradient of what follows for this tensor, in its shape; 1 if it has one element.
        retain_graph : bool
            Keep the graph for another `backward`; otherwise its memory is freed on the way.
        """
        engine.backward(self, engine.starting_gradient(self, gradient), retain_graph)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def retain_grad(self) -> None:
        """Let `backward` fill `grad` of this tensor too, although it is not a leaf."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: a tensor without requires_grad=True never gets a gradient")
        if self._grad_fn is not None:
            self._grad_fn.retain_output(self)

    def register_hook(self, hook: Callable[[np.ndarray], Any]) -> engine.RemovableHook:
        """Call ``hook(gradient)`` when `backward` has this tensor's whole gradient, an array of its shape.

        What the hook returns, unless None, takes the gradient's place. The result's ``remove()`` ends it.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: a tensor without requires_grad=True never gets a gradient")
        return engine.RemovableHook(self if self._grad_fn is None else self._grad_fn, "_hooks", hook)

    def mark_changed(self) -> None:
        """Say that the elements of `data` were changed in place, so that an outdated graph notices."""
        self._version += 1
        if self._grad_fn is not None:
            self._grad_fn.output_changed()

    # --- arithmetic -------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return _binary("+", _add, rules.AddBackward, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary("+", _add, rules.AddBackward, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _binary("-", _subtract, rules.SubBackward, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary("-", _subtract, rules.SubBackward, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _binary("*", _multiply, rules.MulBackward, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary("*", _multiply, rules.MulBackward, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary("/", divide, rules.DivBackward, self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary("/", divide, rules.DivBackward, other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _binary("**", operator.pow, rules.PowBackward, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary("**", operator.pow, rules.PowBackward, other, self)

    def __neg__(self) -> Tensor:
        return self * -1

    def add(self, other: Any) -> Tensor:
        """The sum, by name."""
        return self + other

    def multiply(self, other: Any) -> Tensor:
        """The product of the elements, by name."""
        return self * other

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place("+", np.add, other, self.__add__)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place("-", np.subtract, other, self.__sub__)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place("*", np.multiply, other, self.__mul__)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place("/", np.true_divide, other, self.__truediv__)

    def _in_place(self, symbol: str, compute: Callable, other: Any, out_of_place: Callable) -> Tensor:
        if is_grad_enabled() and (self.requires_grad or getattr(other, "requires_grad", False)):
            if self.requires_grad and self.is_leaf:
                raise RuntimeError(
                    "changing a leaf that requires a gradient in place would lose its gradient: "
                    "do it under no_grad(), or write x = x + … for a new tensor"
                )
            return out_of_place(other)
        other = other.data if isinstance(other, Tensor) else other
        try:
            compute(self._data, other, out=self._data)
        except (ValueError, TypeError):
            raise in_place_error(symbol, self._data, other) from None
        self.mark_changed()
        return self

    def __matmul__(self, other: Any) -> Tensor:
        return self.matmul(other) if isinstance(other, (Tensor, np.ndarray)) else NotImplemented

    def matmul(self, other: Any) -> Tensor:
        """Matrix product with np.matmul's rules: (…, M, K) @ (…, K, N), batches broadcast, 1-D allowed."""
        if not isinstance(other, (Tensor, np.ndarray)):
            raise TypeError(f"matmul: expected a Tensor, got {type(other).__name__}")
        other = as_tensor(other, self)
        a, b = self._data, other._data
        if a.ndim == 0 or b.ndim == 0:
            return self * other
        if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
            inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
            raise ValueError(
                f"matmul {a.shape} @ {b.shape}: Inner dimensions must match: {inner[0]} ≠ {inner[1]}\n"
                "The last axis on the left meets the last but one on the right; is a transpose missing?"
            )
        return record(kernels.matmul(a, b), rules.MatmulBackward, self, other)

    # --- comparisons: boolean tensors, no gradient ------------------------------------------------

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return _binary("==", np.equal, None, self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return _binary("!=", np.not_equal, None, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _binary("<", np.less, None, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _binary("<=", np.less_equal, None, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _binary(">", np.greater, None, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _binary(">=", np.greater_equal, None, self, other)

    # --- elementwise functions: each stands beside its derivative ---------------------------------

    def exp(self) -> Tensor:
        y = np.exp(as_float(self._data))
        return record(y, rules.ElementwiseBackward, self, lambda y: y, y)

    def log(self) -> Tensor:
        return record(np.log(as_float(self._data)), rules.ElementwiseBackward, self, lambda x: 1 / x, self)

    def sqrt(self) -> Tensor:
        y = np.sqrt(as_float(self._data))
        return record(y, rules.ElementwiseBackward, self, lambda y: 0.5 / y, y)

    def tanh(self) -> Tensor:
        y = kernels.tanh(self._data)
        return record(y, rules.TanhBackward, self, y)

    def abs(self) -> Tensor:
        return record(np.abs(self._data), rules.ElementwiseBackward, self, np.sign, self)

    __abs__ = abs

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """Limit each element to [min, max]; the gradient is 1 inside and 0 outside."""
        if min is None and max is None:
            raise ValueError("clip: give min, max, or both")
        low, high = (-np.inf if min is None else min), (np.inf if max is None else max)
        y = np.clip(self._data, min, max)
        return record(y, rules.ElementwiseBackward, self, lambda x: (x >= low) & (x <= high), self)

    clamp = clip

    # --- reductions -------------------------------------------------------------------------------

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return self._sum("sum", axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return self._mean("mean", axis, keepdims)

    def _sum(self, operation: str, axis: Axis, keepdims: bool) -> Tensor:
        total = along(operation, np.add.reduce, self._data, axis, keepdims=keepdims)
        return record(total, rules.SumBackward, self, axis, keepdims)

    def _mean(self, operation: str, axis: Axis, keepdims: bool) -> Tensor:
        total = self._sum(operation, axis, keepdims)
        return total / (self.size // total.size if total.size else 1)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest values; elements that tie share the gradient equally."""
        y = along("max", np.maximum.reduce, self._data, axis, keepdims=keepdims)
        return record(y, rules.ExtremumBackward, self, y, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest values; elements that tie share the gradient equally."""
        y = along("min", np.minimum.reduce, self._data, axis, keepdims=keepdims)
        return record(y, rules.ExtremumBackward, self, y, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Tensor:
        """Variance with the divisor n - correction (PyTorch's default is the unbiased 1, NumPy's is 0)."""
        centred = self - self._mean("var", axis, keepdims=True)
        total = (centred * centred).sum(axis, keepdims)
        return total / np.maximum(self.size // total.size - correction if total.size else 1, 0)

    def std(self, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Tensor:
        """Square root of `var`."""
        return self.var(axis, keepdims, correction).sqrt()

    def argmax(self, axis: int | None = None) -> Tensor:
        return Tensor._wrap(np.asarray(along("argmax", np.argmax, self._data, axis)))

    def argmin(self, axis: int | None = None) -> Tensor:
        return Tensor._wrap(np.asarray(along("argmin", np.argmin, self._data, axis)))

    # --- shape ------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        """Same elements, new shape; one size may be -1."""
        shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        if shape.count(-1) > 1:
            raise ValueError("Can only specify one unknown dimension with -1")
        try:
            data = self._data.reshape(shape)
        except TypeError:
            raise TypeError(f"reshape: {self.shape} to {shape}: sizes must be whole numbers") from None
        except ValueError:
            total = abs(int(np.prod(shape)))
            raise ValueError(
                f"reshape: {self.shape} to {shape}: Total elements must match: {self.size} ≠ {total}"
                + (" times a whole number" if -1 in shape else "")
            ) from None
        return record(data, rules.ReshapeBackward, self)

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Merge the axes from `start_dim` to `end_dim` into one."""
        rank = max(self.ndim, 1)
        for dim in (start_dim, end_dim):
            if error := axis_error("flatten", self.shape or (1,), dim):
                raise error
        start, end = start_dim % rank, end_dim % rank
        if start > end:
            raise ValueError(
                f"flatten: start_dim={start_dim} lies behind end_dim={end_dim} in shape {self.shape}"
            )
        return self.reshape(
            *self.shape[:start], int(np.prod(self.shape[start : end + 1])), *self.shape[end + 1 :]
        )

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Drop axes of size 1."""
        try:
            data = np.squeeze(self._data, axis)
        except (ValueError, TypeError):
            raise squeeze_error(self.shape, axis) from None
        return record(data, rules.ReshapeBackward, self)

    def unsqueeze(self, axis: int) -> Tensor:
        """Insert an axis of size 1."""
        try:
            data = np.expand_dims(self._data, axis)
        except (ValueError, TypeError) as error:
            raise axis_error("unsqueeze", self.shape, axis, added=1) or error from None
        return record(data, rules.ReshapeBackward, self)

    def expand(self, *shape: Any) -> Tensor:
        """Repeat axes of size 1 without copying; -1 keeps an axis as it is."""
        shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        own = (1,) * (len(shape) - self.ndim) + self.shape[max(self.ndim - len(shape), 0) :]
        shape = tuple(n if wanted == -1 else wanted for n, wanted in zip(own, shape, strict=True))
        try:
            data = np.broadcast_to(self._data, shape)
        except ValueError:
            raise ValueError(
                f"expand: only axes of size 1 can grow:\n{align_shapes(self.shape, shape)}"
            ) from None
        return record(data, rules.ExpandBackward, self)

    def transpose(self, dim0: int | None = None, dim1: int | None = None) -> Tensor:
        """Swap two axes; without arguments, the last two (a 1-D tensor stays as it is)."""
        if (dim0 is None) != (dim1 is None):
            raise ValueError("Both dim0 and dim1 must be specified")
        if dim0 is None or dim1 is None:
            if self.ndim < 2:
                return self.copy()
            dim0, dim1 = -2, -1
        try:
            data = self._data.swapaxes(dim0, dim1)
        except (ValueError, TypeError) as error:
            wrong = (axis_error("transpose", self.shape, dim) for dim in (dim0, dim1))
            raise next(filter(None, wrong), error) from None
        return record(data, rules.TransposeBackward, self, dim0, dim1)

    def permute(self, *axes: Any) -> Tensor:
        """Reorder all axes."""
        axes = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        try:
            data = self._data.transpose(axes)
        except (ValueError, TypeError):
            raise permute_error(self.shape, axes) from None
        return record(data, rules.PermuteBackward, self, axes)

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    def __getitem__(self, key: Any) -> Tensor:
        key = index_arrays(key)
        try:
            data = self._data[key]
        except IndexError as error:
            raise index_error(self.shape, error) from None
        return record(data, rules.SliceBackward, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if is_grad_enabled() and (self.requires_grad or getattr(value, "requires_grad", False)):
            raise RuntimeError(
                "assigning to elements would lose gradients: use where(condition, a, b), or no_grad()"
            )
        key, value = index_arrays(key), value.data if isinstance(value, Tensor) else value
        try:
            self._data[key] = value
        except IndexError as error:
            raise index_error(self.shape, error) from None
        except ValueError as error:
            raise ValueError(f"assigning to elements of a tensor of shape {self.shape}: {error}") from None
        self.mark_changed()


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory and keeps its dtype."""
    return Tensor._wrap(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of another library's array in the CPU's memory."""
    return Tensor._wrap(np.from_dlpack(source))


def as_tensor(value: Any, like: Tensor | None = None) -> Tensor:
    """`value` as a tensor; numbers and arrays take the dtype of a floating-point `like`."""
    if isinstance(value, Tensor):
        return value
    if like is not None and like.dtype.kind == "f":
        if type(value) is float or type(value) is int:
            return Tensor._wrap(np.array(value, like.dtype))
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"expected a Tensor, an array or a number, got {type(value).__name__}")
        return Tensor._wrap(array.astype(like.dtype, copy=False))
    if like is not None and type(value) is int:
        return Tensor._wrap(np.asarray(value, dtype=np.result_type(like.dtype, np.min_scalar_type(value))))
    return Tensor(value)


def array_of(operation: str, x: Any) -> np.ndarray:
    """The array that a tensor holds; TypeError, naming the operation, for anything else."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{operation}: expected a Tensor, got {type(x).__name__}; wrap it: Tensor(x)")
    return x._data


def match_dtypes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Let an integer operand follow a floating-point one, as in PyTorch (NumPy would go to float64)."""
    if a.dtype.kind != b.dtype.kind:
        if a.dtype.kind == "f":
            return a, b.astype(a.dtype)
        if b.dtype.kind == "f":
            return a.astype(b.dtype), b
    return a, b


def _binary(
    symbol: str, compute: Callable, node: type[engine.Function] | None, left: Any, right: Any
) -> Tensor:
    """`left` (symbol) `right`, one of which is a tensor; `compute` works on arrays, `node` reverses it."""
    if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
        like = left if isinstance(left, Tensor) else right
        try:
            left, right = as_tensor(left, like), as_tensor(right, like)
        except (TypeError, ValueError):
            return NotImplemented
    if left._data.dtype is not right._data.dtype:
        left, right = match_dtypes(left, right)
    try:
        data = compute(left._data, right._data)
    except (ValueError, TypeError) as error:
        if "broadcast" in str(error):
            raise broadcast_error(symbol, left.shape, right.shape) from None
        raise type(error)(
            f"{symbol} of {left.dtype} and {right.dtype}: {error} Try x.astype('float32')."
        ) from None
    return Tensor._wrap(data) if node is None else record(data, node, left, right)
