"""Cross-entropy between logits and class labels."""

import numpy as np

from .softmax import log_softmax, softmax


def _wanted(logits, targets, ignore_index, label_smoothing):
    """The distribution each kept row should have, (rows, C), and which rows are kept."""
    kept = targets != ignore_index
    classes = logits.shape[1]
    wanted = np.full((int(kept.sum()), classes), label_smoothing / max(classes, 1), logits.dtype)
    wanted[np.arange(len(wanted)), targets[kept]] += 1 - label_smoothing
    return wanted, kept


@np.errstate(all="ignore")
def cross_entropy(logits, targets, ignore_index=-100, label_smoothing=0.0):
    """Mean of -sum(wanted * log_softmax(logits)) over the kept rows; NaN when there is none."""
    wanted, kept = _wanted(logits, targets, ignore_index, label_smoothing)
    logp = log_softmax(logits[kept])
    losses = np.where(wanted > 0, -wanted * logp, 0)  # 0 * inf would be NaN
    return float(np.float64(losses.sum(dtype=np.float64)) / len(wanted))


@np.errstate(all="ignore")
def cross_entropy_backward(dy, logits, targets, ignore_index=-100, label_smoothing=0.0):
    """dy is the scalar gradient of the loss -> (N, C)."""
    wanted, kept = _wanted(logits, targets, ignore_index, label_smoothing)
    dlogits = np.zeros_like(logits)
    dlogits[kept] = (softmax(logits[kept]) - wanted) * logits.dtype.type(dy / max(len(wanted), 1))
    return dlogits
