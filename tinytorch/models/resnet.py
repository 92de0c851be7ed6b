"""A residual network (K. He et al., *Deep Residual Learning for Image Recognition*, 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from tinytorch.acceleration import Residual, lower
from tinytorch.activations import ReLU, relu
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.module import Module
from tinytorch.spatial import BatchNorm2d, Conv2d, GlobalAvgPool2d
from tinytorch.tensor import Tensor


def convolution(before: int, after: int, kernel_size: int = 3, stride: int = 1) -> list[Module]:
    """Convolution and batch norm; no bias, since batch norm would subtract it again."""
    padding = kernel_size // 2
    return [Conv2d(before, after, kernel_size, stride, padding, bias=False), BatchNorm2d(after)]


class ResidualBlock(Module):
    """relu(main(x) + shortcut(x)): images (N, before, H, W) to (N, after, H / stride, W / stride).

    What the block learns is added to what came in, so that gradients reach the first layers undiminished.

    Attributes
    ----------
    main : Sequential
        Two convolutions of 3 x 3, each with batch norm, ReLU between them.
    shortcut : Sequential
        Empty where x can be added as it is; else a convolution of 1 x 1 that gives it the right shape.
    """

    def __init__(self, before: int, after: int, stride: int = 1):
        self.main = Sequential(*convolution(before, after, stride=stride), ReLU(), *convolution(after, after))
        same_shape = stride == 1 and before == after
        self.shortcut = Sequential(*([] if same_shape else convolution(before, after, 1, stride)))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, before, H, W) to (N, after, H / stride, W / stride)"""
        return relu(self.main(x) + self.shortcut(x))

    def lower(self) -> list[Residual]:
        """The block as a stage of `acceleration.InferenceModel`."""
        return [Residual(tuple(lower(self.main)), tuple(lower(self.shortcut)), "relu")]


class ResNet(Sequential):
    """Images (N, in_channels, H, W) of any size to logits (N, num_classes).

    A convolution, residual blocks, the mean of each channel, a linear layer. With the defaults it reads
    digits of 8 x 8 or 32 x 32; ``ResNet((16, 32, 64), blocks=3, in_channels=3)`` is the paper's network of 20
    layers for colour images of 32 x 32.

    Parameters
    ----------
    channels : sequence of int
        Of the groups of blocks; every group after the first halves the image's sides.
    blocks : int
        In each group.
    in_channels : int
        1 for grey images, 3 for colours.
    num_classes : int
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64),
        blocks: int = 1,
        in_channels: int = 1,
        num_classes: int = 10,
    ):
        self.channels, self.blocks = list(channels), blocks
        self.in_channels, self.num_classes = in_channels, num_classes
        layers: list[Module] = [*convolution(in_channels, channels[0]), ReLU()]
        before = channels[0]
        for group, width in enumerate(channels):
            for block in range(blocks):
                layers.append(ResidualBlock(before, width, stride=2 if group > 0 and block == 0 else 1))
                before = width
        super().__init__(*layers, GlobalAvgPool2d(), Flatten(), Linear(before, num_classes))
