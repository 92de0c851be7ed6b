"""Cross-entropy and its gradient, straight from logits."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, as_int, as_number, check_axes, check_ndim, copied_into, is_double
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["cross_entropy", "cross_entropy_backward"]


def _checked(
    kernel: str, logits: Any, targets: Any, ignore_index: Any, label_smoothing: Any
) -> tuple[np.ndarray, np.ndarray, int, float]:
    (logits,) = as_floats(kernel, logits=logits)
    check_ndim(kernel, "logits", logits, 2, "(N, C)")
    targets = np.asarray(targets)
    if targets.dtype.kind not in "iu" and targets.size:
        raise TypeError(
            f"{kernel}: targets must be integers, the index of each row's class, and are {targets.dtype}"
        )
    if targets.ndim != 1:
        hint = "; pass class indices, one-hot rows become them by argmax(axis=1)"
        raise ValueError(
            f"{kernel}: targets must have 1 axis (N,), and have shape {targets.shape}"
            + (hint if targets.shape == logits.shape else "")
        )
    check_axes(
        kernel, "logits and targets must have the same number of rows",
        ("logits", logits.shape, 0), ("targets", targets.shape, 0), "one target for each row",
    )  # fmt: skip
    targets = np.require(targets, np.int64, ["C", "A"])
    ignore_index = as_int(kernel, "ignore_index", ignore_index, -(2**63), 2**63 - 1)
    wrong = ((targets < 0) | (targets >= logits.shape[1])) & (targets != ignore_index)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{kernel}: target {targets[row]} in row {row} is not a class; logits {logits.shape} "
            f"have classes 0 ... {logits.shape[1] - 1} (ignore_index is {ignore_index})"
        )
    smoothing = as_number(kernel, "label_smoothing", label_smoothing, 0, 1)
    return logits, targets, ignore_index, smoothing


def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> float:
    """The mean of -log(softmax(logits)[target]) over the rows.

    Parameters
    ----------
    logits : array, (N, C)
        Scores before any softmax.
    targets : array of int, (N,)
        The index of each row's class, 0 ... C - 1.
    ignore_index : int
        Rows with this target do not count.
    label_smoothing : float
        In 0 ... 1: the share of the wanted probability spread evenly over all classes.

    Returns
    -------
    float
        In nats, within 1e-6 * max(1, abs(x)). NaN when no row counts, and where a row that counts
        holds NaN or inf, as in PyTorch; a logit of -inf is a class of probability 0.

    Raises
    ------
    ValueError
        When shapes do not fit, or a target is not a class; the message names the row.
    TypeError
        When targets are not integers.
    """
    kernel = "cross_entropy"
    if not replacements():
        try:
            return _C.cross_entropy(logits, targets, ignore_index, label_smoothing)
        except REFUSED:
            pass
    arguments = _checked(kernel, logits, targets, ignore_index, label_smoothing)
    other = alternative(kernel, is_double(arguments[0]), ())
    return float((other or _C.cross_entropy)(*arguments))


def cross_entropy_backward(
    dy: float,
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The gradient of ``cross_entropy`` with respect to the logits.

    Parameters
    ----------
    dy : float
        The gradient of the loss.
    logits, targets, ignore_index, label_smoothing
        What cross_entropy was given.
    out : array, like logits, optional
        Where to write the result; logits itself is allowed, other overlaps are copied.

    Returns
    -------
    array, (N, C)
        dy * (softmax(logits) - wanted) / rows that count; 0 in the others.
    """
    kernel = "cross_entropy_backward"
    if not replacements():
        try:
            return _C.cross_entropy_backward(dy, logits, targets, ignore_index, label_smoothing, out)
        except REFUSED:
            pass
    arguments = _checked(kernel, logits, targets, ignore_index, label_smoothing)
    try:
        dy = float(dy)
    except (TypeError, ValueError):
        raise TypeError(f"{kernel}: dy must be one number, the gradient of the loss") from None
    logits = arguments[0]
    other = alternative(kernel, is_double(logits), logits.shape)
    dlogits = other(dy, *arguments) if other else _C.cross_entropy_backward(dy, *arguments, None)
    return dlogits if out is None else copied_into(kernel, out, dlogits)
