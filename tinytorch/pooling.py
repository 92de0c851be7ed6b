"""Pooling: one value for each window of an image, the largest or the mean. Arrays are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import kernels
from ._arrays import as_float
from ._images import Pair, check_images, pad_images, pair
from .autograd.engine import Function, is_grad_enabled, record
from .module import Module
from .tensor import Tensor

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "AvgPool2dBackward",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "MaxPool2d",
    "MaxPool2dBackward",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "max_pool2d",
]


# --------------------------------------------------------------------------------------------------
# Windows that move over an image
# --------------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    """How a window moves along one axis of an image."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    windows: int

    @property
    def beyond(self) -> int:
        """How far the last window reaches over the padding, as it can with ceil_mode."""
        reach = (self.windows - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return max(0, reach - self.size - 2 * self.padding)

    def taps(self) -> list[slice]:
        """For each element of the window, all that it meets on the padded axis."""
        steps = (self.windows - 1) * self.stride + 1
        return [slice(k * self.dilation, k * self.dilation + steps, self.stride) for k in range(self.kernel)]

    def covered(self, count_include_pad: bool) -> np.ndarray:
        """How many elements each window averages over."""
        start = np.arange(self.windows) * self.stride - self.padding
        end = start + self.kernel
        if count_include_pad:
            return np.minimum(end, self.size + self.padding) - start
        return np.minimum(end, self.size) - np.maximum(start, 0)


def _spans(
    name: str, x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil: bool
) -> list[_Span]:
    """The window's way along height and width. The number of windows is PyTorch's."""
    kernel = pair(name, "kernel_size", kernel_size)
    step = kernel if stride is None else pair(name, "stride", stride)
    border = pair(name, "padding", padding, 0)
    distance = pair(name, "dilation", dilation)
    spans = []
    for axis, what in enumerate(("height", "width")):
        k, s, p, d = kernel[axis], step[axis], border[axis], distance[axis]
        size = x.shape[2 + axis]
        if 2 * p > k:
            raise ValueError(
                f"{name}: padding {p} is more than half of the kernel's {what} {k}, so a window would hold "
                "nothing but padding"
            )
        room = size + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= size + p:
            count -= 1  # it would start beyond the image
        if count < 1:
            raise ValueError(
                f"{name}: a window of {what} {d * (k - 1) + 1} does not fit into the input {x.shape} with "
                f"padding {p}; take a smaller kernel_size or dilation"
            )
        spans.append(_Span(size, k, s, p, d, count))
    return spans


class MaxPool2dBackward(Function):
    """Maximum over windows: the gradient goes to the first maximum of each."""

    owns_gradients = True

    def __init__(
        self,
        x: Tensor,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        places: np.ndarray | None = None,
    ) -> None:
        super().__init__(x)
        self.window = kernel_size, stride, padding
        self.places = places

    def backward(self, grad: np.ndarray) -> np.ndarray:
        x = self.saved_tensors[0].data
        return kernels.max_pool2d_backward(grad, x, *self.window, places=self.places)


class SpreadMaxPool2dBackward(Function):
    """Maximum over windows with gaps, or that reach over the border: as above, tap by tap"""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, x: Tensor, spans: list[_Span], winner: np.ndarray) -> None:
        super().__init__(x)
        self.spans, self.winner = spans, winner

    def backward(self, grad: np.ndarray) -> np.ndarray:
        rows, columns = self.spans
        n, c, height, width = self.input_shape()
        top, left = rows.padding, columns.padding
        shape = (n, c, height + 2 * top + rows.beyond, width + 2 * left + columns.beyond)
        dpadded = np.zeros(shape, grad.dtype)
        for number, tap in enumerate(_taps(rows, columns)):
            dpadded[tap] += np.where(self.winner == number, grad, 0)
        return np.ascontiguousarray(dpadded[:, :, top : top + height, left : left + width])


def _taps(rows: _Span, columns: _Span) -> Iterator[tuple[slice, ...]]:
    whole = slice(None)
    return ((whole, whole, row, column) for row in rows.taps() for column in columns.taps())


def _max_pool_by_taps(x: np.ndarray, rows: _Span, columns: _Span) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each window, and the number of the tap that met it."""
    border = [(span.padding, span.padding + span.beyond) for span in (rows, columns)]
    if x.dtype.kind != "f":
        x = x.astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), *border), constant_values=-np.inf)
    first, *others = _taps(rows, columns)
    y = padded[first].copy()
    winner = np.zeros(y.shape, np.int32)
    for number, tap in enumerate(others, 1):
        value = padded[tap]
        better = (value > y) | (np.isnan(value) & ~np.isnan(y))
        np.copyto(y, value, where=better)
        winner[better] = number
    return y, winner


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest value of each window; see `MaxPool2d`. x (N, C, H, W) → (N, C, OH, OW)"""
    check_images("max_pool2d", x)
    if dilation in (1, (1, 1)) and not ceil_mode:
        window, places = (kernel_size, stride, padding), None
        if x.requires_grad and is_grad_enabled():
            y, places = kernels.max_pool2d_with_places(x.data, *window)
        else:
            y = kernels.max_pool2d(x.data, *window)
        return record(y, MaxPool2dBackward, x, *window, places)
    spans = _spans("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    y, winner = _max_pool_by_taps(x.data, *spans)
    return record(y, SpreadMaxPool2dBackward, x, spans, winner)


class AvgPool2dBackward(Function):
    """Mean over windows: the gradient spreads evenly over each."""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__(x)
        self.window = kernel_size, stride, padding

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.avg_pool2d_backward(grad, self.input_shape(), *self.window)


def avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; see `AvgPool2d`. x (N, C, H, W) → (N, C, OH, OW)"""
    check_images("avg_pool2d", x)
    if not ceil_mode and (count_include_pad or padding in (0, (0, 0))):
        return _mean_of_windows(x, kernel_size, stride, padding)
    rows, columns = _spans("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    if rows.beyond or columns.beyond:
        x = pad_images(x, 0, rows.beyond, 0, columns.beyond)
    y = _mean_of_windows(x, kernel_size, stride, padding)
    covered = np.outer(rows.covered(count_include_pad), columns.covered(count_include_pad))
    return y * Tensor._wrap((rows.kernel * columns.kernel / covered).astype(y.dtype))


def _mean_of_windows(x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair) -> Tensor:
    y = kernels.avg_pool2d(x.data, kernel_size, stride, padding)
    return record(y, AvgPool2dBackward, x, kernel_size, stride, padding)


class _Pool2d(Module):
    def __init__(
        self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, *, ceil_mode: bool = False
    ) -> None:
        name = type(self).__name__
        pair(name, "kernel_size", kernel_size)
        self.kernel_size, self.padding, self.ceil_mode = kernel_size, padding, ceil_mode
        self.stride = kernel_size if stride is None else stride
        pair(name, "stride", self.stride)
        pair(name, "padding", padding, 0)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + (", ceil_mode=True" if self.ceil_mode else "")


class MaxPool2d(_Pool2d):
    """The largest value of each window.

    Parameters
    ----------
    kernel_size : int or (height, width)
    stride : int or (height, width), optional
        Steps of the window; its own size when left out.
    padding : int or (height, width)
        Rows and columns around the image that count as -inf; at most half of `kernel_size`.
    dilation : int or (height, width)
        Distance between the window's elements.
    ceil_mode : bool
        Whether a last window may reach over the border, as long as it starts inside.

    Notes
    -----
    The gradient goes to the first of several equal maxima. Dilation and `ceil_mode` run in NumPy, the rest in
    the compiled kernel.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        pair("MaxPool2d", "dilation", dilation)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, C, OH, OW)"""
        check_images("MaxPool2d", x)
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.dilation in (1, (1, 1)) else f", dilation={self.dilation}")


class AvgPool2d(_Pool2d):
    """The mean of each window.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As for `MaxPool2d`; padding counts as zeros.
    count_include_pad : bool
        Whether the mean counts the padding; otherwise it is over what lies inside the image.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.windows_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, C, OH, OW)"""
        check_images("AvgPool2d", x)
        window = self.kernel_size, self.stride, self.padding
        return avg_pool2d(x, *window, self.ceil_mode, self.windows_include_pad)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.windows_include_pad else ", count_include_pad=False")


# --------------------------------------------------------------------------------------------------
# Windows that share out an image of any size
# --------------------------------------------------------------------------------------------------

OutputSize = int | tuple[int | None, int | None] | None


class _Bin(NamedTuple):
    """Where one window's value goes, and the part of the image that it covers."""

    place: tuple[int, int]
    rows: slice
    columns: slice

    def of(self, array: np.ndarray) -> np.ndarray:
        return array[:, :, self.rows, self.columns]


def _shares(size: int, count: int) -> list[slice]:
    """`count` windows over an axis: window i from ⌊i·size/count⌋ to ⌈(i + 1)·size/count⌉, as in PyTorch."""
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _bins(rows: list[slice], columns: list[slice]) -> list[_Bin]:
    return [_Bin((i, j), row, column) for i, row in enumerate(rows) for j, column in enumerate(columns)]


def _output_size(name: str, value: Any) -> tuple[Any, Any]:
    """(height, width) of the result, checked; None stands for that of the image."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sizes) != 2:
        raise ValueError(f"{name}: output_size is a number or (height, width), not {value!r}")
    for size in sizes:
        if size is not None:
            pair(name, "output_size", size)
    return sizes


def _shared_out(name: str, x: Tensor, output_size: OutputSize) -> tuple[list[slice], list[slice]]:
    """The windows along height and width."""
    check_images(name, x)
    height, width = x.shape[2:]
    if not height or not width:
        raise ValueError(f"{name}: images without pixels have nothing to pool: {x.shape}")
    rows, columns = _output_size(name, output_size)
    return _shares(height, rows or height), _shares(width, columns or width)


def _even(rows: list[slice], columns: list[slice]) -> tuple[int, int] | None:
    """The windows' size, if they lie side by side and are alike; then the compiled kernels know them."""
    size = rows[0].stop, columns[0].stop
    even = size[0] * len(rows) == rows[-1].stop and size[1] * len(columns) == columns[-1].stop
    return size if even else None


class AdaptiveAvgPool2dBackward(Function):
    """Mean over the windows that share out an image: the gradient spreads evenly over each."""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, x: Tensor, bins: list[_Bin]) -> None:
        super().__init__(x)
        self.bins = bins

    def backward(self, grad: np.ndarray) -> np.ndarray:
        dx = np.zeros(self.input_shape(), grad.dtype)
        for bin in self.bins:
            i, j = bin.place
            window = bin.of(dx)
            window += (grad[:, :, i, j] / (window.shape[2] * window.shape[3]))[:, :, None, None]
        return dx


class AdaptiveMaxPool2dBackward(Function):
    """Maximum over the windows that share out an image: the gradient goes to the first maximum of each."""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, x: Tensor, bins: list[_Bin], winner: np.ndarray) -> None:
        super().__init__(x)
        self.bins, self.winner = bins, winner

    def backward(self, grad: np.ndarray) -> np.ndarray:
        n, c, height, width = self.input_shape()
        dx = np.zeros((n, c, height, width), grad.dtype)
        image, channel = np.ogrid[:n, :c]
        for bin in self.bins:
            i, j = bin.place
            row, column = np.divmod(self.winner[:, :, i, j], bin.columns.stop - bin.columns.start)
            bin.of(dx)[image, channel, row, column] += grad[:, :, i, j]
        return dx


def adaptive_avg_pool2d(x: Tensor, output_size: OutputSize) -> Tensor:
    """The means of windows that share out the image; see `AdaptiveAvgPool2d`."""
    rows, columns = _shared_out("adaptive_avg_pool2d", x, output_size)
    if even := _even(rows, columns):
        return _mean_of_windows(x, even, None, 0)
    bins = _bins(rows, columns)
    y = np.empty((*x.shape[:2], len(rows), len(columns)), as_float(x.data[:0]).dtype)
    for bin in bins:
        i, j = bin.place
        y[:, :, i, j] = bin.of(x.data).mean(axis=(2, 3))
    return record(y, AdaptiveAvgPool2dBackward, x, bins)


def adaptive_max_pool2d(x: Tensor, output_size: OutputSize) -> Tensor:
    """The maxima of windows that share out the image; see `AdaptiveMaxPool2d`."""
    rows, columns = _shared_out("adaptive_max_pool2d", x, output_size)
    if even := _even(rows, columns):
        return max_pool2d(x, even)
    bins = _bins(rows, columns)
    shape = *x.shape[:2], len(rows), len(columns)
    y, winner = np.empty(shape, as_float(x.data[:0]).dtype), np.empty(shape, np.int64)
    for bin in bins:
        i, j = bin.place
        window = bin.of(x.data).reshape(*x.shape[:2], -1)
        winner[:, :, i, j] = window.argmax(axis=2)
        y[:, :, i, j] = window.max(axis=2)
    return record(y, AdaptiveMaxPool2dBackward, x, bins, winner)


class _AdaptivePool2d(Module):
    def __init__(self, output_size: OutputSize) -> None:
        _output_size(type(self).__name__, output_size)
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """Means of as many windows as are asked for, whatever the size of the image.

    Window i of n covers the rows from ⌊i·H/n⌋ to ⌈(i + 1)·H/n⌉, and likewise the columns, as in PyTorch.

    Parameters
    ----------
    output_size : int or (height, width)
        Windows along each axis; None for as many as the image has pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, C, *output_size)"""
        check_images("AdaptiveAvgPool2d", x)
        return adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """Maxima of as many windows as are asked for; `AdaptiveAvgPool2d` says which windows."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, C, *output_size)"""
        check_images("AdaptiveMaxPool2d", x)
        return adaptive_max_pool2d(x, self.output_size)


class GlobalAvgPool2d(Module):
    """The mean of each channel: (N, C, H, W) → (N, C, 1, 1). `Flatten` behind it gives (N, C).

    Source: Lin, Chen and Yan, "Network in network" (2013).
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, C, 1, 1)"""
        check_images("GlobalAvgPool2d", x)
        return adaptive_avg_pool2d(x, 1)


class GlobalMaxPool2d(Module):
    """The largest value of each channel: (N, C, H, W) → (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, C, 1, 1)"""
        check_images("GlobalMaxPool2d", x)
        return adaptive_max_pool2d(x, 1)
