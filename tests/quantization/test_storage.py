"""Files of quantized models: as small as the models, and the same predictions after."""

import os

import numpy as np
import pytest

from tinytorch import Tensor, kernels
from tinytorch.activations import GELU, ReLU, Sigmoid, Softmax
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.models import ResNet, char_gpt
from tinytorch.quantization import load_quantized, quantize, quantize_naive, save_quantized
from tinytorch.replacing import stored_bytes
from tinytorch.spatial import AvgPool2d, Conv2d, MaxPool2d

X = np.random.default_rng(0).random((6, 1, 12, 12), dtype=np.float32)
IDS = np.random.default_rng(0).integers(0, 40, (3, 24))
WAYS = {
    "static": lambda m: quantize(m, X),
    "per tensor": lambda m: quantize(m, X, per_channel=False),
    "dynamic": lambda m: quantize(m, activations="dynamic"),
    "int4": lambda m: quantize(m, weights="int4"),
    "naive": quantize_naive,
}


def cnn():
    np.random.seed(0)
    return Sequential(
        Conv2d(1, 6, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(6, 8, 3), GELU(), AvgPool2d(2), Flatten(),
        Linear(32, 20), Sigmoid(), Linear(20, 10), Softmax(),
    ).eval()  # fmt: skip


def resnet():
    np.random.seed(0)
    model = ResNet((4, 8))
    model(Tensor(X))
    return model.eval()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [cnn, resnet])
def test_chains_come_back_as_they_were(make, way, tmp_path):
    model = WAYS[way](make())
    save_quantized(model, tmp_path / "model.safetensors")
    restored = load_quantized(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(restored(X), model(X))
    assert restored.nbytes == model.nbytes and repr(restored) == repr(model)


@pytest.mark.parametrize("options", [{}, {"calibration": IDS}, {"weights": "int4"}])
def test_a_gpt_comes_back_as_it_was(options, tmp_path):
    np.random.seed(0)
    model = quantize(char_gpt(40, 32, 2, 4, 48), **options)
    save_quantized(model, tmp_path / "gpt.safetensors")
    restored = load_quantized(tmp_path / "gpt.safetensors", into=char_gpt(40, 32, 2, 4, 48))
    np.testing.assert_array_equal(restored.infer(IDS), model.infer(IDS))
    assert (
        os.path.getsize(tmp_path / "gpt.safetensors") < stored_bytes(model) + 12_000
    )  # names, and the header


@pytest.mark.kernel
@pytest.mark.parametrize("size", [(1, 1), (33, 3), (64, 5), (100, 17)])
def test_four_bits_are_stored_in_four_bits(size, tmp_path):
    layer = Linear(*size)
    layer.weight.data[0] = 1e-6
    model = quantize(Sequential(layer), weights="int4")
    save_quantized(model, tmp_path / "layer")
    restored = load_quantized(tmp_path / "layer").stages[0].weight
    np.testing.assert_array_equal(restored.unpack(), model.stages[0].weight.unpack())
    assert isinstance(restored, kernels.PackedInt4)
