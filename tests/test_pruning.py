"""The smallest weights go, as many as asked; they stay gone, and the sparse model computes the same."""

import numpy as np
import pytest

from tinytorch import Tensor
from tinytorch.acceleration import optimize
from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import MSELoss
from tinytorch.optimizers import Adam
from tinytorch.pruning import (
    Compressor,
    KnowledgeDistillation,
    compress_model,
    low_rank_approximate,
    magnitude_mask,
    magnitude_prune,
    measure_sparsity,
    prune,
    sparsify,
    structured_prune,
)
from tinytorch.spatial import Conv2d, MaxPool2d

RNG = np.random.default_rng(0)


def mlp() -> Sequential:
    np.random.seed(0)
    return Sequential(Linear(40, 24), ReLU(), Linear(24, 10)).eval()


def cnn() -> Sequential:
    np.random.seed(1)
    return Sequential(Conv2d(2, 8, 3, padding=1), ReLU(), MaxPool2d(2), Flatten(), Linear(8 * 9, 6)).eval()


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


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, 50, float("nan")])
def test_sparsity_is_a_share(sparsity):
    with pytest.raises(ValueError, match="from 0 to 1"):
        prune(mlp(), sparsity)


def test_a_percentage_is_recognised():
    with pytest.raises(ValueError, match=r"did you mean 0\.9\?"):
        prune(mlp(), 90)


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
    with pytest.raises(ValueError, match="scope"):
        prune(mlp(), 0.2, scope="network")


def test_nothing_to_prune_is_said():
    with pytest.raises(ValueError, match="no Linear or Conv2d"):
        prune(Sequential(ReLU()), 0.5)


def test_pruned_weights_stay_zero_while_the_rest_trains():
    model = mlp()
    model.train()
    masks = prune(model, 0.8)
    assert masks.sparsity == pytest.approx(0.8, abs=0.01)
    optimizer = masks.wrap(Adam(model.parameters(), lr=0.01))
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


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(("make", "shape"), [(mlp, (40,)), (cnn, (2, 6, 6))])
def test_sparse_model_computes_what_the_masked_model_computes(make, shape, block):
    model = make()
    prune(model, 0.7, block=block)
    x = RNG.standard_normal((5, *shape)).astype(np.float32)
    sparse = sparsify(model, block=block, measure=False)
    np.testing.assert_allclose(sparse(x), optimize(model)(x), atol=1e-5)


def test_sparse_model_is_smaller():
    model = mlp()
    prune(model, 0.95)
    assert sparsify(model, measure=False).nbytes < 0.3 * sum(p.data.nbytes for p in model.parameters())


def test_layers_below_the_least_sparsity_stay_dense():
    model = mlp()
    kinds = [type(stage).__name__ for stage in sparsify(model, measure=False, least_sparsity=0.5).stages]
    assert kinds == ["Dense", "Dense"]


def test_course_functions():
    model = mlp()
    assert measure_sparsity(model) == pytest.approx(
        sum(p.size for p in model.parameters() if p.ndim == 1) / 1234
    )
    assert magnitude_prune(model, 0.5) is model
    assert (model.layers[0].weight.data == 0).mean() == 0.5
    model, stats = compress_model(mlp(), {"magnitude_sparsity": 0.9})
    assert stats["final_sparsity"] > 0.85 and stats["compression_ratio"] > 5
    with pytest.raises(ValueError, match="unknown"):
        compress_model(mlp(), {"sparsity": 0.9})
    assert Compressor.measure_sparsity(model) == stats["final_sparsity"]


def test_structured_pruning_removes_whole_outputs():
    model = mlp()
    weakest = np.linalg.norm(model.layers[0].weight.data, axis=0).argsort()[:12]
    structured_prune(model, 0.5)
    assert not model.layers[0].weight.data[:, weakest].any()
    assert (np.abs(model.layers[0].weight.data).sum(axis=0) == 0).sum() == 12


def test_low_rank():
    matrix = RNG.standard_normal((10, 3)) @ RNG.standard_normal((3, 8))
    u, s, v = low_rank_approximate(matrix, 0.5)
    assert s.shape == (4,)
    np.testing.assert_allclose(u * s @ v, matrix, atol=1e-8)
    with pytest.raises(ValueError, match="rank_ratio"):
        low_rank_approximate(matrix, 0)


def test_distillation_loss():
    logits, labels = RNG.standard_normal((6, 4)).astype(np.float32), RNG.integers(0, 4, 6)
    hard = KnowledgeDistillation(mlp(), mlp(), alpha=0.0).distillation_loss(logits, logits * 2, labels)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert hard == pytest.approx(-log_p[np.arange(6), labels].mean(), rel=1e-5)
    soft = KnowledgeDistillation(mlp(), mlp(), alpha=1.0)
    assert soft.distillation_loss(logits, logits, labels) == pytest.approx(0, abs=1e-6)
    assert soft.distillation_loss(logits, -logits, labels) > 0
    with pytest.raises(ValueError, match="temperature"):
        KnowledgeDistillation(mlp(), mlp(), temperature=0)
