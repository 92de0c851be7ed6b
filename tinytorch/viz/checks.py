"""What a picture refuses to draw, and why: every function here names the picture, the data and the cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def numbers(picture: str, name: str, values: Any, axes: tuple[str, ...] | None = None) -> np.ndarray:
    """The values as an array of floats: finite, not empty, with as many axes as named.

    Parameters
    ----------
    picture : str
        The function that draws.
    name : str
        What the values are.
    axes : names of the axes, optional
        Such as ``("in", "out")``; None takes any number.
    """
    try:
        array = np.asarray(getattr(values, "data", values) if hasattr(values, "requires_grad") else values)
        array = array.astype(float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{picture}: {name} must be numbers in rows of equal length, got {type(values).__name__}"
        ) from None
    if axes is not None and array.ndim != len(axes):
        cure = ""
        if len(axes) == 2:
            cure = "; for a convolution: weight.reshape(len(weight), -1).T" if array.ndim == 4 else (
                f"; for a single row: {name}[None]" if array.ndim == 1 else "")  # fmt: skip
        raise ValueError(f"{picture}: {name} must be ({', '.join(axes)}), got shape {array.shape}{cure}")
    if array.size == 0:
        raise ValueError(f"{picture}: {name} is empty, shape {array.shape}; there is nothing to draw")
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        at = first[0] if len(first) == 1 else first
        raise ValueError(
            f"{picture}: {name} holds {int(bad.sum())} values that are NaN or infinite, the first at {at}; "
            "find where they come from, or leave them out: values[np.isfinite(values)]"
        )
    return array


def mask(picture: str, name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The mask as booleans, of the weights' own shape."""
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(
            f"{picture}: {name} needs a mask of its shape: the weights are {shape}, the mask {array.shape}"
        )
    return array.astype(bool)


def positive(picture: str, name: str, values: Any, axis: str) -> None:
    """A logarithmic axis has no place for zero and below."""
    array = np.asarray(values, dtype=float)
    if (array <= 0).any():
        place = int(np.argmax(array <= 0))
        raise ValueError(
            f"{picture}: {name} has {array.flat[place]:g} at {place}, and a logarithmic axis starts above 0; "
            f"say {axis}='linear', or leave the value out"
        )


def not_empty(picture: str, name: str, values: Sequence[Any] | dict) -> None:
    """At least one thing to draw."""
    if len(values) == 0:
        raise ValueError(f"{picture}: no {name} to draw; give at least one")


def choice(picture: str, name: str, value: str, allowed: Sequence[str]) -> None:
    """One of a few words."""
    if value not in allowed:
        raise ValueError(f"{picture}: {name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
