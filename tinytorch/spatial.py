"""Layers for images: convolution, pooling, batch normalisation. Arrays are (N, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import kernels
from ._images import Pair, check_images, pad_images, pair
from .activations import relu
from .autograd.engine import Function, record
from .layers import Flatten, check_positive
from .module import Module, Parameter
from .pooling import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    AvgPool2dBackward,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool2d,
    MaxPool2dBackward,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    max_pool2d,
)
from .tensor import Tensor

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "AvgPool2dBackward",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm2dBackward",
    "Conv2d",
    "Conv2dBackward",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "MaxPool2d",
    "MaxPool2dBackward",
    "SimpleCNN",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "max_pool2d",
]


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
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution (cross-correlation, as in PyTorch); see `Conv2d`.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    weight : Tensor, (O, C / groups, kh, kw)
    bias : Tensor, (O,), optional
    stride, dilation : int or (height, width)
    padding : int, (height, width), "valid" or "same"
    groups : int

    Returns
    -------
    Tensor, (N, O, OH, OW)
    """
    check_images("conv2d", x)
    if isinstance(padding, str):
        rows, columns = _named_padding("conv2d", padding, weight.shape[2:], stride, dilation)
        # What one side has more than the other, the kernel can't add.
        if rows[0] != rows[1] or columns[0] != columns[1]:
            x = pad_images(x, 0, rows[1] - rows[0], 0, columns[1] - columns[0])
        padding = rows[0], columns[0]
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = kernels.conv2d(x.data, weight.data, None if bias is None else bias.data, **options)
    return record(y, Conv2dBackward, x, weight, bias, options)


def _named_padding(
    name: str, padding: str, kernel_size: tuple[int, ...], stride: Pair, dilation: Pair
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(top, bottom), (left, right) of "valid" or "same" padding. Where it is odd, the end gets more."""
    if padding not in ("valid", "same"):
        raise ValueError(f"{name}: padding is a number, (height, width), 'valid' or 'same', not {padding!r}")
    if padding == "same" and pair(name, "stride", stride) != (1, 1):
        raise ValueError(
            f"{name}: padding='same' keeps height and width, which needs stride=1, not {stride}; give numbers"
        )
    spans = [
        d * (k - 1) if padding == "same" else 0
        for k, d in zip(kernel_size, pair(name, "dilation", dilation), strict=True)
    ]
    rows, columns = ((span // 2, span - span // 2) for span in spans)
    return rows, columns


class Conv2d(Module):
    """2-D convolution: each output channel slides a window over all input channels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or (height, width)
    padding : int, (height, width), "valid" or "same"
        Rows and columns of zeros around the image. "same" keeps its height and width (stride 1 only) and
        becomes the numbers that do so, unless the window's span is even: then right and bottom get one more.
    bias : bool
        Whether to add a bias to each output channel, which starts at zero.
    dilation : int or (height, width)
        Distance between the window's taps.
    groups : int
        Splits the channels into groups that don't see each other; `in_channels` of them make it depthwise.

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
        padding: Pair | str = 0,
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
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        pair("Conv2d", "stride", stride)
        pair("Conv2d", "dilation", dilation)
        self.stride, self.dilation, self.groups = stride, dilation, groups
        if isinstance(padding, str):
            sides = _named_padding("Conv2d", padding, self.kernel_size, stride, dilation)
            if all(before == after for before, after in sides):
                padding = sides[0][0], sides[1][0]
        else:
            pair("Conv2d", "padding", padding, 0)
        self.padding = padding
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(np.random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:])))
        self.bias = Parameter(np.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) → (N, O, OH, OW)"""
        check_images("Conv2d", x, self.in_channels)
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, bias={self.bias is not None}"
        )
        text += "" if self.dilation in (1, (1, 1)) else f", dilation={self.dilation}"
        return text + ("" if self.groups == 1 else f", groups={self.groups}")


class BatchNorm2dBackward(Function):
    """Batch normalisation, with the statistics of the batch (training) or with running ones"""

    owns_gradients = True

    def __init__(
        self, x: Tensor, gamma: Tensor, beta: Tensor, running: tuple[Any, Any], training: bool, eps: float
    ) -> None:
        super().__init__(x, gamma, beta)
        self.training, self.eps = training, eps
        # A later forward pass in training updates the running statistics in place.
        self.running = tuple(statistic.copy() for statistic in running)

    def backward(self, grad: np.ndarray) -> tuple:
        x, gamma, _ = self.saved_tensors
        return kernels.batch_norm2d_backward(
            grad, x.data, gamma.data, *self.running, training=self.training, eps=self.eps
        )


def batch_norm(
    x: Tensor,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over batch and pixels; see `BatchNorm2d`.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    running_mean, running_var : ndarray or Tensor, (C,), or None
        Used when not training. When training, updated in place with the share `momentum`, unless None.
    weight, bias : Tensor, (C,), optional
        Scale and shift.

    Raises
    ------
    ValueError
        If shapes do not fit, a channel has fewer than two values to train on, or the running statistics are
        missing when not training.
    """
    check_images("batch_norm", x)
    channels = x.shape[1]
    kept = [statistic.data if isinstance(statistic, Tensor) else statistic
            for statistic in (running_mean, running_var)]  # fmt: skip
    if not training and (kept[0] is None or kept[1] is None):
        raise ValueError("batch_norm: without training=True it needs running_mean and running_var")
    if training and x.size // max(channels, 1) < 2:
        raise ValueError(
            f"batch_norm: training needs more than one value for each channel, but x has shape {x.shape}; "
            "use larger batches, or eval()"
        )
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
    weight = Tensor._wrap(np.ones(channels, dtype)) if weight is None else weight
    bias = Tensor._wrap(np.zeros(channels, dtype)) if bias is None else bias
    # The kernel updates arrays of x's dtype in place.
    running = tuple(
        np.zeros(channels, dtype) if statistic is None else np.asarray(statistic, dtype) for statistic in kept
    )
    y = kernels.batch_norm2d(
        x.data, weight.data, bias.data, *running, training=training, momentum=momentum, eps=eps
    )
    for statistic, updated in zip(kept, running, strict=True):
        if training and statistic is not None and statistic is not updated:
            statistic[...] = updated
    return record(y, BatchNorm2dBackward, x, weight, bias, running, training, eps)


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
    momentum : float or None
        Share of the batch's statistics in each update of the running ones; None averages over all batches
        so far.
    affine : bool
        Whether to scale and shift.
    track_running_stats : bool
        Whether to keep running statistics; without them, those of the batch are used in `eval` mode too.

    Attributes
    ----------
    gamma, beta : Parameter, (num_features,), or None
        PyTorch's names for them, `weight` and `bias`, read them too.
    running_mean, running_var : ndarray, (num_features,), or None
        The variance is the unbiased one, as in PyTorch.
    num_batches_tracked : ndarray, (), or None
        How many batches the running statistics have seen.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        check_positive("BatchNorm2d", num_features=num_features)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm2d: momentum is a share from 0 to 1, or None, got {momentum}")
        if not eps >= 0:
            raise ValueError(f"BatchNorm2d: eps is added to the variance and must not be negative, got {eps}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.gamma = Parameter(np.ones(num_features)) if affine else None
        self.beta = Parameter(np.zeros(num_features)) if affine else None
        self.running_mean: Any = None
        self.running_var: Any = None
        self.num_batches_tracked: Any = None
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, np.float32))
            self.register_buffer("running_var", np.ones(num_features, np.float32))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    @property
    def weight(self) -> Parameter | None:
        return self.gamma

    @property
    def bias(self) -> Parameter | None:
        return self.beta

    def forward(self, x: Tensor) -> Tensor:
        """x (N, num_features, H, W) → the same shape"""
        check_images("BatchNorm2d", x, self.num_features)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked += 1
            momentum = 1 / int(self.num_batches_tracked) if momentum is None else momentum
        return batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.gamma,
            self.beta,
            self.training or not self.track_running_stats,
            0.0 if momentum is None else momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        text += "" if self.affine else ", affine=False"
        return text + ("" if self.track_running_stats else ", track_running_stats=False")


class BatchNorm1d(BatchNorm2d):
    """`BatchNorm2d` for features (N, C) or sequences (N, C, L); its parameters are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, num_features) or (N, num_features, L) → the same shape"""
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            wanted = f"(N, {self.num_features}) or (N, {self.num_features}, L)"
            raise ValueError(f"BatchNorm1d: expected {wanted}, got {x.shape}")
        length = x.shape[2] if x.ndim == 3 else 1
        return super().forward(x.reshape(*x.shape[:2], length, 1)).reshape(x.shape)


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
