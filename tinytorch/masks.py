"""What attention may look at: masks that keep, masks that are added to the scores, and padding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tensor import Tensor

Mask = NDArray[Any]  # booleans, True keeps; or floats, added to the scores


def as_mask(mask: Any, scores_shape: tuple[int, ...]) -> Mask:
    """Return a mask as booleans (True keeps) or floats (added), with as many axes as the scores.

    Booleans keep where they are True, numbers that are all 0 or 1 where they are 1. Other floats are added
    to the scores: 0 leaves a score alone, -inf blocks it.

    Parameters
    ----------
    mask : Tensor or array, broadcast to the scores
    scores_shape : tuple
        (..., T, S): queries, keys.

    Raises
    ------
    ValueError
        It doesn't fit the scores, or holds NaN, +inf, or whole numbers other than 0 and 1.
    """
    values = np.asarray(mask.data if isinstance(mask, Tensor) else mask)
    if not _broadcasts(values.shape, scores_shape):
        raise ValueError(
            f"attention: the mask doesn't fit the scores.\n"
            f"  mask   {np.shape(mask)}\n"
            f"  scores {scores_shape}\n"
            "The last two axes are (queries, keys); an axis of 1 serves all. "
            "What says which tokens are padding, (batch, time), goes to padding_mask."
        )
    values = values.reshape((1,) * (len(scores_shape) - values.ndim) + values.shape)
    if values.dtype == bool:
        return values
    keep = values.astype(bool)
    if np.array_equal(keep, values):
        if values.dtype.kind == "f" and values.size and not keep.any():
            warnings.warn(
                "attention: this mask is 0 everywhere, so it blocks everything (1 keeps, 0 blocks). If it "
                "was to be added to the scores, leave it out; if blocking is meant, use a boolean mask.",
                stacklevel=2,
            )
        return keep
    if values.dtype.kind != "f":
        raise ValueError(
            "attention: a mask of whole numbers holds 1 (keep) and 0 (block) only, but this one has other "
            f"values, such as {values[keep != values][0]}. From token ids, make one by ids != pad_id."
        )
    if not (values < np.inf).all():
        raise ValueError(
            "attention: a mask that is added to the scores can't hold NaN or +inf; -inf blocks a position. "
            "(0 * -inf is NaN: use np.where(keep, 0, -np.inf).)"
        )
    return values


def as_padding_mask(padding_mask: Any, batch: int, steps: int) -> NDArray[np.bool_]:
    """Return (B, T), 1 for a token and 0 for padding, as booleans (B, 1, 1, T) that fit the scores."""
    values = np.asarray(padding_mask.data if isinstance(padding_mask, Tensor) else padding_mask)
    if values.shape != (batch, steps):
        raise ValueError(
            f"attention: padding_mask must have shape (batch, time) = {batch, steps}, got {values.shape}. "
            "It says which keys are tokens; a mask of (queries, keys) goes to mask."
        )
    keep = values.astype(bool)
    if not np.array_equal(keep, values):
        raise ValueError(
            "attention: padding_mask holds 1 for a token and 0 for padding, but this one has other values, "
            f"such as {values[keep != values][0]}. From token ids, make it by ids != pad_id."
        )
    return keep[:, None, None]


def with_head_axis(mask: Any) -> Any:
    """Give a (B, T, S) mask the head axis that it lacks."""
    if np.ndim(mask) != 3:
        return mask
    mask = mask if isinstance(mask, Tensor) else np.asarray(mask)
    return mask.reshape(mask.shape[0], 1, *mask.shape[1:])


def both(mask: Mask | None, keep: NDArray[np.bool_]) -> Mask:
    """Return a mask that also blocks where `keep` is False."""
    if mask is None:
        return keep
    return mask & keep if mask.dtype == bool else np.where(keep, mask, -np.inf)


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of this shape fits the target's without changing it."""
    return len(shape) <= len(target) and all(
        size in (1, full) for size, full in zip(reversed(shape), reversed(target), strict=False)
    )
