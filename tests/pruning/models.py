"""Small networks that the tests prune."""

import numpy as np

from tinytorch.activations import ReLU
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.models import ResNet
from tinytorch.spatial import BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

RNG = np.random.default_rng(0)


def mlp() -> Sequential:
    np.random.seed(0)
    return Sequential(Linear(40, 24), ReLU(), Linear(24, 10)).eval()


def cnn() -> Sequential:
    np.random.seed(1)
    return Sequential(Conv2d(2, 8, 3, padding=1), ReLU(), MaxPool2d(2), Flatten(), Linear(8 * 9, 6)).eval()


def normalised_cnn() -> Sequential:
    """Two convolutions with batch norm that has seen other images, and two linear layers."""
    np.random.seed(2)
    model = Sequential(
        Conv2d(4, 8, 3, padding=1, bias=False), BatchNorm2d(8), ReLU(), MaxPool2d(2),
        Conv2d(8, 12, 3, padding=1), BatchNorm2d(12), ReLU(), Dropout(0.5),
        Flatten(), Linear(12 * 9, 16), ReLU(), Linear(16, 6),
    )  # fmt: skip
    for layer in model.layers:
        if isinstance(layer, BatchNorm2d):
            for array in (layer.gamma.data, layer.beta.data, layer.running_mean):
                array[...] = RNG.standard_normal(len(array))
            layer.running_var[...] = RNG.uniform(0.5, 2, len(layer.running_var))
    return model.eval()


def gpt() -> GPT:
    np.random.seed(3)
    return GPT(20, 32, 2, 2, max_seq_len=24).eval()


def whole_numbers(model):
    """The model with small whole numbers for weights, with which float32 is exact."""
    rng = np.random.default_rng(4)
    for parameter in model.parameters():
        parameter.data = rng.integers(-3, 4, parameter.shape).astype(np.float32)
    return model


def resnet() -> ResNet:
    """Two residual blocks, one with a convolution in its shortcut; batch norm that has seen images."""
    np.random.seed(5)
    model = ResNet((8, 12), in_channels=2, num_classes=6)
    model(Tensor(RNG.standard_normal((16, 2, 8, 8))))
    return model.eval()
