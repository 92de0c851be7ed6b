"""Which implementation of a kernel runs: the compiled one, the caller's own, or NumPy.

A kernel goes through three questions, in this order:

1. Is an input float64? Then the NumPy reference computes it (gradient checks need that).
2. Did ``use`` replace the kernel, or the primitive it is made of? Then the replacement runs, or
   the reference's composition over the replaced primitive.
3. Otherwise the compiled kernel runs. Its calling convention is in ``tinytorch/_C.pyi``.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from . import reference

try:
    import tinytorch._C as _compiled
except ModuleNotFoundError:
    raise ImportError(
        "TinyTorch's compiled kernels are missing: run `pip install -e .` in the folder of its setup.py."
    ) from None

# Any: the door may hand over what it was given, since C checks its arguments itself.
_C: Any = _compiled

__all__ = ["REFUSED", "_C", "alternative", "product", "replacements", "use"]

Shape = tuple[int, ...]

# Small calls must stay cheap, and C checks its arguments in nanoseconds. So the door first passes them
# on as they are; what C refuses with one of these goes the long way, which converts it or explains it.
REFUSED = (TypeError, ValueError, KeyError, OverflowError)

# What each composite is made of. Replacing the primitive replaces it inside these too.
COMPOSED_OF = {
    "linear": "matmul",
    "conv2d": "matmul",
    "conv2d_backward": "matmul",
    "attention": "matmul",
    "attention_backward": "matmul",
    "attention_decode": "matmul",
    "linear_int8": "matmul_int8",
    "linear_int8_dynamic": "matmul_int8",
    "conv2d_int8": "matmul_int8",
}

_replacements: ContextVar[Mapping[str, Callable[..., Any]]] = ContextVar(
    "tinytorch_kernel_replacements", default=MappingProxyType({})
)
# The whole cost of being replaceable: one call, true only while something is replaced.
replacements = _replacements.get


class use:
    """Put functions of your own in the place of kernels.

    As a context manager it ends with the block; as a plain call it stays until ``restore()``,
    or until ``use(name=None)`` gives the built-in kernel back. Uses nest, and the innermost wins.
    A replacement is seen by the thread (or the async task) that made it and by no other.

    Parameters
    ----------
    **implementations : callable or None
        A function for each kernel's name. ``matmul`` receives two C-contiguous float32 arrays
        (M, K) and (K, N) and returns (M, N); ``matmul_int8`` receives (M, K) uint8 or int8 and
        (K, N) int8 and returns int32. Transposes, batches and ``out`` are dealt with before it is
        called, and ``linear``, ``conv2d`` and ``attention`` (or their INT8 forms) run on it,
        forward and backward. Any other function is called as the kernel's namesake in
        ``tinytorch.kernels.reference`` is. Inside your function the kernel of that name is the
        built-in one again, so it can call it.

    Raises
    ------
    ValueError
        For a name that is not a kernel.
    TypeError
        For an implementation that cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> from tinytorch import kernels
    >>> with kernels.use(matmul=lambda a, b: np.dot(a, b)):
    ...     y = kernels.linear(np.ones((2, 3)), np.ones((3, 4)))
    """

    def __init__(self, **implementations: Callable[..., Any] | None) -> None:
        for name, function in implementations.items():
            if name not in reference.__all__:
                close = difflib.get_close_matches(name, reference.__all__, n=1)
                hint = f"did you mean {close[0]!r}?" if close else "see kernels.reference.__all__"
                raise ValueError(f"use: there is no kernel named {name!r}; {hint}")
            if function is not None and not callable(function):
                raise TypeError(
                    f"use: {name} needs a function to run instead of the kernel, "
                    f"got {type(function).__name__}; write {name}=my_function, without calling it"
                )
        self._before = _replacements.get()
        merged = {**self._before, **implementations}
        _replacements.set({name: f for name, f in merged.items() if f is not None})

    def restore(self) -> None:
        """Go back to the kernels that were in place before this use."""
        _replacements.set(self._before)

    def __enter__(self) -> "use":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore()


def _run(kernel: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a replacement while the built-in kernel of its name is back in place."""
    current = _replacements.get()
    _replacements.set({name: f for name, f in current.items() if name != kernel})
    try:
        return function(*args, **options)
    finally:
        _replacements.set(current)


def _checked(kernel: str, result: Any, shape: Shape, dtype: Any) -> np.ndarray:
    """A replacement's result as an array of this shape and dtype, or an error that says why not."""
    mine = f"your {kernel} (in use instead of the built-in kernel)"
    if result is None:
        raise TypeError(f"{mine} returned None; did it forget `return`?")
    array = np.asarray(result)
    if array.shape != shape:
        raise ValueError(f"{mine} must return shape {shape}, and returned {array.shape}")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{mine} must return {np.dtype(dtype)}, and returned {array.dtype}")
    return np.asarray(array, dtype, order="C")


def product(primitive: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The replaced ``matmul`` or ``matmul_int8`` over (..., M, K) @ (..., K, N).

    The replacement itself sees one pair of C-contiguous matrices at a time.
    """
    function = _replacements.get()[primitive]
    dtype = np.float32 if primitive == "matmul" else np.int32

    def one(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if primitive == "matmul":
            a, b = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
        y = _run(primitive, function, np.ascontiguousarray(a), np.ascontiguousarray(b))
        return _checked(primitive, y, (a.shape[0], b.shape[1]), dtype)

    m, n = a.shape[-2], b.shape[-1]
    if b.ndim == 2:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return one(rows, b).reshape(*a.shape[:-1], n)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    b = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    y = np.empty((*batch, m, n), dtype)
    for i in np.ndindex(batch):
        y[i] = one(a[i], b[i])
    return y


def alternative(
    kernel: str, double: bool, *shapes: Shape, dtype: Any = np.float32
) -> Callable[..., Any] | None:
    """What to call instead of the compiled kernel, or None when the compiled one runs.

    Parameters
    ----------
    kernel : str
        The kernel's name.
    double : bool
        Whether the inputs are float64.
    *shapes : tuple of int
        What a replacement has to return: one shape for an array, several for a tuple, none for a
        kernel that works in place. Only a replacement's results are checked.
    dtype : dtype
        The results' dtype.

    Returns
    -------
    callable or None
        It takes the arguments of ``reference.<kernel>``.
    """
    if double:
        return getattr(reference, kernel)
    replaced = _replacements.get()
    if not replaced:
        return None
    if kernel in replaced:
        return partial(_replacement, kernel, replaced[kernel], shapes, dtype)
    primitive = COMPOSED_OF.get(kernel, "")
    if primitive in replaced:
        return partial(getattr(reference, kernel), **{primitive: partial(product, primitive)})
    return None


def _replacement(
    kernel: str, function: Callable[..., Any], shapes: tuple[Shape, ...], dtype: Any,
    *args: Any, **options: Any,
) -> Any:  # fmt: skip
    """Run the caller's function and check each of its results."""
    result = _run(kernel, function, *args, **options)
    if not shapes:
        return None
    if len(shapes) == 1:
        return _checked(kernel, result, shapes[0], dtype)
    if not isinstance(result, tuple) or len(result) != len(shapes):
        raise TypeError(
            f"your {kernel} (in use instead of the built-in kernel) must return a tuple of "
            f"{len(shapes)} arrays, and returned {type(result).__name__}"
        )
    pairs = zip(result, shapes, strict=True)
    return tuple(None if r is None else _checked(kernel, r, s, dtype) for r, s in pairs)
