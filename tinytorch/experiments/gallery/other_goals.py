"""Cases in which one number gets better and the one that matters gets worse, or stays."""

from __future__ import annotations

from functools import cache

import numpy as np

from tinytorch import kernels
from tinytorch.datasets import load_digits
from tinytorch.experiments.gallery.case import Answers, Calls, case
from tinytorch.experiments.gallery.overhead import numbers
from tinytorch.experiments.trained import seeded
from tinytorch.layers import Linear
from tinytorch.losses import cross_entropy
from tinytorch.models import MLPClassifier
from tinytorch.optimizers import Adam
from tinytorch.quantization import quantize_weight
from tinytorch.tensor import Tensor

HIDDEN = 32
STRETCH = 100.0


@case("float64 for accuracy", "float32 product", "float64 product")
def float64_for_accuracy() -> Calls:
    """Every number has twice the bytes and each instruction handles half as many; a network trained in
    float32 has no digits that would profit.
    """
    single = numbers(256, 256)
    double = single.astype(np.float64)
    return Calls(lambda: kernels.matmul(single, single), lambda: kernels.matmul(double, double))


@case("Batching, for one who waits", "answer the first of 32 at once", "answer all 32 together")
def batching_raises_latency() -> Calls:
    """A batch raises the throughput, and whoever asked first waits until the last is answered."""
    x = numbers(32, 512)
    first, packed = x[:1].copy(), kernels.pack(numbers(512, 512))
    return Calls(lambda: kernels.linear(first, packed), lambda: kernels.linear(x, packed))


@case("One column pruned", "64 columns", "63 columns")
def pruning_one_column() -> Calls:
    """Kernels compute columns in groups of a vector's width; one column fewer leaves a group that is cut
    short and takes as long.
    """
    x, whole, pruned = numbers(64, 256), numbers(256, 64), numbers(256, 63)
    packed, smaller = kernels.pack(whole), kernels.pack(pruned)
    return Calls(lambda: kernels.linear(x, packed), lambda: kernels.linear(x, smaller))


@case("One INT8 scale and an outlier", "float32 weights", "INT8 weights, one scale for each layer")
def one_scale_with_an_outlier() -> Answers:
    """One hidden unit has 100 times the weights it had (and the next layer divides by 100, so the float32
    network is the same); a scale that reaches so far leaves -1, 0 and 1 for all others. Time is no question
    here: what is lost is accuracy, and a scale for each column would keep it.
    """
    model = _stretched(_digits_model())
    images, labels = load_digits(8, "test", 0)
    plain = _predict(model, images) == labels
    layer = next(layer for layer in model.layers if isinstance(layer, Linear))
    layer.weight.data = _round_trip(layer.weight.data)
    return Answers(plain, _predict(model, images) == labels)


def _predict(model: MLPClassifier, images: np.ndarray) -> np.ndarray:
    return model(Tensor(images)).data.argmax(axis=-1)


def _round_trip(weight: np.ndarray) -> np.ndarray:
    """The weights (in, out) after a way through INT8, with one scale for all of them."""
    quantized, scales = quantize_weight(weight.reshape(-1, 1), axis=1)
    return (quantized * scales).astype(np.float32).reshape(weight.shape)


def _stretched(model: MLPClassifier) -> MLPClassifier:
    """The same function with an outlier: ReLU(100 z) / 100 = ReLU(z)."""
    first, second = (layer for layer in model.layers if isinstance(layer, Linear))
    first.weight.data[:, 0] *= STRETCH
    assert first.bias is not None
    first.bias.data[0] *= STRETCH
    second.weight.data[0] /= STRETCH
    return model


def _digits_model() -> MLPClassifier:
    """A small classifier of the shipped 8 × 8 digits, with weights of its own to change."""
    with seeded(0):
        model = MLPClassifier((64, HIDDEN, 10))
    model.load_state_dict(_digits_weights())
    model.eval()
    return model


@cache
def _digits_weights() -> dict[str, np.ndarray]:
    """Trained on whole batches, which takes a second."""
    images, labels = load_digits(8, "train", 0)
    with seeded(0):
        model = MLPClassifier((64, HIDDEN, 10))
    optimizer = Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        cross_entropy(model(Tensor(images)), labels).backward()
        optimizer.step()
    return {name: array.copy() for name, array in model.state_dict().items()}
