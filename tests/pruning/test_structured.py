"""Units that are removed take their batch norm and the next layer's inputs along; nothing else changes."""

import copy

import numpy as np
import pytest

from tests.pruning.models import RNG, cnn, gpt, mlp, normalised_cnn, resnet, whole_numbers
from tinytorch import Tensor
from tinytorch.acceleration import optimize
from tinytorch.activations import ReLU, Sigmoid, Tanh
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.pooling import GlobalAvgPool2d
from tinytorch.pruning import remove_units, zero_units
from tinytorch.pruning.structured import links
from tinytorch.replacing import stored_bytes
from tinytorch.spatial import AvgPool2d, BatchNorm1d, BatchNorm2d, Conv2d

MODELS = {
    "mlp": (mlp, (40,)),
    "cnn": (cnn, (2, 6, 6)),
    "batch norm": (normalised_cnn, (4, 6, 6)),
    "resnet": (resnet, (2, 8, 8)),
}


def pooled():
    """A norm without a scale, one behind its activation, and a global pool."""
    model = Sequential(
        Conv2d(3, 8, 3), BatchNorm2d(8, affine=False), Tanh(), AvgPool2d(2),
        Conv2d(8, 6, 1), ReLU(), BatchNorm2d(6), GlobalAvgPool2d(), Flatten(),
        Linear(6, 10), BatchNorm1d(10), Dropout(0.1), Linear(10, 4),
    )  # fmt: skip
    for layer in model.layers:
        if isinstance(layer, BatchNorm2d):
            layer.running_mean[...] = RNG.standard_normal(len(layer.running_mean))
    return model.eval()


MODELS["pools"] = (pooled, (3, 8, 8))


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", MODELS)
def test_smaller_model_is_the_silenced_one(name, ratio):
    make, shape = MODELS[name]
    model = make()
    smaller = remove_units(model, ratio)
    zero_units(model, ratio)
    x = Tensor(RNG.standard_normal((5, *shape)))
    np.testing.assert_allclose(smaller(x).data, model(x).data, rtol=1e-5, atol=1e-5)
    if name != "pools":  # no inference stage knows a batch norm that follows no convolution
        np.testing.assert_allclose(optimize(smaller)(x), model(x).data, rtol=1e-4, atol=1e-5)


def test_whole_numbers_come_out_exactly():
    model = whole_numbers(mlp())
    smaller = remove_units(model, 0.5)
    zero_units(model, 0.5)
    x = Tensor(RNG.integers(-3, 4, (5, 40)).astype(np.float32))
    np.testing.assert_array_equal(smaller(x).data, model(x).data)


def test_every_size_shrinks():
    model = normalised_cnn()
    smaller = remove_units(model, 0.5)
    first, norm, _, _, second, _, _, _, _, linear, _, last = smaller.layers
    assert first.weight.shape == (4, 4, 3, 3) and (first.in_channels, first.out_channels) == (4, 4)
    assert norm.num_features == 4 and norm.gamma.shape == norm.running_var.shape == (4,)
    assert second.weight.shape == (6, 4, 3, 3) and second.bias.shape == (6,)
    assert linear.weight.shape == (6 * 9, 8) and (linear.in_features, linear.out_features) == (54, 8)
    assert last.weight.shape == (8, 6)
    assert stored_bytes(smaller) < 0.35 * stored_bytes(model)
    assert model.layers[0].out_channels == 8  # the model itself is left as it was


def test_the_weakest_go():
    model = mlp()
    model.layers[0].weight.data[:, [3, 7, 11]] *= 0.01
    (removed,) = zero_units(model, 3 / 24)
    assert list(np.flatnonzero(removed)) == [3, 7, 11]
    model = normalised_cnn()
    model.layers[1].gamma.data[...] = 1
    model.layers[1].gamma.data[5] = 0  # batch norm alone silences it
    assert list(np.flatnonzero(zero_units(model, 1 / 8)[0])) == [5]


def test_a_smaller_model_trains_on():
    model = remove_units(normalised_cnn(), 0.5).train()
    optimizer = Adam(model.parameters(), lr=0.01)
    x, y = Tensor(RNG.standard_normal((16, 4, 6, 6))), RNG.integers(0, 6, 16)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = CrossEntropyLoss()(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_gpt_loses_hidden_units_of_its_mlps():
    model = gpt()
    smaller = remove_units(model, 0.5)
    assert smaller.blocks[0].mlp.linear1.weight.shape == (32, 64)
    zero_units(model, 0.5)
    tokens = RNG.integers(0, 20, (2, 9))
    np.testing.assert_allclose(smaller(tokens).data, model(tokens).data, atol=1e-5)
    np.testing.assert_array_equal(
        smaller.generate(tokens, 8, temperature=0).data, model.generate(tokens, 8, temperature=0).data
    )


def test_a_residual_block_loses_the_channels_inside_it():
    model = resnet()
    assert len(links(model)) == 2  # those on the way around are shared by all blocks, and stay
    block = remove_units(model, 0.5).layers[4]
    assert [layer.weight.shape[:2] for layer in block.main.layers if hasattr(layer, "kernel_size")] == [
        (6, 8),
        (12, 6),
    ]


def test_units_that_would_leave_a_trace_stay():
    assert not links(Sequential(Linear(4, 6), Sigmoid(), Linear(6, 2)))  # sigmoid(0) is 0.5
    assert not links(Sequential(Conv2d(4, 4, 3), ReLU(), Conv2d(4, 4, 3, groups=4)))
    assert (
        len(links(Sequential(Conv2d(4, 4, 3, groups=4), ReLU(), Conv2d(4, 4, 1), ReLU(), Conv2d(4, 2, 1))))
        == 1
    )
    twice = Linear(6, 6)
    assert not links(Sequential(twice, ReLU(), twice))
    assert not links(Sequential(Conv2d(1, 3, 3), Flatten(), BatchNorm1d(12), Linear(12, 2)))


def test_copies_share_nothing():
    model = mlp()
    smaller = remove_units(model, 0.0)
    before = copy.deepcopy(model.layers[0].weight.data)
    smaller.layers[0].weight.data[...] = 0
    np.testing.assert_array_equal(model.layers[0].weight.data, before)
