"""2-D convolution and its gradients."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    ACTIVATIONS,
    as_floats,
    as_int,
    as_pair,
    check_choice,
    check_gradient,
    check_ndim,
    check_vector,
    is_double,
    pointed_at,
)
from ._registry import _C, REFUSED, alternative, replacements
from .matmul import PackedMatrix

__all__ = ["conv2d", "conv2d_backward"]

Pair = int | tuple[int, int]


def both(value: Any) -> tuple[Any, ...]:
    """One number for height and width, or the pair it is; C checks the rest."""
    return value if type(value) is tuple else (value, value)


class Window:
    """How a window moves over an image, checked: stride, padding, dilation, groups."""

    __slots__ = ("dilation", "groups", "padding", "stride")

    def __init__(self, kernel: str, stride: Any, padding: Any, dilation: Any, groups: Any) -> None:
        self.stride = as_pair(kernel, "stride", stride, 1)
        self.padding = as_pair(kernel, "padding", padding, 0)
        self.dilation = as_pair(kernel, "dilation", dilation, 1)
        self.groups = as_int(kernel, "groups", groups, 1)

    def numbers(self) -> tuple[int, ...]:
        """In the order in which C takes them."""
        return *self.stride, *self.padding, *self.dilation, self.groups

    def options(self) -> dict[str, Any]:
        """As the keywords that the reference and replacements take."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    def output_shape(
        self, kernel: str, x: tuple[int, ...], w: tuple[int, ...], w_name: str = "w"
    ) -> tuple[int, int, int, int]:
        """(N, O, OH, OW) for x (N, C, H, W) and w (O, C / groups, kh, kw), or the error."""
        channels, per_group = x[1], w[1]
        if w[0] % self.groups:
            raise ValueError(
                f"{kernel}: the {w[0]} output channels of {w_name} do not divide into {self.groups} groups"
            )
        if channels != per_group * self.groups:
            fix = f"{w_name} must be (O, C / groups, kh, kw)"
            if self.groups == 1 and x[3] == per_group:
                fix += "; x looks like (N, H, W, C): move its channels to axis 1"
            raise ValueError(
                f"{kernel}: x has {channels} channels, and {w_name} reads "
                f"{per_group} x {self.groups} group(s) = {per_group * self.groups}\n"
                f"{pointed_at('x', x, 1, len(w_name))}\n{pointed_at(w_name, w, 1)}\n  fix: {fix}"
            )
        size = []
        for axis in (0, 1):
            padded = x[2 + axis] + 2 * self.padding[axis]
            span = self.dilation[axis] * (w[2 + axis] - 1) + 1
            if w[2 + axis] < 1 or span > padded:
                name = ("height", "width")[axis]
                raise ValueError(
                    f"{kernel}: the window's {name} of {span} (kernel {w[2 + axis]}, dilation "
                    f"{self.dilation[axis]}) does not fit into the padded {name} of {padded} "
                    f"({x[2 + axis]} + 2 * {self.padding[axis]})\n{pointed_at('x', x, 2 + axis)}\n"
                    f"  fix: a smaller kernel, or more padding"
                )
            size.append((padded - span) // self.stride[axis] + 1)
        return x[0], w[0], size[0], size[1]


def check_packed_groups(kernel: str, packed: Any, groups: int) -> None:
    """ValueError unless convolution weights were packed for this number of groups."""
    if len(packed.shape) != 4:
        raise ValueError(
            f"{kernel}: w holds a packed matrix of shape {packed.shape}; "
            f"pack convolution weights (O, C/groups, kh, kw)"
        )
    if packed.groups != groups:
        raise ValueError(
            f"{kernel}: the weights were packed for {packed.groups} group(s), and groups={groups}; "
            f"pack them with groups={groups}"
        )


def conv2d(
    x: ArrayLike,
    w: ArrayLike | PackedMatrix,
    bias: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str | None = None,
) -> np.ndarray:
    """2-D convolution (cross-correlation, as in PyTorch) with bias and activation in one pass.

    Parameters
    ----------
    x : array, (N, C, H, W)
    w : array, (O, C / groups, kh, kw), or PackedMatrix
    bias : array, (O,), optional
    stride, padding, dilation : int or (height, width)
        The step of the window, the zeros around the image, the distance between the taps.
    groups : int
        Splits the channels into groups that do not see each other; C makes it depthwise.
    activation : None, "relu" or "gelu"

    Returns
    -------
    array, (N, O, OH, OW)
        OH = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1, and OW likewise. float32,
        or float64 when an input is float64.

    Raises
    ------
    ValueError
        When channels do not match, the window does not fit, or an option is out of range.
    TypeError
        For inputs that are not real numbers, or options that are not integers.
    """
    if not replacements():
        try:
            window = (*both(stride), *both(padding), *both(dilation), groups)
            if isinstance(w, PackedMatrix):
                if w.groups == groups:
                    return _C.conv2d_packed(x, w._buffer, *w.shape, bias, *window, ACTIVATIONS[activation])
            else:
                return _C.conv2d(x, w, bias, *window, ACTIVATIONS[activation])
        except REFUSED:
            pass
    return _conv2d(x, w, bias, Window("conv2d", stride, padding, dilation, groups), activation)


def _conv2d(x: Any, w: Any, bias: Any, window: Window, activation: str | None) -> np.ndarray:
    check_choice("conv2d", "activation", activation, ACTIVATIONS)
    if isinstance(w, PackedMatrix):
        return _conv2d_packed(x, w, bias, window, activation)
    x, w, bias = as_floats("conv2d", ("bias",), x=x, w=w, bias=bias)
    shape = _checked_shape("conv2d", x, w, bias, window)
    other = alternative("conv2d", is_double(x), shape)
    if other:
        return other(x, w, bias, **window.options(), activation=activation)
    return _C.conv2d(x, w, bias, *window.numbers(), ACTIVATIONS[activation])


def _checked_shape(kernel: str, x: Any, w: Any, bias: Any, window: Window) -> tuple[int, ...]:
    check_ndim(kernel, "x", x, 4, "(N, C, H, W)")
    if not isinstance(w, PackedMatrix):
        check_ndim(kernel, "w", w, 4, "(O, C/groups, kh, kw)")
    shape = window.output_shape(kernel, x.shape, w.shape)
    check_vector(kernel, "bias", bias, w.shape[0], "output channel")
    return shape


def _conv2d_packed(x: Any, w: PackedMatrix, bias: Any, window: Window, activation: str | None) -> np.ndarray:
    check_packed_groups("conv2d", w, window.groups)
    x, bias = as_floats("conv2d", ("bias",), x=x, bias=bias)
    shape = _checked_shape("conv2d", x, w, bias, window)
    other = alternative("conv2d", is_double(x), shape)
    if other:
        return other(x, w.unpack(), bias, **window.options(), activation=activation)
    code = ACTIVATIONS[activation]
    return _C.conv2d_packed(x, w._buffer, *w.shape, bias, *window.numbers(), code)


def conv2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    output_mask: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The gradients of ``conv2d`` with respect to x, w and bias.

    Parameters
    ----------
    dy : array, (N, O, OH, OW)
        The gradient of the result, before any activation.
    x, w, stride, padding, dilation, groups
        What conv2d was given.
    output_mask : (bool, bool, bool)
        Which of dx, dw, db are wanted. A first layer, for one, needs no dx, which is half the work.

    Returns
    -------
    dx, dw, db : array or None
        With the shapes of x, w and (O,).

    Raises
    ------
    ValueError
        As for conv2d, and when dy does not have the shape of its result.
    """
    kernel = "conv2d_backward"
    if not replacements():
        try:
            options = (*both(stride), *both(padding), *both(dilation), groups)
            return _C.conv2d_backward(dy, x, w, *options, *map(bool, output_mask))
        except REFUSED:
            pass
    window = Window(kernel, stride, padding, dilation, groups)
    dy, x, w = as_floats(kernel, dy=dy, x=x, w=w)
    shape = _checked_shape(kernel, x, w, None, window)
    check_gradient(kernel, dy, shape)
    dx, dw, db = (bool(needed) for needed in output_mask)
    other = alternative(kernel, is_double(x), x.shape, w.shape, (w.shape[0],))
    if other:
        return other(dy, x, w, **window.options(), output_mask=(dx, dw, db))
    return _C.conv2d_backward(dy, x, w, *window.numbers(), dx, dw, db)
