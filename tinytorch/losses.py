"""Loss functions: how far predictions are from what they should be, as one number to minimise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import kernels
from ._arrays import align_shapes, whole_numbers
from .activations import log_softmax
from .autograd.engine import record
from .autograd.rules import BCEBackward, CrossEntropyBackward, MSEBackward
from .module import Module
from .tensor import Tensor

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "MSELoss",
    "binary_cross_entropy",
    "cross_entropy",
    "log_softmax",
    "mse_loss",
]

EPSILON = 1e-7


def mse_loss(prediction: Tensor, target: Any) -> Tensor:
    """Mean of the squared differences; both of one shape."""
    target = _same_shape("MSELoss", prediction, target)
    difference = prediction.data - target.data
    return record(np.mean(difference * difference), MSEBackward, prediction, target)


def binary_cross_entropy(prediction: Tensor, target: Any) -> Tensor:
    """Mean of -target·log(p) - (1 - target)·log(1 - p), for probabilities and targets of one shape.

    Probabilities are clipped to [1e-7, 1 - 1e-7], so that being wrong with certainty has a finite cost.
    """
    target = _same_shape("BinaryCrossEntropyLoss", prediction, target)
    for name, values in (("prediction", prediction.data), ("target", target.data)):
        if ((values < 0) | (values > 1)).any():
            low, high = values.min(), values.max()
            fix = "; apply a Sigmoid first" if name == "prediction" else ""
            raise ValueError(
                f"BinaryCrossEntropyLoss: {name} must lie in [0, 1], found {low:g} … {high:g}{fix}"
            )
    p = np.clip(prediction.data, EPSILON, 1 - EPSILON)
    loss = -np.mean(target.data * np.log(p) + (1 - target.data) * np.log(1 - p))
    return record(loss, BCEBackward, prediction, target, EPSILON)


def cross_entropy(
    logits: Tensor, target: Any, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Tensor:
    """Mean negative log-likelihood of the right classes under softmax(logits).

    Parameters
    ----------
    logits : Tensor, (N, C)
        Scores before softmax.
    target : Tensor or array_like, (N,)
        Class numbers 0 … C-1.
    ignore_index : int
        Rows with this target don't count.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, in [0, 1).
    """
    labels = _as_labels(logits, target)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"CrossEntropyLoss: label_smoothing must lie in [0, 1), got {label_smoothing}")
    try:
        loss = kernels.cross_entropy(
            logits.data, labels, ignore_index=ignore_index, label_smoothing=label_smoothing
        )
    except ValueError:
        _check_range(labels, logits.shape[1], ignore_index)
        raise
    if math.isnan(loss) and (labels == ignore_index).all():
        raise ValueError(
            "CrossEntropyLoss: the mean over no rows is undefined (every row is ignored, or there is none)"
        )
    out = np.asarray(loss, dtype=logits.dtype)
    return record(out, CrossEntropyBackward, logits, labels, ignore_index, label_smoothing)


class MSELoss(Module):
    """Mean of the squared differences; see `mse_loss`."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return mse_loss(prediction, target)


class BinaryCrossEntropyLoss(Module):
    """Loss for probabilities of yes-or-no questions; see `binary_cross_entropy`."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return binary_cross_entropy(prediction, target)


class CrossEntropyLoss(Module):
    """Loss for classification from logits; see `cross_entropy`."""

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0) -> None:
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return cross_entropy(logits, target, self.ignore_index, self.label_smoothing)


def _same_shape(name: str, prediction: Tensor, target: Any) -> Tensor:
    """Broadcasting would compare every prediction with every target: (4, 1) with (4,) gives 16 pairs."""
    if not isinstance(target, Tensor):
        target = Tensor(target)
    if prediction.shape != target.shape:
        fix = (
            f"target.reshape{prediction.shape}"
            if prediction.size == target.size
            else "the same number of elements"
        )
        raise ValueError(
            f"{name}: prediction (first) and target (second) must have one shape:\n"
            f"{align_shapes(prediction.shape, target.shape)}\nLikely fix: {fix}"
        )
    if prediction.size == 0:
        raise ValueError(f"{name}: the mean over no elements is undefined (shape {prediction.shape})")
    return target if target.dtype.kind == "f" else target.astype(prediction.dtype)


def _as_labels(logits: Tensor, target: Any) -> np.ndarray:
    """The classes as int64 (N,), for logits (N, C)."""
    labels = target.data if isinstance(target, Tensor) else np.asarray(target)
    if len(logits.shape) != 2 or labels.shape != logits.shape[:1]:
        fix = "reshape logits to (N, C) and target to (N,)"
        if labels.shape == logits.shape:
            fix = "target needs class numbers, not one-hot rows: use target.argmax(axis=1)"
        raise ValueError(
            f"CrossEntropyLoss: logits (N, C) and target (N,) are {logits.shape} and {labels.shape}; {fix}"
        )
    return whole_numbers(labels, "CrossEntropyLoss: class labels").astype(np.int64, copy=False)


def _check_range(labels: np.ndarray, classes: int, ignore_index: int) -> None:
    wrong = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"CrossEntropyLoss: label {labels[row]} in row {row} is not a class: "
            f"{classes} logits allow labels 0 … {classes - 1}"
        )
