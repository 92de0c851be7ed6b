"""What makes a tensor at home in NumPy and in notebooks."""

from __future__ import annotations

import operator
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from .autograd.engine import is_grad_enabled

# NumPy's functions that tensors have themselves, with their gradients.
COUNTERPARTS: dict[np.ufunc, Callable] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.true_divide: operator.truediv,
    np.power: operator.pow,
    np.matmul: operator.matmul,
    np.negative: operator.neg,
    np.absolute: operator.abs,
    np.equal: operator.eq,
    np.not_equal: operator.ne,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.exp: lambda x: x.exp(),
    np.log: lambda x: x.log(),
    np.sqrt: lambda x: x.sqrt(),
    np.tanh: lambda x: x.tanh(),
}
SHOWN = 8  # rows and columns of a tensor in a notebook


def apply_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple, options: dict[str, Any], convert: Callable[[Any], Any]
) -> Any:
    """A NumPy function on tensors: its counterpart here, or NumPy's own where no gradient is lost.

    Parameters
    ----------
    ufunc, method, inputs, options
        As NumPy gives them to ``__array_ufunc__``.
    convert : callable
        Makes a tensor of an array or a number.

    Raises
    ------
    RuntimeError
        If a gradient would be lost.
    """
    like = next(value for value in (*inputs, *options.get("out", ())) if hasattr(value, "requires_grad"))
    if method == "__call__" and not options and ufunc in COUNTERPARTS:
        return COUNTERPARTS[ufunc](*map(convert, inputs))  # an array's operator would come back here
    if is_grad_enabled() and any(getattr(value, "requires_grad", False) for value in inputs):
        raise RuntimeError(
            f"np.{ufunc.__name__} would lose the gradient of a tensor: use the tensor's own operations, "
            "or pass .detach()"
        )
    arrays = [value.data if hasattr(value, "requires_grad") else value for value in inputs]
    if "out" in options:
        options["out"] = tuple(o.data if hasattr(o, "requires_grad") else o for o in options["out"])
    result = getattr(ufunc, method)(*arrays, **options)
    return like._wrap(result) if isinstance(result, (np.ndarray, np.generic)) else result


def describe_html(tensor: Any) -> str:
    """What a tensor is, and its first values as a table, for notebooks."""
    array = tensor.data
    about = [f"Tensor {array.shape}", str(array.dtype)]
    if tensor.requires_grad:
        about.append("requires a gradient")
    if tensor._grad_fn is not None:
        about.append(f"made by {type(tensor._grad_fn).__name__.removesuffix('Backward')}")
    if array.size and array.dtype.kind in "iuf":
        about.append(f"{array.min():.4g} to {array.max():.4g}, mean {array.mean():.4g}")
    if array.ndim > 2:
        about.append(f"the first of {array.size // max(array[(0,) * (array.ndim - 2)].size, 1)} matrices")
        array = array[(0,) * (array.ndim - 2)] if array.size else array.reshape(0, 0)
    table = np.atleast_2d(array)
    rows = [_row(row) for row in table[:SHOWN]]
    if len(table) > SHOWN:
        rows.append("<tr><td>⋮</td></tr>")
    return f"<div>{escape(' · '.join(about))}<table>{''.join(rows)}</table></div>"


def _row(row: np.ndarray) -> str:
    cells = [f"{value:.4g}" if row.dtype.kind == "f" else str(value) for value in row[:SHOWN]]
    cells += ["…"] * (len(row) > SHOWN)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
