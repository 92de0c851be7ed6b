"""Weights as plain arrays: the smallest go, and the sparse kernel multiplies by what is left."""

import numpy as np
import pytest

from tinytorch.pruning import (
    ModelCompressor,
    SparseLinear,
    analyze_weight_redundancy,
    benchmark_sparse_inference_speedup,
    compare_structured_vs_unstructured,
    prune_conv_filters,
)

rng = np.random.default_rng(0)


def test_redundancy_is_counted(capsys):
    found = analyze_weight_redundancy(np.array([[0.0, 1.0], [-1.0, 2.0]]), "four weights")
    assert found["total_params"] == 4 and found["mean_abs"] == 1.0 and found["natural_sparsity"] == 25
    assert found["percentiles"][50] == 1.0
    assert "four weights" in capsys.readouterr().out


def test_the_weakest_filters_go():
    weights = rng.standard_normal((8, 4, 3, 3)).astype(np.float32)
    pruned, kept, stats = prune_conv_filters(weights)
    assert kept == sorted(np.argsort(np.linalg.norm(weights.reshape(8, -1), axis=1))[4:])
    np.testing.assert_array_equal(pruned, weights[kept])
    assert stats["remaining_filters"] == 4 and stats["compression_ratio"] == 2
    assert len(prune_conv_filters(weights, 1.0)[1]) == 1


def test_patterns_of_a_convolution_are_raced(capsys):
    found = compare_structured_vs_unstructured(rng.standard_normal((16, 8, 3, 3)), 0.75, seconds=0.02)
    zeros, stats = found["unstructured"]
    assert zeros.shape == (16, 8, 3, 3) and np.mean(zeros == 0) == 0.75
    assert stats["time_ms"] > 0 and stats["bytes"] < zeros.nbytes
    assert found["structured"][0].shape == (4, 8, 3, 3)
    assert "measured" in capsys.readouterr().out


def layer(sparsity=0.8):
    result = SparseLinear(64, 48)
    result.load_dense_weights(rng.standard_normal((48, 64)), rng.standard_normal(48))
    if sparsity:
        result.prune_weights(sparsity)
    return result


def test_a_sparse_layer_computes_what_its_weights_say():
    pruned, x = layer(), rng.standard_normal((5, 64)).astype(np.float32)
    np.testing.assert_allclose(
        pruned.forward_dense(x), x @ pruned.dense_weights.T + pruned.bias, rtol=1e-4, atol=1e-4
    )
    expected = x @ (pruned.dense_weights * pruned.mask).T + pruned.bias
    for forward in (pruned.forward_sparse_naive, pruned.forward_sparse_optimized):
        np.testing.assert_allclose(forward(x), expected, rtol=1e-4, atol=1e-4)
    # A zero that is not stored is not multiplied: the sparse kernel does not see what is opposite to it.
    column = np.flatnonzero(pruned.mask[0] == 0)[0]
    x[:, column] = np.nan
    assert np.isfinite(pruned.forward_sparse_optimized(x)[:, 0]).all()
    assert np.isnan(pruned.forward_sparse_naive(x)[:, 0]).all()


def test_a_sparse_layer_is_raced():
    found = layer().benchmark_speedup(4, 5)
    assert found["dense_ops"] == 64 * 48 and found["sparse_ops"] == round(0.2 * 64 * 48)
    assert found["efficiency"] == found["actual_speedup"] / found["theoretical_speedup"]
    (row,) = benchmark_sparse_inference_speedup(((32, 16, 0.5),), iterations=3)
    assert row["size"] == (32, 16) and row["verdict"] in ("faster", "slower", "undecided")


def model():
    shapes = {"conv": (16, 3, 3, 3), "fc": (64, 128), "bias": (64,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_model_of_arrays_is_compressed():
    weights, compressor = model(), ModelCompressor()
    analysis = compressor.analyze_model_for_compression(weights)
    assert {name: d["type"] for name, d in analysis["layers"].items()} == {
        "conv": "Conv2D", "fc": "Dense", "bias": "Other",
    }  # fmt: skip
    compressed = compressor.compress_model(weights)
    quality = compressor.validate_compression_quality(weights, compressed)
    assert quality["layer_quality"]["fc"]["norm_preservation"] == pytest.approx(0.9, abs=1e-3)
    assert quality["layer_quality"]["bias"]["quality_score"] == 1
    compressed = compressor.compress_model(weights, {"fc": 0.9})
    assert compressed["conv"]["mask"].all()
    assert np.mean(compressed["fc"]["weights"] == 0) == pytest.approx(0.9, abs=1e-3)
    stats = compressor.compression_stats
    assert stats["compressed_bytes"] < 0.3 * stats["original_bytes"]
    assert stats["total_remaining_params"] == sum(int(c["mask"].sum()) for c in compressed.values())


MISUSE = [
    (lambda: prune_conv_filters(np.ones((3, 3))), ValueError, "filters, channels, height, width"),
    (lambda: prune_conv_filters(np.ones((2, 2, 1, 1)), 50), ValueError, "did you mean 0.5"),
    (lambda: SparseLinear(2, 3).prune_weights(), ValueError, "load_dense_weights"),
    (lambda: layer(0).forward_sparse_optimized(np.ones((1, 64))), ValueError, r"call prune_weights"),
    (lambda: SparseLinear(2, 3).load_dense_weights(np.ones((2, 3))), ValueError, r"weights\.T"),
    (lambda: SparseLinear(2, 3).load_dense_weights(np.ones((3, 2)), np.ones(2)), ValueError, "bias must be"),
    (lambda: layer().forward_sparse_optimized(np.ones((1, 63))), ValueError, "63"),
    (lambda: layer().benchmark_speedup(0), ValueError, "counts rows"),
    (lambda: ModelCompressor().compress_model({}), ValueError, "nothing to compress"),
    (lambda: ModelCompressor().compress_model([1.0]), TypeError, "state_dict"),
    (
        lambda: ModelCompressor().compress_model(model(), {"fc9": 0.5}),
        ValueError,
        "no layer 'fc9'; there are conv",
    ),
    (
        lambda: ModelCompressor().compress_model({"fc": np.array([np.nan])}),
        ValueError,
        "fc: the weights hold NaN",
    ),
    (lambda: ModelCompressor().validate_compression_quality(model(), {}), ValueError, "has no layer 'conv'"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISUSE)
def test_misuse(call, error, message):
    with pytest.raises(error, match=message):
        call()
