"""Layers for images: convolution, pooling, batch normalisation. Arrays are (N, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import kernels
from .activations import relu
from .autograd.engine import Function, is_grad_enabled, record
from .layers import Flatten, check_positive
from .module import Module, Parameter
from .tensor import Tensor

__all__ = [
    "AvgPool2d",
    "AvgPool2dBackward",
    "BatchNorm2d",
    "BatchNorm2dBackward",
    "Conv2d",
    "Conv2dBackward",
    "Flatten",
    "MaxPool2d",
    "MaxPool2dBackward",
    "SimpleCNN",
    "avg_pool2d",
    "conv2d",
    "max_pool2d",
]

Pair = int | tuple[int, int]


class Conv2dBackward(Function):
    """2-D convolution"""

    owns_gradients = True

    def __init__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, options: Any = None) -> None:
        super().__init__(*((x, weight) if bias is None else (x, weight, bias)))
        self.options = options or {}

    def backward(self, grad: np.ndarray) -> tuple:
        x, weight = self.saved_tensors[:2]
        need_x, need_weight, *need_bias = self.needs_input_grad
        grads = kernels.conv2d_backward(
            grad, x.data, weight.data, **self.options, output_mask=(need_x, need_weight, any(need_bias))
        )
        return grads[: len(self.needs_input_grad)]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """x (N, C, H, W) with weight (O, C / groups, kh, kw) → (N, O, OH, OW)"""
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = kernels.conv2d(x.data, weight.data, None if bias is None else bias.data, **options)
    return record(y, Conv2dBackward, x, weight, bias, options)


class Conv2d(Module):
    """2-D convolution: each output channel slides a window over all input channels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding : int or (height, width)
    bias : bool
        Whether to add a bias to each output channel, which starts at zero.
    dilation : int or (height, width)
        Distance between the window's taps.
    groups : int
        Splits the channels into groups that don't see each other.

    Attributes
    ----------
    weight : Parameter, (out_channels, in_channels / groups, height, width)
        Starts normally distributed with variance 2 / fan-in (He et al. 2015), which suits a ReLU behind it.
    bias : Parameter, (out_channels,), or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        *,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> None:
        check_positive("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: {in_channels} → {out_channels} channels don't split into {groups} groups"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = _pair("Conv2d", "kernel_size", kernel_size)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(np.random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:])))
        self.bias = Parameter(np.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, O, OH, OW)"""
        _check_images("Conv2d", x, self.in_channels)
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, bias={self.bias is not None}"
        )


class _Pool2d(Module):
    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        name = type(self).__name__
        _pair(name, "kernel_size", kernel_size)
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        _pair(name, "stride", self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


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


def max_pool2d(x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """The largest value of each window; `stride` defaults to the window's size."""
    _check_images("MaxPool2d", x)
    window, places = (kernel_size, stride, padding), None
    if x.requires_grad and is_grad_enabled():
        y, places = kernels.max_pool2d_with_places(x.data, *window)
    else:
        y = kernels.max_pool2d(x.data, *window)
    return record(y, MaxPool2dBackward, x, *window, places)


class MaxPool2d(_Pool2d):
    """The largest value of each window; `stride` defaults to the window's size."""

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2dBackward(Function):
    """Mean over windows: the gradient spreads evenly over each."""

    reads_inputs = False
    owns_gradients = True

    def __init__(self, x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__(x)
        self.window = kernel_size, stride, padding

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return kernels.avg_pool2d_backward(grad, self.input_shape(), *self.window)


def avg_pool2d(x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """The mean of each window, padding counted as zeros; `stride` defaults to the window's size."""
    _check_images("AvgPool2d", x)
    y = kernels.avg_pool2d(x.data, kernel_size, stride, padding)
    return record(y, AvgPool2dBackward, x, kernel_size, stride, padding)


class AvgPool2d(_Pool2d):
    """The mean of each window, padding counted as zeros; `stride` defaults to the window's size."""

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class BatchNorm2dBackward(Function):
    """Batch normalisation, with the statistics of the batch (training) or with running ones"""

    owns_gradients = True

    def __init__(self, x: Tensor, gamma: Tensor, beta: Tensor, layer: BatchNorm2d, training: bool) -> None:
        super().__init__(x, gamma, beta)
        self.training, self.eps = training, layer.eps
        # A later forward pass in training updates the running statistics in place.
        self.running = layer.running_mean.copy(), layer.running_var.copy()

    def backward(self, grad: np.ndarray) -> tuple:
        x, gamma, _ = self.saved_tensors
        return kernels.batch_norm2d_backward(
            grad, x.data, gamma.data, *self.running, training=self.training, eps=self.eps
        )


class BatchNorm2d(Module):
    """Give each channel mean 0 and variance 1, then scale by gamma and shift by beta.

    In training the statistics are those of the batch, and the running ones move towards them; in `eval` mode
    the running ones are used. Source: Ioffe and Szegedy 2015.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float
        Share of the batch's statistics in each update of the running ones.

    Attributes
    ----------
    gamma, beta : Parameter, (num_features,)
    running_mean, running_var : ndarray, (num_features,)
        The variance is the unbiased one, as in PyTorch.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        check_positive("BatchNorm2d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.gamma = Parameter(np.ones(num_features))
        self.beta = Parameter(np.zeros(num_features))
        self.running_mean: np.ndarray
        self.running_var: np.ndarray
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        _check_images("BatchNorm2d", x, self.num_features)
        if self.training and x.size // self.num_features < 2:
            raise ValueError(
                f"BatchNorm2d: training needs more than one value for each channel, but x has shape "
                f"{x.shape}; use larger batches, or eval()"
            )
        y = kernels.batch_norm2d(
            x.data,
            self.gamma.data,
            self.beta.data,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        return record(y, BatchNorm2dBackward, x, self.gamma, self.beta, self, self.training)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class SimpleCNN(Module):
    """Two rounds of convolution, ReLU and pooling: turns (N, 3, 32, 32) images into (N, 2048) features.

    A classifier is to be put behind it, such as ``Linear(2048, model.num_classes)``.
    """

    def __init__(self, num_classes: int = 10) -> None:
        self.num_classes = num_classes
        self.conv1 = Conv2d(3, 16, kernel_size=3, padding=1)
        self.pool1 = MaxPool2d(2)
        self.conv2 = Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool2 = MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(relu(self.conv1(x)))
        x = self.pool2(relu(self.conv2(x)))
        return x.flatten(1)


def _pair(name: str, what: str, value: Pair) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}: {what} is a number or (height, width), not {value!r}")
    check_positive(name, **{what: min(pair)})
    return pair


def _check_images(name: str, x: Tensor, channels: int | None = None) -> None:
    if x.ndim != 4:
        fix = "; add the batch axis with x.unsqueeze(0)" if x.ndim == 3 else ""
        raise ValueError(f"{name}: expected a 4-D input (batch, channels, height, width), got {x.shape}{fix}")
    if channels is not None and x.shape[1] != channels:
        fix = "; is it channels-last? Then use x.permute(0, 3, 1, 2)" if x.shape[3] == channels else ""
        raise ValueError(f"{name}: expected {channels} channels on axis 1, but x has shape {x.shape}{fix}")
