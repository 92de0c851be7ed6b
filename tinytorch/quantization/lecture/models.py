"""Convolutional networks for images (N, channels, 32, 32), in float32 and in INT8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.acceleration import InferenceModel, optimize
from tinytorch.activations import ReLU
from tinytorch.autograd import no_grad
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.module import Module
from tinytorch.quantization.convert import quantize
from tinytorch.quantization.scales import Array
from tinytorch.spatial import Conv2d, MaxPool2d
from tinytorch.tensor import MB_TO_BYTES, Tensor, from_numpy

IMAGE_SIDE = 32


def as_images(x: Any, channels: int, name: str) -> Array:
    """x as float32 (N, channels, 32, 32); `name` is the model's, for the error."""
    images = np.asarray(x, np.float32)
    if images.ndim != 4 or images.shape[1:] != (channels, IMAGE_SIDE, IMAGE_SIDE):
        cure = "; add the batch axis with x[None]" if images.ndim == 3 else ""
        if images.ndim == 4 and images.shape[3] == channels:
            cure = "; channels come first, x.transpose(0, 3, 1, 2)"
        raise ValueError(
            f"{name}: needs images (N, {channels}, {IMAGE_SIDE}, {IMAGE_SIDE}), "
            f"got shape {images.shape}{cure}"
        )
    return images


class ImageClassifier(Sequential):
    """Convolutions, each with ReLU and perhaps pooling, then Linear layers: images to logits.

    Parameters
    ----------
    input_channels, num_classes : int
    channels, kernel_sizes : sequence of int
        Of the convolutions, which have no padding.
    pools : int
        How many of them, from the first on, a 2×2 max pooling follows.
    hidden : sequence of int
        Features between Linear layers.
    bias : bool
        Of the last layer.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        channels: Sequence[int],
        kernel_sizes: Sequence[int],
        pools: int,
        hidden: Sequence[int] = (),
        bias: bool = True,
    ) -> None:
        self.input_channels, self.num_classes = input_channels, num_classes
        layers: list[Module] = []
        side, before = IMAGE_SIDE, input_channels
        for i, (after, size) in enumerate(zip(channels, kernel_sizes, strict=True)):
            layers += [Conv2d(before, after, size), ReLU()]
            side, before = side - size + 1, after
            if i < pools:
                layers.append(MaxPool2d(2))
                side //= 2
        layers.append(Flatten())
        features = before * side * side
        for width in hidden:
            layers += [Linear(features, width), ReLU()]
            features = width
        super().__init__(*layers, Linear(features, num_classes, bias=bias))

    def forward(self, x: Any) -> Any:
        """Logits (N, num_classes): an array of an array; a Tensor, to train with, of a Tensor."""
        if isinstance(x, Tensor):
            return super().forward(x)
        with no_grad():
            return super().forward(from_numpy(as_images(x, self.input_channels, type(self).__name__))).data

    def predict(self, x: Array) -> Array:
        """The class of each image, (N,)."""
        return np.asarray(self.forward(np.asarray(x))).argmax(axis=1)

    def _count_parameters(self) -> int:
        return sum(parameter.size for parameter in self.parameters())


class BaselineCNN(ImageClassifier):
    """Two convolutions with pooling and one Linear without bias, float32: 42,432 parameters by default."""

    def __init__(self, input_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__(input_channels, num_classes, (32, 64), (3, 3), pools=2, bias=False)


class EfficientCNN(ImageClassifier):
    """`BaselineCNN` with a bias in the last layer, for RGB images and ten classes: 42,442 parameters."""

    def __init__(self) -> None:
        super().__init__(3, 10, (32, 64), (3, 3), pools=2)


class RealisticCNN(ImageClassifier):
    """Three convolutions and two Linear: 1,690,250 parameters by default, enough for INT8 to pay."""

    def __init__(self, input_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__(input_channels, num_classes, (64, 128, 256), (5, 5, 3), pools=2, hidden=(512,))


class QuantizedRealisticCNN:
    """A `RealisticCNN` in INT8, which `ProperINT8Quantizer` fills.

    Attributes
    ----------
    inference : InferenceModel or None
        What computes.
    """

    inference: InferenceModel | None = None

    def __init__(self, input_channels: int = 3, num_classes: int = 10) -> None:
        self.input_channels, self.num_classes = input_channels, num_classes

    def forward(self, x: Array) -> Array:
        """Images (N, input_channels, 32, 32) to float32 logits (N, num_classes)."""
        if self.inference is None:
            raise RuntimeError(
                f"{type(self).__name__}: has no weights yet; get it from "
                "ProperINT8Quantizer().calibrate_and_quantize_model(model, calibration_data)"
            )
        return self.inference(as_images(x, self.input_channels, type(self).__name__))

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def predict(self, x: Array) -> Array:
        """The class of each image, (N,)."""
        return self.forward(x).argmax(axis=1)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, scales and biases that `inference` computes with; 0 before there is one."""
        return 0 if self.inference is None else self.inference.nbytes


class QuantizedEfficientCNN(QuantizedRealisticCNN):
    """An `EfficientCNN` in INT8.

    Parameters
    ----------
    fp32_model : EfficientCNN
    calibration_data : array (N, 3, 32, 32) or a list of them, optional
        Without them the first images it is given set the scales for good; later ones that are brighter are
        clipped.
    """

    def __init__(self, fp32_model: ImageClassifier, calibration_data: Any = None) -> None:
        check_float_model("QuantizedEfficientCNN", fp32_model)
        super().__init__(fp32_model.input_channels, fp32_model.num_classes)
        self._float: ImageClassifier | None = fp32_model
        if calibration_data is not None:
            self._calibrate(calibration_data)

    def forward(self, x: Array) -> Array:
        """Images (N, 3, 32, 32) to float32 logits (N, 10)."""
        if self._float is not None:
            self._calibrate(as_images(x, self.input_channels, "QuantizedEfficientCNN"))
        return super().forward(x)

    def _calibrate(self, images: Any) -> None:
        self.inference, self._float = quantize(self._float, images), None


class QuantizedCNN(QuantizedRealisticCNN):
    """A `BaselineCNN` that becomes INT8 by `calibrate_and_quantize`; until then it computes in float32.

    Parameters
    ----------
    input_channels, num_classes : int
    model : BaselineCNN, optional
        Whose weights to take: without it they are new random ones, which agree with no other model's.
    """

    def __init__(
        self, input_channels: int = 3, num_classes: int = 10, model: ImageClassifier | None = None
    ) -> None:
        model = model or BaselineCNN(input_channels, num_classes)
        check_float_model("QuantizedCNN", model)
        super().__init__(model.input_channels, model.num_classes)
        self._float: ImageClassifier | None = model
        self.inference = optimize(model)

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are INT8."""
        return self._float is None

    def calibrate_and_quantize(self, calibration_data: Any) -> None:
        """Make the weights INT8, with the scales of what lies between from images like those to come."""
        if self._float is None:
            raise ValueError("QuantizedCNN: quantized already, its float32 weights are gone; make a new one")
        before = self.nbytes
        self.inference = quantize(self._float, calibration_data, activations="static")
        self._float = None
        print_bytes(before, self.nbytes)


def check_float_model(name: str, model: Any) -> None:
    """Only a float model that knows its images is taken; `name` says by what."""
    if not isinstance(model, ImageClassifier):
        raise TypeError(
            f"{name}: needs a float32 BaselineCNN, EfficientCNN or RealisticCNN, got {type(model).__name__}; "
            "quantize(model, images) takes any other model"
        )


def float_bytes(model: Module) -> int:
    """Bytes of the parameters."""
    return sum(parameter.data.nbytes for parameter in model.parameters())


def print_bytes(before: int, after: int) -> None:
    """Print how much smaller a model became."""
    print(f"{before / MB_TO_BYTES:.2f} MB to {after / MB_TO_BYTES:.2f} MB, {before / after:.2f}× smaller")
