"""GELU and its gradient. ReLU and its like are one NumPy call and need no kernel."""

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, check_choice, is_double, same_shapes
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["gelu", "gelu_backward"]

_FORMS = {"none": 0, "tanh": 1, "sigmoid": 2}


def gelu(x: ArrayLike, approximate: str = "none") -> np.ndarray:
    """The Gaussian error linear unit, x * P(X <= x) for a standard normal X.

    Parameters
    ----------
    x : array, any shape
    approximate : "none", "tanh" or "sigmoid"
        The exact erf form; 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); x sigmoid(1.702 x).

    Returns
    -------
    array, like x
        float32, or float64 when x is float64.

    Raises
    ------
    ValueError
        For an unknown form.
    TypeError
        For an x that is not real numbers.

    Notes
    -----
    Hendrycks and Gimpel, "Gaussian error linear units" (2016), which gives all three forms.
    """
    if not replacements():
        try:
            return _C.gelu(x, _FORMS[approximate])
        except REFUSED:
            pass
    check_choice("gelu", "approximate", approximate, _FORMS)
    (x,) = as_floats("gelu", x=x)
    other = alternative("gelu", is_double(x), x.shape)
    return other(x, approximate) if other else _C.gelu(x, _FORMS[approximate])


def gelu_backward(dy: ArrayLike, x: ArrayLike, approximate: str = "none") -> np.ndarray:
    """The gradient of ``gelu`` with respect to x.

    Parameters
    ----------
    dy, x : array, one shape
        The gradient of the result, and what gelu was given.
    approximate : "none", "tanh" or "sigmoid"

    Returns
    -------
    array, like x
    """
    check_choice("gelu_backward", "approximate", approximate, _FORMS)
    dy, x = as_floats("gelu_backward", dy=dy, x=x)
    same_shapes("gelu_backward", x=x, dy=dy)
    other = alternative("gelu_backward", is_double(x), x.shape)
    return other(dy, x, approximate) if other else _C.gelu_backward(dy, x, _FORMS[approximate])
