"""Sensitivity prunes one layer at a time; a ticket begins where its network began."""

import copy

import numpy as np
import pytest

from tests.pruning.models import RNG, mlp
from tinytorch import Tensor, viz
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import SGD
from tinytorch.pruning import Sensitivity, find_ticket, prunable, sensitivity


def test_one_layer_at_a_time():
    model = mlp()
    before = [w.data.copy() for w in prunable(model)]
    seen = []

    def score(candidate):
        seen.append(tuple(round(float((w.data == 0).mean()), 2) for w in prunable(candidate)))
        return len(seen)

    found = sensitivity(model, score, (0.75, 0.5))
    assert seen == [(0, 0), (0.5, 0), (0.75, 0), (0, 0.5), (0, 0.75)]
    assert found.baseline == 1 and found.scores == {"layers.0": [2, 3], "layers.2": [4, 5]}
    assert found.sparsities == (0.5, 0.75)
    for weight, old in zip(prunable(model), before, strict=True):
        np.testing.assert_array_equal(weight.data, old)
    axes = viz.lines(found.series()).axes[0]
    assert [line.get_label() for line in axes.lines] == ["layers.0", "layers.2"]


def test_choice_stops_at_the_first_loss():
    found = Sensitivity(90.0, (0.5, 0.8, 0.9), {"a": [90, 89, 80], "b": [70, 90, 90], "c": [91, 91, 91]})
    assert found.choose(1.0) == {"a": 0.8, "b": 0.0, "c": 0.9}


def train(model, masks):
    x, y = Tensor(RNG.standard_normal((32, 40))), RNG.integers(0, 10, 32)
    optimizer = masks.wrap(SGD(model.parameters(), lr=0.1))
    for _ in range(3):
        optimizer.zero_grad()
        CrossEntropyLoss()(model(x), y).backward()
        optimizer.step()


def test_a_ticket_begins_where_the_network_began():
    model = mlp()
    start = copy.deepcopy(model.state_dict())
    sparsities = []

    def watched(model, masks):
        sparsities.append(masks.sparsity)
        for weight, mask, name in zip(masks.weights, masks.masks, masks.names, strict=True):
            np.testing.assert_array_equal(weight.data, start[f"{name}.weight"] * mask)  # rewound
        train(model, masks)

    ticket = find_ticket(model, watched, 0.875, rounds=3)
    assert sparsities == pytest.approx([0, 0.5, 0.75], abs=0.01)
    assert ticket.masks.sparsity == pytest.approx(0.875, abs=0.01)
    for name, mask in zip(ticket.masks.names, ticket.masks.masks, strict=True):
        np.testing.assert_array_equal(model.state_dict()[f"{name}.weight"], start[f"{name}.weight"] * mask)
    other = copy.deepcopy(model)
    train(other, ticket.masks.onto(other))
    ticket.rewind(other)
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, model.state_dict()[name])
