"""Loss functions: how far predictions are from what they should be, as one number to minimise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import kernels
from ._arrays import align_shapes, whole_numbers
from .activations import log_softmax
from .autograd import rules
from .autograd.engine import record
from .module import Module
from .tensor import Tensor, array_of, as_tensor

__all__ = [
    "BCEWithLogitsLoss",
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "log_softmax",
    "mse_loss",
]

EPSILON = 1e-7


def mse_loss(prediction: Tensor, target: Any) -> Tensor:
    """Mean of the squared differences; both of one shape."""
    target = _same_shape("MSELoss", prediction, target)
    difference = prediction.data - target.data
    return record(np.mean(difference * difference), rules.MSEBackward, prediction, target)


def l1_loss(prediction: Tensor, target: Any) -> Tensor:
    """Mean of the differences' sizes; both of one shape."""
    target = _same_shape("L1Loss", prediction, target)
    return record(np.mean(np.abs(prediction.data - target.data)), rules.L1Backward, prediction, target)


def huber_loss(prediction: Tensor, target: Any, delta: float = 1.0) -> Tensor:
    """Mean of d²/2 for differences d up to `delta`, and of delta·(|d| - delta/2) beyond; both of one shape.

    Outliers pull no harder than those at `delta`. Source: Huber 1964.
    """
    _check_delta(delta)
    target = _same_shape("HuberLoss", prediction, target)
    size = np.abs(prediction.data - target.data)
    small = np.minimum(size, delta)
    return record(np.mean(small * (size - small / 2)), rules.HuberBackward, prediction, target, delta)


def binary_cross_entropy(prediction: Tensor, target: Any) -> Tensor:
    """Mean of -target·log(p) - (1 - target)·log(1 - p), for probabilities and targets of one shape.

    Probabilities are clipped to [1e-7, 1 - 1e-7], so that being wrong with certainty has a finite cost.
    """
    target = _same_shape("BinaryCrossEntropyLoss", prediction, target)
    _check_shares("BinaryCrossEntropyLoss: prediction", prediction.data, "; apply a Sigmoid first")
    _check_shares("BinaryCrossEntropyLoss: target", target.data)
    p = np.clip(prediction.data, EPSILON, 1 - EPSILON)
    loss = -np.mean(target.data * np.log(p) + (1 - target.data) * np.log(1 - p))
    return record(loss, rules.BCEBackward, prediction, target, EPSILON)


def binary_cross_entropy_with_logits(logits: Tensor, target: Any) -> Tensor:
    """`binary_cross_entropy` of sigmoid(logits), computed without ever rounding a probability to 0 or 1."""
    target = _same_shape("BCEWithLogitsLoss", logits, target)
    _check_shares("BCEWithLogitsLoss: target", target.data)
    z, t = logits.data, target.data
    loss = np.mean(np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z))))
    return record(loss, rules.BCEWithLogitsBackward, logits, target)


def cross_entropy(
    logits: Tensor, target: Any, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Tensor:
    """Mean negative log-likelihood of the right classes under softmax(logits).

    Parameters
    ----------
    logits : Tensor, (N, C)
        Scores before softmax.
    target : Tensor or array_like, (N,) or (N, C)
        Class numbers 0 … C-1, or in each row the probabilities of all classes, as floating-point numbers.
    ignore_index : int
        Rows with this class number don't count.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, in [0, 1).
    """
    _check_smoothing(label_smoothing)
    array_of("CrossEntropyLoss", logits)
    target = target if isinstance(target, Tensor) else as_tensor(np.asarray(target))
    if target.shape == logits.shape and len(logits.shape) == 2 and target.dtype.kind == "f":
        return _cross_entropy_of_probabilities(logits, target, label_smoothing)
    labels = _as_labels(logits, target)
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
    return record(out, rules.CrossEntropyBackward, logits, labels, ignore_index, label_smoothing)


class MSELoss(Module):
    """Mean of the squared differences; see `mse_loss`."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return mse_loss(prediction, target)


class BinaryCrossEntropyLoss(Module):
    """Loss for probabilities of yes-or-no questions; see `binary_cross_entropy`."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return binary_cross_entropy(prediction, target)


class L1Loss(Module):
    """Mean of the differences' sizes; see `l1_loss`."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return l1_loss(prediction, target)


class HuberLoss(Module):
    """Squares near 0, straight lines beyond `delta`; see `huber_loss`."""

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = _check_delta(delta)

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return huber_loss(prediction, target, self.delta)


class BCEWithLogitsLoss(Module):
    """Loss for yes-or-no questions from logits; see `binary_cross_entropy_with_logits`."""

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return binary_cross_entropy_with_logits(logits, target)


class CrossEntropyLoss(Module):
    """Loss for classification from logits; see `cross_entropy`."""

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0) -> None:
        self.ignore_index, self.label_smoothing = ignore_index, _check_smoothing(label_smoothing)

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return cross_entropy(logits, target, self.ignore_index, self.label_smoothing)


def _check_delta(delta: float) -> float:
    if not 0 < delta < math.inf:
        raise ValueError(f"HuberLoss: delta must be positive and finite, got {delta}")
    return delta


def _check_smoothing(share: float) -> float:
    if not 0 <= share < 1:
        raise ValueError(f"CrossEntropyLoss: label_smoothing must lie in [0, 1), got {share}")
    return share


def _same_shape(name: str, prediction: Tensor, target: Any) -> Tensor:
    """Broadcasting would compare every prediction with every target: (4, 1) with (4,) gives 16 pairs."""
    array_of(name, prediction)
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


def _check_shares(what: str, values: np.ndarray, fix: str = "") -> None:
    wrong = ~((values >= 0) & (values <= 1))  # so that NaN is wrong, too
    if wrong.any():
        raise ValueError(f"{what} must lie in [0, 1], found {values[wrong].flat[0]:g}{fix}")


def _cross_entropy_of_probabilities(logits: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
    """For targets (N, C) that say how likely each class is."""
    rows, classes = logits.shape
    if rows == 0:
        raise ValueError("CrossEntropyLoss: the mean over no rows is undefined")
    _check_shares("CrossEntropyLoss: target probabilities", target.data)
    totals = target.data.sum(axis=1)
    if (off := np.abs(totals - 1) > 1e-3).any():
        row = int(off.argmax())
        raise ValueError(
            f"CrossEntropyLoss: the target probabilities in row {row} add up to {totals[row]:g}, not to 1"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    return -(log_softmax(logits) * target).sum() / rows


def _as_labels(logits: Tensor, target: Tensor) -> np.ndarray:
    """The classes as int64 (N,), for logits (N, C)."""
    labels = target.data
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
