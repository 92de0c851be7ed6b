"""Test a gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .engine import no_grad


def gradcheck(
    function: Callable, inputs: Sequence, *, eps: float = 1e-6, rtol: float = 1e-4, atol: float = 1e-7
) -> bool:
    """Compare the gradients of `function` with central differences in float64.

    Parameters
    ----------
    function : callable
        Takes the inputs, returns one tensor of any shape. It must give the same result each time.
    inputs : sequence of Tensor
        Those with `requires_grad` are checked, and must be float64.
    eps, rtol, atol : float
        Step of the differences, and how far the two may be apart: ``atol + rtol·max|difference quotient|``.

    Returns
    -------
    bool
        True.

    Raises
    ------
    AssertionError
        If a gradient is off; says for which input and element.
    """
    checked = [(i, tensor) for i, tensor in enumerate(inputs) if getattr(tensor, "requires_grad", False)]
    for i, tensor in checked:
        if tensor.dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} is {tensor.dtype}; make it with dtype=np.float64")
        tensor.grad = None
    out = function(*inputs)
    weights = np.random.default_rng(0).standard_normal(
        out.shape
    )  # one random direction tests the whole Jacobian
    out.backward(weights)

    def value() -> float:
        with no_grad():
            return float((function(*inputs).data * weights).sum())

    for i, tensor in checked:
        analytic = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        numeric = np.empty(tensor.shape)
        for index in np.ndindex(tensor.shape):
            original = tensor.data[index]
            tensor.data[index] = original + eps
            above = value()
            tensor.data[index] = original - eps
            numeric[index] = (above - value()) / (2 * eps)
            tensor.data[index] = original
        error = np.abs(analytic - numeric)
        if not np.all(error <= atol + rtol * np.abs(numeric).max(initial=0)):
            worst = np.unravel_index(np.argmax(error), error.shape)
            raise AssertionError(
                f"gradcheck: input {i}, element {tuple(int(k) for k in worst)}: "
                f"backward gives {analytic[worst]:.8g}, differences give {numeric[worst]:.8g}"
            )
    return True
