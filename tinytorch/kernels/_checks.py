"""Arguments made right for the kernels, and the errors that explain those that cannot be."""

import math
import operator
from typing import Any

import numpy as np

from ._registry import _C

_FLOAT32 = np.dtype(np.float32)

ACTIVATIONS = {None: 0, "relu": 1, "gelu": 2}


def as_floats(kernel: str, optional: tuple[str, ...] = (), **arrays: Any) -> list[Any]:
    """The arrays as C-contiguous float32, or all as float64 when one of them is float64.

    Integers and booleans convert; Python numbers and lists become float32. The names in `optional` may
    be None, and stay it.

    Raises
    ------
    TypeError
        For anything that is not an array of real numbers.
    """
    double = False
    result: list[Any] = []
    for name, x in arrays.items():
        if x is None and name in optional:
            result.append(None)
            continue
        if type(x) is not np.ndarray:
            x = _as_array(kernel, name, x)
        if x.dtype is not _FLOAT32:
            if x.dtype.kind not in "fiub":
                raise TypeError(f"{kernel}: {name} must hold real numbers, and holds {x.dtype}")
            double = double or (x.dtype.kind == "f" and x.dtype.itemsize > 4)
        result.append(x)
    if double:
        return [None if x is None else np.asarray(x, np.float64, order="C") for x in result]
    return [None if x is None else _C.as_float32(x) for x in result]


def _as_array(kernel: str, name: str, x: Any) -> np.ndarray:
    if isinstance(x, (np.ndarray, np.generic)):
        return np.asarray(x)
    try:
        array = np.asarray(x)
    except ValueError as cause:
        raise ValueError(f"{kernel}: {name} is a ragged list; its rows differ in length") from cause
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{kernel}: {name} must be an array of numbers, got {type(x).__name__}")
    return array.astype(np.float32) if array.dtype == np.float64 else array


def is_double(x: np.ndarray) -> bool:
    """Whether as_floats went for float64."""
    return x.dtype == np.float64


def same_shapes(kernel: str, **arrays: np.ndarray) -> None:
    """ValueError unless all the arrays have one shape."""
    (first, x), *others = arrays.items()
    for name, y in others:
        if y.shape != x.shape:
            raise ValueError(
                f"{kernel}: {name} must have the shape of {first}\n" + lined_up(**{first: x, name: y})
            )


def lined_up(**arrays: Any) -> str:
    """Names and shapes, one under the other."""
    width = max(len(name) for name in arrays)
    return "\n".join(f"  {name:<{width}}  {np.shape(x)}" for name, x in arrays.items())


def pointed_at(name: str, shape: tuple[int, ...], axis: int, width: int = 0) -> str:
    """A name with its shape, and under it a caret at one axis."""
    start = f"  {name:<{max(width, len(name))}}  "
    before = len(str((*shape[: axis % len(shape)], 0))) - len("0)")
    if axis % len(shape) == 0:
        before = 1
    return f"{start}{shape}\n{' ' * (len(start) + before)}^"


def check_axes(
    kernel: str, what: str, a: tuple[str, tuple[int, ...], int], b: tuple[str, tuple[int, ...], int],
    fix: str,
) -> None:  # fmt: skip
    """ValueError unless an axis of a is as long as an axis of b; each is (name, shape, axis)."""
    if a[1][a[2]] == b[1][b[2]]:
        return
    width = max(len(a[0]), len(b[0]))
    raise ValueError(
        f"{kernel}: {what}, and {a[1][a[2]]} is not {b[1][b[2]]}\n"
        f"{pointed_at(*a, width)}\n{pointed_at(*b, width)}\n  fix: {fix}"
    )


def check_gradient(kernel: str, dy: np.ndarray, shape: tuple[int, ...]) -> None:
    """ValueError unless dy has the shape of the forward result."""
    if dy.shape == shape:
        return
    if dy.ndim == len(shape):
        axis = next(i for i in range(len(shape)) if dy.shape[i] != shape[i])
        check_axes(
            kernel, f"dy must have the shape of the forward result; axis {axis} differs",
            ("dy", dy.shape, axis), ("result", shape, axis),
            "pass the same options (stride, padding, ...) as in the forward call",
        )  # fmt: skip
    raise ValueError(
        f"{kernel}: dy must have the shape of the forward result\n"
        + lined_up(dy=dy, result=np.empty(shape, bool))
    )


def check_ndim(kernel: str, name: str, x: Any, ndim: int, layout: str) -> None:
    """ValueError unless x has ndim axes; layout names them, as in "(N, C, H, W)"."""
    if x.ndim != ndim:
        raise ValueError(
            f"{kernel}: {name} must have {ndim} axes {layout}, and has {x.ndim}: shape {x.shape}"
        )


def check_vector(kernel: str, name: str, x: np.ndarray | None, length: int, per: str) -> None:
    """ValueError unless x is None or has the shape (length,): one value for each `per`."""
    if x is not None and x.shape != (length,):
        raise ValueError(
            f"{kernel}: {name} must have shape ({length},), one value for each {per}, and has {x.shape}"
        )


def as_int(kernel: str, name: str, value: Any, low: int, high: int | None = None) -> int:
    """The value as an int in low ... high; TypeError for other types, ValueError outside."""
    try:
        number = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{kernel}: {name} must be an integer, got {value!r} ({kind})") from None
    if number < low or (high is not None and number > high):
        span = f"at least {low}" if high is None or number < low else f"at most {high}"
        raise ValueError(f"{kernel}: {name} must be {span}, got {number}")
    return number


def as_pair(kernel: str, name: str, value: Any, low: int) -> tuple[int, int]:
    """One int for both axes, or a pair (height, width), each at least low."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{kernel}: {name} must be one integer or a pair (height, width), got {value!r}")
    height, width = (as_int(kernel, name, size, low, 2**31 - 1) for size in pair)
    return height, width


def as_number(
    kernel: str, name: str, value: Any, low: float = -np.inf, high: float = np.inf,
    *, above: bool = False, below: bool = False,
) -> float:  # fmt: skip
    """The value as a finite float in low ... high; `above`, `below` leave the bound itself out."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise TypeError(f"{kernel}: {name} must be a number, got {value!r} ({kind})") from None
    too_low = number <= low if above else number < low
    too_high = number >= high if below else number > high
    if too_low or too_high or not math.isfinite(number):
        start = f"above {low:g}" if above else f"at least {low:g}"
        end = f"below {high:g}" if below else f"at most {high:g}"
        bounds = [text for text, bound in ((start, low), (end, high)) if np.isfinite(bound)]
        raise ValueError(f"{kernel}: {name} must be {' and '.join(bounds) or 'finite'}, got {number}")
    return number


def as_axis(kernel: str, x: np.ndarray, axis: Any) -> int:
    """axis counted from the end, as -x.ndim ... -1."""
    number = as_int(kernel, "axis", axis, -(2**31))
    if not -x.ndim <= number < x.ndim:
        raise ValueError(
            f"{kernel}: axis {number} does not exist in x of shape {x.shape}, which has {x.ndim} axes"
        )
    return number if number < 0 else number - x.ndim


def check_choice(kernel: str, name: str, value: Any, choices: Any) -> None:
    """ValueError unless value is one of the choices."""
    if not isinstance(value, (str, type(None))) or value not in choices:
        options = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{kernel}: {name} must be one of {options}, got {value!r}")


def copied_into(kernel: str, out: Any, y: np.ndarray) -> np.ndarray:
    """out, holding y, after checking that it can."""
    if not isinstance(out, np.ndarray) or out.dtype != y.dtype:
        found = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"{kernel}: out must be an array of {y.dtype}, got {found}")
    if out.shape != y.shape:
        raise ValueError(f"{kernel}: out must have the shape of the result\n" + lined_up(result=y, out=out))
    if not out.flags.writeable:
        raise ValueError(f"{kernel}: out is read-only")
    out[...] = y
    return out
