"""What the layers for images (N, C, H, W) share: arguments checked, and zeros put around images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .autograd.engine import Function, record
from .tensor import Tensor

Pair = int | tuple[int, int]


def pair(name: str, what: str, value: Any, least: int = 1) -> tuple[int, int]:
    """One whole number for height and width, or the two of them, each at least `least`.

    Raises ValueError, naming the layer and the argument, for anything else.
    """
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sizes) != 2:
        raise ValueError(f"{name}: {what} is a number or (height, width), not {value!r}")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < least:
            raise ValueError(f"{name}: {what} must be whole and at least {least}, got {value!r}")
    return int(sizes[0]), int(sizes[1])


def check_images(name: str, x: Any, channels: int | None = None) -> None:
    """Raise, naming the layer, unless x is a tensor (N, C, H, W) with that many channels."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(x).__name__}; wrap it: Tensor(x)")
    if x.ndim != 4:
        fix = "; add the batch axis with x.unsqueeze(0)" if x.ndim == 3 else ""
        raise ValueError(f"{name}: expected a 4-D input (batch, channels, height, width), got {x.shape}{fix}")
    if channels is not None and x.shape[1] != channels:
        fix = "; is it channels-last? Then use x.permute(0, 3, 1, 2)" if x.shape[3] == channels else ""
        raise ValueError(f"{name}: expected {channels} channels on axis 1, but x has shape {x.shape}{fix}")


class PadBackward(Function):
    """Zeros around images: the gradient of what lies inside them"""

    reads_inputs = False

    def __init__(self, x: Tensor, top: int, left: int) -> None:
        super().__init__(x)
        self.corner = top, left

    def backward(self, grad: np.ndarray) -> np.ndarray:
        top, left = self.corner
        height, width = self.input_shape()[2:]
        return np.ascontiguousarray(grad[:, :, top : top + height, left : left + width])


def pad_images(x: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """x (N, C, H, W) with that many rows and columns of zeros around each image."""
    y = np.pad(x.data, ((0, 0), (0, 0), (top, bottom), (left, right)))
    return record(y, PadBackward, x, top, left)
