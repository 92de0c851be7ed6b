"""Amdahl's estimate by hand, and against a model whose time is known."""

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


class Busy(Linear):
    """A layer that takes about as long as it is told."""

    def __init__(self, work):
        super().__init__(2, 2)
        self.work = work

    def forward(self, x):
        for _ in range(self.work):
            pass
        return super().forward(x)


def test_prediction_and_check_on_a_model_whose_shares_are_known():
    model = Sequential(Busy(30_000), Busy(10_000))
    table = profile_layers(model, X, seconds=0.1)
    guess = what_if(table, "layers.0", math.inf)
    assert guess.tag == "modelled" and "Amdahl" in guess.formula
    found = check_what_if(model, X, "layers.0", seconds=0.1, table=table)
    assert found.layer_gain.value > 10
    assert 1.5 < found.predicted.value < 8 and 1.5 < found.measured.ratio.value < 8
    assert "modelled" in str(found) and "measured" in str(found)
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_replacement_of_ones_own_takes_the_layers_place():
    model = Sequential(Busy(20_000), Busy(10))
    calls = []

    def cheap(x):
        calls.append(x.shape)
        return x

    found = check_what_if(model, X, "layers.0", cheap, seconds=0.05)
    assert calls and set(calls) == {(1, 2)}
    assert found.measured.verdict == "faster"


MISUSE = {
    "percent": (lambda: amdahl(60, 4), r"from 0 to 1, got 60; divide percent by 100"),
    "a negative share": (lambda: amdahl(-0.1, 4), "from 0 to 1"),
    "a factor of 0": (lambda: amdahl(0.5, 0), "how many times faster, so above 0"),
    "an unknown layer": (lambda: check_what_if(Sequential(Busy(1)), X, "layer", seconds=0.01), "no layer"),
    "the model itself": (
        lambda: check_what_if(Sequential(Busy(1)), X, "Sequential", seconds=0.01),
        "inside the model; there are layers.0",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, message = MISUSE[name]
    with pytest.raises(ValueError, match=message):
        call()
