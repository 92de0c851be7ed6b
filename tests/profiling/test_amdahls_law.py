"""Amdahl's estimate by hand, and what its check replaces."""

import math

import numpy as np
import pytest

from tinytorch.layers import Linear, Sequential
from tinytorch.profiling import amdahl, check_what_if, profile_layers, what_if
from tinytorch.tensor import Tensor

X = Tensor(np.ones((1, 2), np.float32))


def test_the_law():
    assert amdahl(0.5, 4) == 1.6
    assert amdahl(0.5, math.inf) == 2.0
    assert amdahl(0.0, 100) == 1.0
    assert amdahl(1.0, 3) == 3.0
    assert amdahl(1.0, math.inf) == math.inf
    assert amdahl(0.5, 0.5) == pytest.approx(1 / 1.5)  # slower


def two_layers():
    return Sequential(Linear(2, 2), Linear(2, 2))


def test_the_prediction_follows_from_share_and_gain():
    model = two_layers()
    table = profile_layers(model, X, rounds=6)
    guess = what_if(table, "layers.0", math.inf)
    assert guess.tag == "modelled" and "Amdahl" in guess.formula
    assert guess.value == amdahl(table.share("layers.0").value / 100, math.inf)
    found = check_what_if(model, X, "layers.0", seconds=0.01, table=table)
    assert found.share == table.share("layers.0")
    assert found.predicted.value == amdahl(found.share.value / 100, found.layer_gain.value)
    assert found.off_by == pytest.approx(found.measured.ratio.value / found.predicted.value - 1)
    assert "modelled" in str(found) and "measured" in str(found)
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_replacement_of_ones_own_takes_the_layers_place():
    calls = []

    def double(x):
        calls.append(x.shape)
        return x * 2

    with pytest.warns(UserWarning, match="return different results"):
        found = check_what_if(two_layers(), X, "layers.0", double, seconds=0.01)
    assert calls and set(calls) == {(1, 2)}
    assert found.measured.names == ("model", "with the replacement")


MISUSE = {
    "percent": (lambda: amdahl(60, 4), r"from 0 to 1, got 60; divide percent by 100"),
    "a negative share": (lambda: amdahl(-0.1, 4), "from 0 to 1"),
    "a factor of 0": (lambda: amdahl(0.5, 0), "how many times faster, so above 0"),
    "an unknown layer": (lambda: check_what_if(two_layers(), X, "layer", seconds=0.01), "no layer"),
    "the model itself": (
        lambda: check_what_if(two_layers(), X, "Sequential", seconds=0.01),
        "inside the model; there are layers.0, layers.1",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, message = MISUSE[name]
    with pytest.raises(ValueError, match=message):
        call()
