"""ReLU, sigmoid, tanh, GELU and their gradients, element by element."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, check_choice, copied_into, is_double, same_shapes
from ._registry import _C, REFUSED, alternative, replacements

__all__ = [
    "gelu",
    "gelu_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "tanh",
    "tanh_backward",
]

_FORMS = {"none": 0, "tanh": 1, "sigmoid": 2}


def _forward(kernel: str, x: Any, out: np.ndarray | None) -> np.ndarray:
    """What C refused as it was: converted, explained, or computed by something else."""
    (x,) = as_floats(kernel, x=x)
    other = alternative(kernel, is_double(x), x.shape)
    y = other(x) if other else getattr(_C, kernel)(x, None)
    return y if out is None else copied_into(kernel, out, y)


def _backward(kernel: str, out: np.ndarray | None, **inputs: Any) -> np.ndarray:
    """The same for a gradient, from dy and what else it is computed from."""
    dy, saved = as_floats(kernel, **inputs)
    same_shapes(kernel, **dict(zip(reversed(inputs), (saved, dy), strict=True)))
    other = alternative(kernel, is_double(saved), saved.shape)
    dx = other(dy, saved) if other else getattr(_C, kernel)(dy, saved, None)
    return dx if out is None else copied_into(kernel, out, dx)


def relu(x: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """max(x, 0); NaN stays NaN.

    Parameters
    ----------
    x : array, any shape
    out : array, like x, optional
        Where to write the result; x itself is allowed, other overlaps are copied.

    Returns
    -------
    array, like x
        float32, or float64 when x is float64.

    Raises
    ------
    ValueError
        When out has another shape or is read-only.
    TypeError
        For an x that is not real numbers, or an out of another dtype.
    """
    if not replacements():
        try:
            return _C.relu(x, out)
        except REFUSED:
            pass
    return _forward("relu", x, out)


def relu_backward(dy: ArrayLike, x: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The gradient of ``relu``: dy where x > 0, else 0 (at 0 and NaN too).

    Parameters
    ----------
    dy, x : array, one shape
        The gradient of the result, and what relu was given. Its result does as well.
    out : array, like x, optional

    Returns
    -------
    array, like x
    """
    if not replacements():
        try:
            return _C.relu_backward(dy, x, out)
        except REFUSED:
            pass
    return _backward("relu_backward", out, dy=dy, x=x)


def sigmoid(x: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """1 / (1 + exp(-x)): 0 at -inf (in float32 from -89 on), 1 at inf, NaN at NaN.

    Parameters, result and errors are those of ``relu``.
    """
    if not replacements():
        try:
            return _C.sigmoid(x, out)
        except REFUSED:
            pass
    return _forward("sigmoid", x, out)


def sigmoid_backward(dy: ArrayLike, y: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The gradient of ``sigmoid`` from its result y: dy * y * (1 - y).

    Parameters
    ----------
    dy, y : array, one shape
    out : array, like y, optional

    Returns
    -------
    array, like y
    """
    if not replacements():
        try:
            return _C.sigmoid_backward(dy, y, out)
        except REFUSED:
            pass
    return _backward("sigmoid_backward", out, dy=dy, y=y)


def tanh(x: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic tangent, within 4 units in the last place: -1 at -inf, 1 at inf, NaN at NaN.

    Parameters, result and errors are those of ``relu``.
    """
    if not replacements():
        try:
            return _C.tanh(x, out)
        except REFUSED:
            pass
    return _forward("tanh", x, out)


def tanh_backward(dy: ArrayLike, y: ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The gradient of ``tanh`` from its result y: dy * (1 - y^2).

    Parameters
    ----------
    dy, y : array, one shape
    out : array, like y, optional

    Returns
    -------
    array, like y
    """
    if not replacements():
        try:
            return _C.tanh_backward(dy, y, out)
        except REFUSED:
            pass
    return _backward("tanh_backward", out, dy=dy, y=y)


def gelu(x: ArrayLike, approximate: str = "none", *, out: np.ndarray | None = None) -> np.ndarray:
    """The Gaussian error linear unit, x * P(X <= x) for a standard normal X.

    Parameters
    ----------
    x : array, any shape
    approximate : "none", "tanh" or "sigmoid"
        The exact erf form; 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); x sigmoid(1.702 x).
    out : array, like x, optional
        Where to write the result; x itself is allowed, other overlaps are copied.

    Returns
    -------
    array, like x
        float32, within 1e-6 * max(1, abs(x)), or float64 when x is float64. inf gives inf; -inf
        gives NaN as in PyTorch, its product with the probability 0.

    Raises
    ------
    ValueError
        For an unknown form, or an out of another shape.
    TypeError
        For an x that is not real numbers, or an out of another dtype.

    Notes
    -----
    Hendrycks and Gimpel, "Gaussian error linear units" (2016), which gives all three forms.
    """
    if not replacements():
        try:
            return _C.gelu(x, _FORMS[approximate], out)
        except REFUSED:
            pass
    check_choice("gelu", "approximate", approximate, _FORMS)
    (x,) = as_floats("gelu", x=x)
    other = alternative("gelu", is_double(x), x.shape)
    y = other(x, approximate) if other else _C.gelu(x, _FORMS[approximate], None)
    return y if out is None else copied_into("gelu", out, y)


def gelu_backward(
    dy: ArrayLike, x: ArrayLike, approximate: str = "none", *, out: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of ``gelu`` with respect to x.

    Parameters
    ----------
    dy, x : array, one shape
        The gradient of the result, and what gelu was given.
    approximate : "none", "tanh" or "sigmoid"
    out : array, like x, optional

    Returns
    -------
    array, like x
        The slope is 1 at inf and 0 at -inf.
    """
    kernel = "gelu_backward"
    if not replacements():
        try:
            return _C.gelu_backward(dy, x, _FORMS[approximate], out)
        except REFUSED:
            pass
    check_choice(kernel, "approximate", approximate, _FORMS)
    dy, x = as_floats(kernel, dy=dy, x=x)
    same_shapes(kernel, x=x, dy=dy)
    other = alternative(kernel, is_double(x), x.shape)
    dx = other(dy, x, approximate) if other else _C.gelu_backward(dy, x, _FORMS[approximate], None)
    return dx if out is None else copied_into(kernel, out, dx)
