"""The sparse model computes what the masked one does, is smaller, and says how each layer was chosen."""

import numpy as np
import pytest

from tests.pruning.models import RNG, cnn, gpt, mlp, normalised_cnn, resnet, whole_numbers
from tinytorch import Tensor, kernels, timing
from tinytorch.acceleration import optimize
from tinytorch.autograd import no_grad
from tinytorch.layers import Linear, Module
from tinytorch.pruning import (
    SparseLayer,
    decisions_table,
    prunable_layers,
    prune,
    sparsify,
)
from tinytorch.quantization import quantize
from tinytorch.replacing import stored_bytes
from tinytorch.spatial import Conv2d

MODELS = [(mlp, (40,)), (cnn, (2, 6, 6)), (normalised_cnn, (4, 6, 6)), (resnet, (2, 8, 8))]


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(("make", "shape"), MODELS)
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


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize(("make", "shape"), MODELS[:2])
def test_whole_numbers_come_out_exactly(make, shape, block):
    model = whole_numbers(make())
    prune(model, 0.6, block=block)
    x = RNG.integers(-3, 4, (3, *shape)).astype(np.float32)
    with no_grad():
        np.testing.assert_array_equal(sparsify(model, block=block, measure=False)(x), model(Tensor(x)).data)


def test_residual_blocks_are_decided_layer_by_layer():
    model = resnet()
    prune(model, {"layers.3.main.layers.0": 0.9, "layers.4.shortcut.layers.0": 0.8, "layers.7": 0.7})
    result = sparsify(model, measure=False, least_sparsity=0.5)
    shares = {name: float(np.mean(layer.weight.data == 0)) for name, layer in prunable_layers(model).items()}
    assert {d.layer: d.sparsity for d in result.decisions} == pytest.approx(shares)
    assert [d.layer for d in result.decisions if d.sparse] == [name for name, s in shares.items() if s > 0.5]


@pytest.mark.parametrize("block", [1, 4, 16])
def test_sparse_gpt_is_the_masked_one(block):
    model = gpt()
    prune(model, 0.8, block=block)
    sparse = sparsify(model, block=block, measure=False)
    assert all(isinstance(p, SparseLayer) for p in (sparse.lm_head, sparse.blocks[1].attention.q_proj))
    assert type(model.lm_head) is Linear  # the model itself is left as it was
    tokens = RNG.integers(0, 20, (2, 9))
    np.testing.assert_allclose(sparse(tokens).data, model(tokens).data, atol=1e-5)
    ours, theirs = (m.generate(tokens[:, :4], 12, temperature=0).data for m in (sparse, model))
    np.testing.assert_array_equal(ours, theirs)
    assert stored_bytes(sparse) < stored_bytes(model)


def test_a_model_of_attributes_keeps_its_own_forward():
    class Branches(Module):
        def __init__(self):
            self.wide, self.deep = Conv2d(4, 8, 3, padding=1), [Conv2d(4, 8, 1)]
            self.apart = Conv2d(8, 8, 3, groups=8)

        def forward(self, x):
            return self.apart(self.wide(x) + self.deep[0](x))

    model = Branches().eval()
    prune(model, 0.7)
    sparse = sparsify(model, measure=False)
    assert [d.sparse for d in sparse.decisions] == [True, True, False]
    assert "groups=8" in sparse.decisions[-1].why
    x = Tensor(RNG.standard_normal((2, 4, 6, 6)))
    np.testing.assert_allclose(sparse(x).data, model(x).data, atol=1e-5)


def fixed_clock(speed):
    """Stands in for the race: each contender takes the time that `speed` gives for its name."""

    def race_many(contenders, **_):
        for call in contenders.values():
            call()
        seconds = {name: (speed[name],) * 8 for name in contenders}
        return timing.Races(seconds, dict.fromkeys(contenders, 1), 1.0, 0.95, {})

    return race_many


@pytest.mark.parametrize(
    ("make", "x"), [(cnn, np.ones((3, 2, 6, 6), np.float32)), (gpt, np.zeros((2, 1), int))]
)
def test_the_race_decides(monkeypatch, make, x):
    model = make()
    prune(model, 0.5)
    for sparse, speed in ((True, {"dense": 2.0, "plain": 3.0, "packed": 2.0, "sparse": 1.0}),
                          (False, {"dense": 2.0, "plain": 1.0, "packed": 2.0, "sparse": 1.0}),
                          (False, {"dense": 2.0, "plain": 1.0, "packed": 2.0, "sparse": 1.5})):  # fmt: skip
        monkeypatch.setattr(timing, "race_many", fixed_clock(speed))
        result = sparsify(model, x)
        of_layers = [d for d in result.decisions if d.layer != "the model"]
        assert [d.layer for d in of_layers] == list(prunable_layers(model))
        assert all(d.sparse == sparse for d in result.decisions)
        ratio = min(speed["plain"], speed["packed"]) / speed["sparse"]
        assert all(d.ratio.value == ratio and d.ratio.low == ratio for d in of_layers)
        table = decisions_table(result.decisions)
        assert "(measured)" in table and ("sparse kernel is faster" in table) == sparse


def test_a_model_that_is_slower_as_a_whole_stays_dense(monkeypatch):
    model = gpt()
    prune(model, 0.5)
    speed = {"dense": 1.0, "plain": 3.0, "packed": 3.0, "sparse": 1.5}  # its dense layers run in one call
    monkeypatch.setattr(timing, "race_many", fixed_clock(speed))
    result = sparsify(model, [[1], [2]])
    assert not any(isinstance(module, SparseLayer) for module in result.modules())
    *layers, whole = result.decisions
    assert not any(d.sparse for d in result.decisions) and whole.layer == "the model"
    assert layers[0].ratio.value == 2 and "faster alone" in layers[0].why
    assert whole.ratio.value == pytest.approx(1 / 1.5) and "not faster as a whole" in whole.why


def test_layers_with_few_zeros_are_not_raced():
    model = mlp()
    result = sparsify(model, np.ones((4, 40), np.float32), least_sparsity=0.5)
    assert [(d.sparse, d.ratio) for d in result.decisions] == [(False, None)] * 2
    assert "fewer than 50 %" in decisions_table(result.decisions)


def test_a_real_race_is_recorded_with_its_interval():
    model = mlp()
    prune(model, 0.9)
    result = sparsify(model, np.ones((4, 40), np.float32), seconds=0.01)
    for decision in result.decisions:
        assert decision.ratio.low <= decision.ratio.value <= decision.ratio.high and decision.ratio.n > 1
        assert decision.sparse == (decision.ratio.low > 1)
    np.testing.assert_allclose(
        result(np.ones((4, 40), np.float32)), optimize(model)(np.ones((4, 40), np.float32)), atol=1e-5
    )


def test_what_is_pruned_stays_pruned_in_int8():
    model = normalised_cnn()
    prune(model, 0.7)
    images = RNG.standard_normal((16, 4, 6, 6)).astype(np.float32)
    exact, approximate = optimize(model)(images), quantize(model, images)(images)
    assert np.abs(exact - approximate).max() < 0.1 * np.abs(exact).max()
    packed = kernels.pack_int8(*symmetric(model.layers[-1].weight.data))
    assert packed is not None


def symmetric(weight):
    scale = np.abs(weight).max(axis=0) / 127
    q = np.round(weight / scale).astype(np.int8)
    assert (q[weight == 0] == 0).all()
    return q, scale
