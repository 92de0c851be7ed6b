"""A table of layers: rows add up, shares are of the whole, counts are those of the layers."""

import numpy as np
import pytest

from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.models import DigitsCNN, MLPClassifier, char_gpt
from tinytorch.profiling import layers, profile_layers, rooflines, watching
from tinytorch.quantities import Measured
from tinytorch.tensor import Tensor


@pytest.fixture(scope="module")
def table():
    model = MLPClassifier((64, 32, 10))
    return profile_layers(model, Tensor(np.ones((4, 64), np.float32)), rounds=8)


def test_every_layer_has_a_row_and_the_model_comes_first(table):
    assert [row.name for row in table.rows] == ["MLPClassifier", *(f"layers.{i}" for i in range(4))]
    assert [row.kind for row in table.rows[1:]] == ["Flatten", "Linear", "ReLU", "Linear"]


def test_counts_are_those_of_each_layer_alone(table):
    first = table.rows[2]
    assert first.parameters == 64 * 32 + 32
    assert first.flops == 2 * 4 * 64 * 32
    assert first.moved_bytes == 4 * (4 * 64 + 4 * 32 + 64 * 32 + 32)
    assert table.rows[0].parameters == 0


def test_shares_are_of_the_whole(table):
    assert sum(np.mean(times) for times in table.samples.values()) > 0
    assert sum(row.share.value for row in table.rows) == pytest.approx(100, rel=0.2)
    assert table.share("MLPClassifier").value == pytest.approx(100)
    assert all(0 <= row.share.low <= row.share.value <= row.share.high <= 100 for row in table.rows)


def test_time_adds_up_to_that_of_a_pass(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watching.time, "perf_counter", lambda: now[0])

    class Slow(Linear):
        def forward(self, x):
            now[0] += 3.0
            return super().forward(x)

    class Outer(Sequential):
        def forward(self, x):
            now[0] += 1.0
            return super().forward(x)

    model = Outer(Slow(2, 2), Sequential(Slow(2, 2), Slow(2, 2)))
    table = profile_layers(model, Tensor(np.ones((1, 2), np.float32)), rounds=6)
    assert {name: set(times) for name, times in table.samples.items()} == {
        "Outer": {1.0}, "layers.0": {3.0}, "layers.1": {0.0}, "layers.1.layers.0": {3.0},
        "layers.1.layers.1": {3.0},
    }  # fmt: skip
    assert table.whole.value == pytest.approx(10) and table.added_up.value == pytest.approx(100)
    assert table.share("layers.1").value == pytest.approx(60)  # the layers inside it included


def test_watching_is_billed_to_no_layer(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watching.time, "perf_counter", lambda: now[0])
    seen = {}

    def see(call):
        seen[call.name] = call.seconds
        now[0] += 100.0  # a slow observer

    model = Sequential(Sequential(Linear(2, 2)))
    with watching.watch(model, see):
        model(Tensor(np.ones((1, 2), np.float32)))
    assert set(seen.values()) == {0.0}


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (DigitsCNN(channels=(2, 3)), Tensor(np.ones((2, 1, 32, 32), np.float32))),
        (char_gpt(5, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=8), np.ones((1, 4), np.int64)),
    ],
)
def test_real_models(model, x):
    table = profile_layers(model, x, rounds=2)
    assert len(table.rows) == len(list(model.named_modules()))
    assert sum(row.parameters for row in table.rows) == sum(p.data.size for p in model.parameters())
    text = str(table)
    assert all(row.name in text for row in table.rows) and "add up to" in text
    assert all("forward" not in vars(module) for module in model.modules())


def test_layers_are_placed_under_the_ceilings(table, monkeypatch):
    ceilings = (Measured(100.0, "GFLOP/s"), Measured(20.0, "GB/s"))
    monkeypatch.setattr(rooflines, "ceilings", lambda *_: ceilings)
    points = {point.name: point for point in table.rooflines()}
    assert set(points) == {"layers.0", "layers.1", "layers.2", "layers.3"}
    row = table.rows[2]
    assert points["layers.1"].intensity == row.flops / row.moved_bytes
    assert points["layers.1"].bound == "memory"


def test_a_layer_used_twice_has_one_row():
    shared = Linear(3, 3)
    table = profile_layers(Sequential(shared, Flatten(), shared), Tensor(np.ones((1, 3))), rounds=2)
    (row,) = (row for row in table.rows if row.kind == "Linear")
    assert row.flops == 2 * 2 * 3 * 3 and row.parameters == 12


MISUSE = {
    "a function": (lambda: profile_layers(abs, 1.0), TypeError, "Module, got builtin.*timing.race"),
    "no rounds": (lambda: profile_layers(Linear(1, 1), Tensor([[1.0]]), rounds=0), ValueError, "at least 1"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, kind, message = MISUSE[name]
    with pytest.raises(kind, match=message):
        call()


def test_an_unknown_layer_is_answered_with_the_known(table):
    with pytest.raises(ValueError, match=r"'layer\.1'; there are MLPClassifier, layers\.0"):
        table.share("layer.1")
    assert layers.WARMUP >= 1
