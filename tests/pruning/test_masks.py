"""The smallest weights go, as many as asked; they stay gone, and the sparse model computes the same."""

import copy

import numpy as np
import pytest

from tests.pruning.models import RNG, cnn, gpt, mlp
from tinytorch import Tensor
from tinytorch.layers import Linear, Module
from tinytorch.losses import MSELoss
from tinytorch.optimizers import Adam
from tinytorch.pruning import Masks, magnitude_mask, n_m_mask, prunable_layers, prune


@pytest.mark.parametrize("shape", [(12, 8), (8, 3, 3, 3)])
@pytest.mark.parametrize("sparsity", [0, 0.3, 0.5, 0.98, 1])
def test_mask_removes_the_smallest_exactly(shape, sparsity):
    weight = RNG.standard_normal(shape).astype(np.float32)
    keep = magnitude_mask(weight, sparsity)
    assert keep.shape == shape and (~keep).sum() == round(sparsity * weight.size)
    if 0 < sparsity < 1:
        assert np.abs(weight[~keep]).max() <= np.abs(weight[keep]).min()


@pytest.mark.parametrize("outputs", [8, 10])
def test_blocks_stand_or_fall_together(outputs):
    weight = RNG.standard_normal((6, outputs)).astype(np.float32)
    keep = magnitude_mask(weight, 0.5, block=4).T
    for first in range(0, outputs, 4):
        rows = keep[first : first + 4]
        assert (rows.all(axis=0) | ~rows.any(axis=0)).all()
    assert 0.3 < 1 - keep.mean() < 0.7


def test_equal_weights_are_removed_by_position():
    keep = magnitude_mask(np.ones((4, 4), np.float32), 0.5)
    assert keep.sum() == 8


def test_scopes():
    model = mlp()
    model.layers[0].weight.data = model.layers[0].weight.data * 100
    shares = [1 - m.mean() for m in prune(model, 0.2, scope="global").masks]
    assert shares[0] < 0.05 and shares[1] > 0.9  # the layer of small weights loses nearly all
    model = mlp()
    model.layers[0].weight.data = model.layers[0].weight.data * 100
    scaled = prune(model, 0.9, scope="adaptive").masks
    for mask, same in zip(scaled, prune(mlp(), 0.9, scope="adaptive").masks, strict=True):
        np.testing.assert_array_equal(mask, same)  # a layer's scale does not matter
        assert mask.any()  # and no layer is emptied
    model = mlp()
    shares = [1 - m.mean() for m in prune(model, 0.2, scope="layer").masks]
    np.testing.assert_allclose(shares, 0.2, atol=0.01)


def test_pruned_weights_stay_zero_while_the_rest_trains():
    model = mlp()
    model.train()
    masks = prune(model, 0.8)
    assert masks.sparsity == pytest.approx(0.8, abs=0.01)
    optimizer = masks.wrap(Adam(model.parameters(), lr=0.01))
    assert copy.deepcopy(optimizer).lr == 0.01
    before = [w.data.copy() for w in masks.weights]
    x, y = Tensor(RNG.standard_normal((16, 40))), Tensor(RNG.standard_normal((16, 10)))
    for _ in range(3):
        optimizer.zero_grad()
        MSELoss()(model(x), y).backward()
        optimizer.step()
    for weight, mask, old in zip(masks.weights, masks.masks, before, strict=True):
        assert (weight.data[~mask] == 0).all()
        assert (weight.data[mask] != old[mask]).any()
    optimizer.lr = 0.5
    assert optimizer._optimizer.lr == 0.5


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (3, 3)])
@pytest.mark.parametrize("shape", [(24, 5), (6, 24, 3, 3)])
def test_n_of_m_keeps_the_largest_of_every_group(shape, n, m):
    weight = RNG.standard_normal(shape).astype(np.float32)
    keep = n_m_mask(weight, n, m)
    assert keep.shape == shape
    axis = 0 if len(shape) == 2 else 1
    sizes, kept = (np.moveaxis(a, axis, -1).reshape(-1, m) for a in (np.abs(weight), keep))
    assert (kept.sum(axis=1) == n).all()
    for size, k in zip(sizes, kept, strict=True):
        assert set(np.flatnonzero(k)) == set(np.argsort(size)[m - n :])


def test_pruning_by_pattern_and_by_layer():
    model = mlp()
    assert prune(model, "2:4").sparsity == 0.5
    model = cnn()
    masks = prune(model, {"layers.4": 0.75})
    assert masks.by_layer == {"layers.4": 0.75}
    assert model.layers[0].weight.data.all()  # was not named
    model = gpt()
    masks = prune(model, {"blocks.1.mlp.linear1": "1:4", "lm_head": 0.5})
    assert masks.by_layer == {"blocks.1.mlp.linear1": 0.75, "lm_head": 0.5}


def test_layers_are_found_wherever_they_are():
    class Course(Module):
        def __init__(self):
            self.first, self.rest = Linear(4, 3), {"second": Linear(3, 2)}

    class Plain:  # knows nothing of Module
        def __init__(self):
            self.layers = [Linear(4, 3)]

    assert list(prunable_layers(Course())) == ["first", "rest.second"]
    assert list(prunable_layers(Plain())) == ["layers.0"]
    assert len(prunable_layers(gpt())) == 2 * 6 + 1
    tied = Course()
    tied.rest = {"second": Linear(4, 3)}
    tied.rest["second"].weight = tied.first.weight
    assert list(prunable_layers(tied)) == ["first"]


def test_masks_move_to_another_model_and_are_read_off_its_zeros():
    model = mlp()
    masks = prune(model, 0.6)
    fresh = copy.deepcopy(mlp())
    for weight in (layer.weight for layer in prunable_layers(fresh).values()):
        weight.data = RNG.standard_normal(weight.shape).astype(np.float32)
    moved = masks.onto(fresh)
    for layer, mask in zip(prunable_layers(fresh).values(), masks.masks, strict=True):
        np.testing.assert_array_equal(layer.weight.data != 0, mask)
    assert moved.names == masks.names == ["layers.0", "layers.2"]
    for found, mask in zip(Masks.of_zeros(fresh).masks, masks.masks, strict=True):
        np.testing.assert_array_equal(found, mask)
