"""What people get wrong when they make models smaller, and the words that the error must have."""

import copy

import numpy as np
import pytest

from tests.pruning.models import cnn, mlp
from tinytorch import Tensor
from tinytorch.acceleration import optimize
from tinytorch.activations import ReLU, Sigmoid
from tinytorch.caching import enable_kv_cache
from tinytorch.layers import Linear, Module, Sequential
from tinytorch.models import char_gpt
from tinytorch.pruning import (
    CubicSparsity,
    IterativeSparsity,
    KnowledgeDistillation,
    Masks,
    PruneGradually,
    factorize,
    find_ticket,
    low_rank,
    magnitude_mask,
    n_m_mask,
    prunable,
    prune,
    remove_units,
    sensitivity,
    sparsify,
    structured_prune,
)


def nan_model():
    model = mlp()
    model.layers[0].weight.data[0, 0] = np.nan
    return model


def distil(student, labels=(0, 1)):
    return KnowledgeDistillation(mlp(), mlp()).loss(student, np.zeros((2, 4)), list(labels))


def train_sparse():
    model = sparsify(Model(), measure=False)
    model(Tensor(np.ones((1, 4)), requires_grad=True))


class Model(Module):
    """One that is not a list of layers, so that a sparse layer stands inside it."""

    def __init__(self):
        self.first = Linear(4, 4)

    def forward(self, x):
        return self.first(x)


def with_cache():
    model = char_gpt(20, 16, 1, 2, 8)
    enable_kv_cache(model)
    return model


MISUSE = {
    "a low rank while a cache is on": (lambda: low_rank(with_cache()), "low_rank: a copy.*disable_kv_cache"),
    "smaller while a cache is on": (lambda: remove_units(with_cache(), 0.5), "remove_units: a copy"),
    "sparse while a cache is on": (lambda: sparsify(with_cache(), measure=False), "sparsify: a copy"),
    "layer by layer while a cache is on": (
        lambda: sensitivity(with_cache(), lambda m: 0),
        "sensitivity: a copy",
    ),
    "a percentage": (lambda: prune(mlp(), 90), r"from 0 to 1.*did you mean 0\.9\?"),
    "less than nothing": (lambda: prune(mlp(), -0.1), "sparsity is -0.1, must be a number from 0 to 1"),
    "more than everything": (lambda: prune(mlp(), 1.1), "sparsity is 1.1, .* from 0 to 1"),
    "not a number": (lambda: prune(mlp(), float("nan")), "sparsity is nan"),
    "everything": (lambda: prune(mlp(), 1.0), "sparsity is 1, which would remove every weight"),
    "everything of one layer": (lambda: prune(mlp(), {"layers.0": 1}), "would remove every weight"),
    "a share in words": (lambda: prune(mlp(), "90%"), "'90%' is no pattern; \"2:4\" keeps"),
    "a list of shares": (lambda: prune(mlp(), [0.5, 0.9]), r"sparsity is \[0.5, 0.9\], must be a number"),
    "a percentage in a mask": (
        lambda: magnitude_mask(np.ones((4, 4)), 50),
        "magnitude_mask.*did you mean 0.5",
    ),
    "a layer that isn't there": (
        lambda: prune(mlp(), {"fc1": 0.5}),
        "no layer 'fc1' to prune; there are layers.0, layers.2",
    ),
    "an unknown scope": (
        lambda: prune(mlp(), 0.5, scope="network"),
        "scope is 'network', must be \"adaptive\"",
    ),
    "a block of nothing": (
        lambda: prune(mlp(), 0.5, block=0),
        "block is 0; it counts the consecutive outputs",
    ),
    "a block as a pair": (lambda: prune(mlp(), 0.5, block=(4, 1)), r"block is \(4, 1\).*whole number"),
    "nothing to prune": (lambda: prune(Sequential(ReLU()), 0.5), "Sequential has no Linear or Conv2d"),
    "a model for inference": (
        lambda: prune(optimize(mlp()), 0.5),
        "InferenceModel has no .*not yet optimized",
    ),
    "a model that diverged": (lambda: prune(nan_model(), 0.5), "'layers.0' holds NaN.*diverge"),
    "groups that don't fit": (
        lambda: prune(cnn(), "2:4"),
        r"layer 'layers.0'.*groups of 4 inputs, but axis 1 of the weight \(8, 2, 3, 3\) has 2",
    ),
    "more than there are": (lambda: n_m_mask(np.ones((8, 4)), 5, 4), '"5:4" keeps 5 of every 4'),
    "a pattern in blocks": (lambda: prune(mlp(), "2:4", block=4), "single weights, so block must be 1"),
    "a mask of another shape": (
        lambda: Masks(prunable(mlp()), [np.ones((24, 40), bool), np.ones((24, 10), bool)]),
        r"(?s)mask\s+\(24, 40\)\s+weight \(40, 24\)",
    ),
    "too few masks": (lambda: Masks(prunable(mlp()), []), "0 masks and 2 names for 2 weights"),
    "masks of another model": (
        lambda: prune(mlp(), 0.5).onto(cnn()),
        "Sequential has no layer 'layers.2'; it has layers.0, layers.4",
    ),
    "no unit left": (lambda: remove_units(mlp(), 0.99), "leave none of the 24 units.*At most 0.958"),
    "a percentage of units": (lambda: remove_units(mlp(), 50), "remove_units.*did you mean 0.5"),
    "no hidden layer": (
        lambda: remove_units(Sequential(Linear(4, 2)), 0.5),
        "no two Linear or Conv2d layers",
    ),
    "a trace left": (
        lambda: remove_units(Sequential(Linear(4, 6), Sigmoid(), Linear(6, 2)), 0.5),
        "as Sigmoid does",
    ),
    "a percentage of columns": (lambda: structured_prune(mlp(), 50), "structured_prune.*did you mean 0.5"),
    "a schedule that falls": (
        lambda: CubicSparsity(0.5, 10, initial=0.9),
        "rises from initial=0.9 to final=0.5",
    ),
    "a schedule that ends at once": (lambda: CubicSparsity(0.5, 0), "0 ≤ begin < end .*optimizer steps"),
    "a schedule of no rounds": (lambda: IterativeSparsity(0.5, rounds=0), "at least one round"),
    "a schedule in percent": (lambda: CubicSparsity(90, 100), "CubicSparsity.*did you mean 0.9"),
    "a number for a schedule": (lambda: PruneGradually(0.9), r"expected a schedule.*CubicSparsity\(0.9"),
    "no example": (lambda: sparsify(mlp()), r"depends on the batch.*sparsify\(model, x\).*measure=False"),
    "a block without a kernel": (
        lambda: sparsify(mlp(), block=3, measure=False),
        r"block must be \(r, 1\) with r in",
    ),
    "sparse twice": (
        lambda: sparsify(sparsify(mlp(), measure=False), measure=False),
        "SparseModel has no .*not yet",
    ),
    "training a sparse layer": (train_sparse, r"computes no gradients.*masks.wrap\(optimizer\)"),
    "no shares to try": (lambda: sensitivity(mlp(), lambda m: 0, ()), "sparsities is empty"),
    "a ticket without training": (
        lambda: find_ticket(mlp(), None, 0.5, rounds=0),
        "rounds must be at least 1",
    ),
    "a ticket in percent": (lambda: find_ticket(mlp(), None, 90), "find_ticket.*did you mean 0.9"),
    "no temperature": (lambda: KnowledgeDistillation(mlp(), mlp(), 0), "temperature 0 must be > 0"),
    "too much alpha": (lambda: KnowledgeDistillation(mlp(), mlp(), 3, 1.5), "alpha 1.5 from 0 to 1"),
    "its own teacher": (lambda: (lambda m: KnowledgeDistillation(m, m))(mlp()), "the same model"),
    "other classes": (
        lambda: distil(Tensor(np.zeros((2, 5)))),
        r"(?s)one shape.*student \(2, 5\).*teacher \(2, 4\)",
    ),
    "too few labels": (lambda: distil(Tensor(np.zeros((2, 4))), [0]), r"(?s)one label.*labels \(1,\)"),
    "rank and energy": (lambda: factorize(Linear(4, 3), rank=2, energy=0.5), "give either rank"),
    "a rank too many": (lambda: factorize(Linear(4, 3), rank=4), r"rank is 4; a weight \(4, 3\) .* 1 to 3"),
    "energy in percent": (lambda: low_rank(mlp(), 95), "energy is 95.*at most 1"),
    "a convolution in two": (
        lambda: factorize(cnn().layers[0], rank=1),
        "expected a Linear layer, got Conv2d",
    ),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words):
        mistake()


@pytest.mark.parametrize("sparsity", [90, 1.0, "3:4:5", {"layers.0": 0.5, "layers.2": 2}])
def test_a_refused_model_is_left_as_it_was(sparsity):
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError):
        prune(model, sparsity)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
