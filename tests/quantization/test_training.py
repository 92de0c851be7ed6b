"""Training with rounding: the gradient passes straight, the converted model computes what was trained."""

import numpy as np
import pytest

from tinytorch import Tensor
from tinytorch.activations import ReLU
from tinytorch.datasets import load_digits
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models import ResNet, char_gpt
from tinytorch.optimizers import Adam
from tinytorch.quantization import (
    MinMaxObserver,
    Scale,
    convert,
    fake_quantize,
    prepare_qat,
    quantize_int4,
    quantize_weight,
)
from tinytorch.quantization.training import QATLinear
from tinytorch.tensor import from_numpy


def test_the_gradient_goes_straight_through_and_stops_where_it_clips():
    scale = Scale(0.5, 2, bits=3)  # 0 ... 7 stand for -1 ... 2.5
    x = Tensor([-9.0, -1.0, -0.1, 0.3, 2.5, 2.6], requires_grad=True)
    y = fake_quantize(x, scale)
    np.testing.assert_array_equal(y.data, [-1, -1, 0, 0.5, 2.5, 2.5])
    (y * Tensor([1.0, 2, 3, 4, 5, 6])).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 2, 3, 4, 5, 0])


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_the_forward_pass_has_so_many_numbers(bits):
    layer = prepare_qat(Sequential(Linear(20, 3)), weight_bits=bits).layers[0]
    rounded = layer.rounding(layer.weight, 1).data
    assert all(len(np.unique(column)) < 2**bits for column in rounded.T)
    q, scale = quantize_weight(layer.weight.data, 1, bits=bits)
    np.testing.assert_array_equal(rounded, q * scale)


def test_four_bits_are_the_groups_that_the_kernel_has():
    model = Sequential(Linear(70, 5), ReLU(), Linear(5, 3))
    x = np.random.default_rng(0).standard_normal((9, 70)).astype(np.float32)
    np.testing.assert_allclose(
        prepare_qat(model, weight_bits=4)(Tensor(x)).data, quantize_int4(model)(x), atol=0.03
    )


def train(model, images, labels, steps, lr):
    optimizer, loss_of = Adam(model.parameters(), lr=lr), CrossEntropyLoss()
    model.train()
    rng = np.random.default_rng(0)
    for _ in range(steps):
        rows = rng.integers(0, len(images), 64)
        optimizer.zero_grad()
        loss_of(model(Tensor(images[rows])), from_numpy(labels[rows])).backward()
        optimizer.step()
    return model.eval()


def accuracy(predict, images, labels):
    y = predict(images)
    return np.mean((y.data if isinstance(y, Tensor) else y).argmax(axis=1) == labels)


def test_training_with_rounding_wins_back_what_two_bits_lose():
    np.random.seed(0)
    images, labels = load_digits(8, "train")
    held_out, answers = load_digits(8, "test")
    model = train(Sequential(Flatten(), Linear(64, 32), ReLU(), Linear(32, 10)), images, labels, 300, 5e-3)
    before = accuracy(model, Tensor(held_out), answers)
    untrained = convert(prepare_qat(model, weight_bits=2), images[:256])
    rounded = accuracy(untrained, held_out, answers)
    aware = train(prepare_qat(model, weight_bits=2), images, labels, 300, 2e-3)
    small = convert(aware, images[:256])
    after = accuracy(small, held_out, answers)
    assert before > 0.95 and rounded < before - 0.1
    assert after > rounded + 0.5 * (before - rounded)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_the_converted_network_is_the_one_that_was_trained(bits):
    """Batch norm included: with a scale for each channel, folding it changes no integer."""
    np.random.seed(0)
    images, labels = load_digits(8, "train")
    model = train(ResNet((8, 12)), images, labels, 30, 3e-3)
    aware = train(prepare_qat(model, weight_bits=bits), images, labels, 40, 1e-3)
    y, small = aware(Tensor(images[:200])).data, convert(aware, images[:256])(images[:200])
    assert np.mean(y.argmax(axis=1) == small.argmax(axis=1)) >= 0.97
    assert np.sqrt(np.mean((y - small) ** 2) / np.mean(y**2)) < 0.04


@pytest.mark.parametrize("bits", [4, 8])
def test_a_gpt_learns_and_converts(bits):
    np.random.seed(0)
    ids = np.random.default_rng(0).integers(0, 20, (4, 16))
    aware = prepare_qat(char_gpt(20, 32, 1, 2, 16), weight_bits=bits)
    aware(ids).sum().backward()
    assert all(np.abs(p.grad).max() > 0 for p in aware.parameters() if p.grad is not None)
    assert sum(isinstance(m, QATLinear) for m in aware.modules()) == 7
    aware.eval()
    y = aware(ids).data
    small = convert(aware, ids if bits == 8 else None)
    assert np.abs(small.infer(ids) - y).max() < 0.1 * np.abs(y).max()


def test_the_model_itself_is_left_alone():
    model = Sequential(Linear(4, 3))
    aware = prepare_qat(model)
    aware.layers[0].weight.data[:] = 7
    assert not (model.layers[0].weight.data == 7).any() and type(model.layers[0]) is Linear
    aware(Tensor(np.ones((2, 4))))
    assert type(convert(aware, np.ones((2, 4), np.float32)).stages[-1]).__name__ == "DenseInt8"


def test_eval_mode_moves_no_scale():
    aware = prepare_qat(Sequential(Linear(4, 3)), observer=MinMaxObserver)
    aware(Tensor(np.ones((2, 4))))
    aware.eval()
    aware(Tensor(9 * np.ones((2, 4))))
    assert aware.layers[0].input_rounding.observer.high == 1
