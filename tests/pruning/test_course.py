"""The course's functions do what they always did."""

import numpy as np
import pytest

from tests.pruning.models import mlp
from tinytorch.pruning import Compressor, compress_model, magnitude_prune, measure_sparsity, structured_prune


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
