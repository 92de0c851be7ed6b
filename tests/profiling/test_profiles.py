"""Counts against counts by hand; times only in their relations."""

import math

import numpy as np
import pytest

from tinytorch import profiling, timing
from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import cross_entropy
from tinytorch.models import DigitsCNN, MLPClassifier, char_gpt
from tinytorch.optimizers import SGD
from tinytorch.profiling import Profiler, rooflines, watching
from tinytorch.quantities import Measured
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor


@pytest.fixture(autouse=True)
def known_ceilings(monkeypatch):
    monkeypatch.setattr(
        rooflines, "ceilings", lambda *_: (Measured(100.0, "GFLOP/s"), Measured(20.0, "GB/s"))
    )


def test_parameters_are_counted():
    assert Profiler().count_parameters(MLPClassifier((4, 3, 2))) == 4 * 3 + 3 + 3 * 2 + 2


def test_operations_of_linear_and_convolution():
    profiler = Profiler()
    assert profiler.count_flops(Linear(7, 5), (3, 7)) == 2 * 3 * 7 * 5
    assert profiler.count_flops(Conv2d(2, 4, 3, padding=1), (1, 2, 8, 8)) == 2 * 4 * 8 * 8 * 2 * 9
    assert profiler.count_flops(MLPClassifier((4, 3, 2)), (1, 4)) == 2 * (4 * 3 + 3 * 2) + 3 + 4
    assert set(profiler.operation_counts) == {"layers.0", "layers.1", "layers.2", "layers.3"}


def test_operations_of_attention_grow_with_the_square_of_the_length():
    profiler = Profiler()
    model = char_gpt(10, embed_dim=8, num_layers=1, num_heads=2, max_seq_len=64)
    profiler.count_flops(model, (1, 16))
    short = profiler.operation_counts["blocks.0.attention"]
    profiler.count_flops(model, (1, 32))
    assert profiler.operation_counts["blocks.0.attention"] == 4 * short == 4 * (4 * 16 * 16 * 8)


def test_memory_counts_parameters_and_activations():
    memory = Profiler().measure_memory(Linear(256, 1024), (64, 256))
    assert memory["parameter_memory_mb"] == pytest.approx((256 * 1024 + 1024) * 4 / 2**20)
    assert memory["activation_memory_mb"] == pytest.approx(64 * 1024 * 4 / 2**20)
    assert memory["peak_memory_mb"] >= memory["parameter_memory_mb"] + memory["activation_memory_mb"]
    assert 0 < memory["memory_efficiency"] <= 1


def test_forward_and_backward_profiles_have_the_course_keys():
    model, x = MLPClassifier((16, 8, 4)), Tensor(np.ones((2, 16), np.float32))
    forward = Profiler().profile_forward_pass(model, x)
    assert forward["flops"] > 0 and forward["latency_ms"] > 0
    assert forward["is_memory_bound"] != forward["is_compute_bound"]
    # One operation for each few bytes, where this machine could do five for each: memory bound.
    assert forward["bottleneck"] == "memory"
    both = Profiler().profile_backward_pass(model, x)
    assert both["backward_flops"] == 2 * both["forward_flops"]
    assert both["total_latency_ms"] == pytest.approx(both["forward_latency_ms"] + both["backward_latency_ms"])
    assert both["optimizer_memory_estimates"]["adam"] == 2 * both["gradient_memory_mb"]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_quick_profile_prints_what_it_returns(capsys):
    profile = profiling.quick_profile(Linear(4, 2), Tensor(np.ones((1, 4), np.float32)))
    text = capsys.readouterr().out
    assert all(name in text for name in profile)


def test_weight_distribution():
    model = Linear(2, 2, bias=False)
    model.weight.data[...] = [[0.0, 0.005], [-0.05, 1.0]]
    found = profiling.analyze_weight_distribution(model)
    assert found["total_weights"] == 4 and found["max"] == 1.0
    assert [found[f"below_threshold_{limit}"] for limit in ("0001", "001", "01")] == [25.0, 50.0, 75.0]


def test_roofline_places_the_dot(monkeypatch):
    races = timing.Races({"it": (0.1,) * 8, "again": (0.1,) * 8}, {"it": 1, "again": 1}, 1.0, 0.95, {})
    monkeypatch.setattr(timing, "race_many", lambda *_, **__: races)
    thin = profiling.roofline(lambda: None, flops=1e9, moved_bytes=1e9)
    assert (thin.intensity, thin.bound, thin.ceiling.value) == (1.0, "memory", 20.0)
    assert thin.speed.value == pytest.approx(10.0)
    dense = profiling.roofline(lambda: None, flops=1e9, moved_bytes=1e6)
    assert (dense.bound, dense.ceiling.value) == ("compute", 100.0)
    with pytest.raises(ValueError, match="positive"):
        profiling.roofline(lambda: None, flops=0, moved_bytes=1)


def test_watching_leaves_the_model_as_it_was():
    model = Sequential(Flatten(), Linear(4, 2))
    seen = []
    with watching.watch(model, seen.append):
        model(Tensor(np.ones((1, 4), np.float32)))
    assert [call.name for call in seen] == ["layers.0", "layers.1", "Sequential"]
    assert all("forward" not in vars(module) for module in model.modules())
    with pytest.raises(ZeroDivisionError), watching.watch(model, seen.append):
        raise ZeroDivisionError
    assert all("forward" not in vars(module) for module in model.modules())


def test_time_of_inner_layers_is_not_counted_twice(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watching.time, "perf_counter", lambda: now[0])

    class Slow(ReLU):
        def forward(self, x):
            now[0] += 3.0
            return super().forward(x)

    class Outer(Sequential):
        def forward(self, x):
            now[0] += 1.0
            return super().forward(x)

    seen = {}
    with watching.watch(
        model := Outer(Slow(), Slow()), lambda call: seen.setdefault(call.name, call.seconds)
    ):
        model(Tensor(np.ones(2, np.float32)))
    assert seen == {"layers.0": 3.0, "layers.1": 3.0, "Outer": 1.0}


@pytest.mark.parametrize(
    "model, x, classes",
    [
        (MLPClassifier((6, 5, 3)), Tensor(np.ones((2, 6), np.float32)), 3),
        (DigitsCNN(channels=(2, 3)), Tensor(np.ones((2, 1, 32, 32), np.float32)), 10),
        (char_gpt(5, embed_dim=8, num_layers=2, num_heads=2, max_seq_len=8), np.ones((1, 2), np.int64), 5),
    ],
)
def test_step_profile_trains_and_finds_every_layer(model, x, classes):
    before = [parameter.data.copy() for parameter in model.parameters()]

    def loss(output, target):
        return cross_entropy(output.reshape(2, classes), target)

    profile = profiling.profile_step(
        model, loss, SGD(model.parameters(), lr=0.1), x, np.zeros(2, np.int64), steps=2
    )
    assert set(profile.phases) == {"forward", "backward", "optimizer"}
    assert all(len(samples) == 2 for samples in profile.samples.values())
    names = {layer.name for layer in profile.layers}
    assert {name or type(model).__name__ for name, _ in model.named_modules()} <= names | {"loss"}
    with_gradient = {layer.kind for layer in profile.layers if layer.backward is not None}
    assert {"Linear", "loss"} <= with_gradient
    assert not any(layer.kind == "MultiHeadAttention" and layer.backward is None for layer in profile.layers)
    after = [parameter.data for parameter in model.parameters()]
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_layers_can_be_added_up_in_groups():
    model = MLPClassifier((4, 4, 4, 2))
    profile = profiling.profile_step(
        model,
        cross_entropy,
        SGD(model.parameters()),
        Tensor(np.ones((1, 4), np.float32)),
        np.array([0]),
        steps=2,
        group=lambda name: "all",
    )
    assert {layer.name for layer in profile.layers} == {"all", "loss"}


def test_bad_arguments_are_explained():
    model = Linear(2, 2)
    with pytest.raises(ValueError, match="steps"):
        profiling.profile_step(model, cross_entropy, SGD(model.parameters()), None, None, steps=0)
    with pytest.raises(ValueError, match="iterations"):
        Profiler().measure_latency(model, Tensor(np.ones((1, 2))), iterations=0)
    assert math.isfinite(Profiler().measure_latency(model, Tensor(np.ones((1, 2))), 1, 2))
