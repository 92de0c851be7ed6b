"""The course's network and pruner do what they say, on real kernels."""

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.pruning import (
    DenseMLP,
    MagnitudePruner,
    analyze_pruning_accuracy_tradeoffs,
    analyze_pruning_vs_quantization,
    explore_production_pruning,
)

X = np.random.default_rng(0).standard_normal((8, 32)).astype(np.float32)


def network():
    tt.training.manual_seed(0)
    return DenseMLP(32, (64, 48), 10)


def test_a_network_of_arrays():
    model = network()
    logits = model.forward(X)
    assert type(logits) is np.ndarray and logits.shape == (8, 10)
    np.testing.assert_array_equal(logits, model(tt.Tensor(X)).data)
    np.testing.assert_array_equal(model.predict(X), logits.argmax(axis=1))
    assert DenseMLP().count_parameters() == 784 * 512 + 512 * 256 + 256 * 128 + 1280 + 512 + 256 + 128 + 10
    assert model.count_nonzero_parameters() < model.count_parameters()  # biases begin at zero
    assert model.get_memory_usage_mb() == model.count_parameters() * 4 / 2**20


def test_one_threshold_for_the_model_and_the_original_stays():
    model, pruner = network(), MagnitudePruner()
    before = model.forward(X)
    pruned = pruner.prune_by_magnitude(model, 0.9)
    np.testing.assert_array_equal(model.forward(X), before)
    weights = np.concatenate([layer.weight.data.ravel() for layer in model.layers[::2]])
    left = np.concatenate([layer.weight.data.ravel() for layer in pruned.layers[::2]])
    assert np.mean(left == 0) == pytest.approx(0.9, abs=1e-3)
    assert np.abs(weights[left == 0]).max() <= np.abs(left[left != 0]).min()
    smaller = pruner.prune_by_magnitude(model, 0.5, structured=True)
    assert [layer.weight.shape for layer in smaller.layers[::2]] == [(32, 32), (32, 24), (24, 10)]


def test_the_distribution_is_that_of_the_weights():
    model = network()
    found = MagnitudePruner().analyze_weight_distribution(model)
    assert list(found) == ["layers.0", "layers.2", "layers.4", "overall"]
    assert found["overall"]["total_weights"] == 32 * 64 + 64 * 48 + 480
    magnitudes = np.abs(model.layers[0].weight.data)
    assert found["layers.0"]["percentile_50"] == pytest.approx(np.median(magnitudes))


def test_the_race_runs_on_sparse_kernels():
    model, pruner = network(), MagnitudePruner()
    pruned = pruner.prune_by_magnitude(model, 0.9)
    found = pruner.measure_inference_speedup(model, pruned, X, seconds=0.02)
    assert found["memory_reduction"] > 3  # bytes of the sparse arrays, places included
    assert found["dense_time_ms"] > 0 and found["sparse_time_ms"] > 0
    low, high = found["speedup_interval"]
    assert low <= found["speedup"] <= high
    assert found["sparse_params"] == pruned.count_nonzero_parameters()
    smaller = pruner.prune_by_magnitude(model, 0.5, structured=True)
    assert pruner.measure_inference_speedup(model, smaller, X, seconds=0.02)["memory_reduction"] > 1.5


def test_one_array():
    pruner, w = MagnitudePruner(), np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32)
    pruned, mask, stats = pruner.prune(w)
    assert mask.sum() == stats["pruned_params"] == 180 and stats["actual_sparsity"] == pytest.approx(0.7)
    np.testing.assert_array_equal(pruned, w * mask)
    np.testing.assert_array_equal(mask, pruner.create_mask(w, stats["threshold"]))
    assert pruner.prune(np.ones((10, 10)), 0.3)[1].sum() == 70  # ties do not all go
    impact = pruner.measure_accuracy_impact(w, pruned)
    assert impact["max_error"] == pytest.approx(stats["threshold"])
    assert impact["energy_kept"] == pytest.approx(1 - impact["relative_error"] ** 2, rel=1e-4)


def test_tradeoffs_are_measured_on_digits(capsys):
    rows = analyze_pruning_accuracy_tradeoffs((0.5, 0.98), seconds=0.02)
    assert rows[0]["accuracy"] > 0.9 and rows[1]["accuracy"] < rows[0]["accuracy"]
    assert "measured" in capsys.readouterr().out


def test_patterns_and_integers_are_compared():
    found = analyze_pruning_vs_quantization(seconds=0.02)
    assert list(found) == ["dense", "pruned", "quantized", "pruned and quantized"]
    assert found["quantized"]["bytes"] < 0.35 * found["dense"]["bytes"]
    assert found["quantized"]["accuracy"] > 0.9
    patterns = explore_production_pruning(seconds=0.02)
    assert patterns["single weights"]["accuracy"] > 0.9
    assert patterns["whole neurons"]["bytes"] < 0.3 * patterns["dense"]["bytes"]


MISUSE = [
    (lambda: DenseMLP(activation="swish"), ValueError, "must be one of relu, tanh"),
    (lambda: MagnitudePruner().prune(np.ones((2, 2)), 70), ValueError, "did you mean 0.7"),
    (lambda: MagnitudePruner().prune([]), ValueError, "nothing to prune"),
    (lambda: MagnitudePruner().prune([np.nan, 1.0]), ValueError, "NaN"),
    (lambda: MagnitudePruner().prune_by_magnitude(network(), 1.0), ValueError, "remove every weight"),
    (lambda: MagnitudePruner().measure_accuracy_impact(np.ones(3), np.ones(4)), ValueError, "one shape"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISUSE)
def test_misuse(call, error, message):
    with pytest.raises(error, match=message):
        call()
