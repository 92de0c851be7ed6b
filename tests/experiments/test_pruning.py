"""The pruning experiment on small networks: masks hold while training goes on, and every row is there."""

import numpy as np
import pytest

from tinytorch.experiments import Context, pruning, trained
from tinytorch.experiments.records import Connections, HeatMap
from tinytorch.models import DigitsCNN, MLPClassifier
from tinytorch.pruning import measure_sparsity, prunable


def classifier(model):
    rng = np.random.default_rng(0)
    images = rng.random((24, 1, 32, 32), dtype=np.float32)
    return trained.Classifier(
        model.eval(), trained.Data(images[:16], np.arange(16) % 10, images[16:], np.arange(8), 0)
    )


@pytest.fixture
def small(monkeypatch):
    np.random.seed(0)
    mlp, cnn = classifier(MLPClassifier((1024, 64, 32, 10))), classifier(DigitsCNN((4, 8), hidden=16))
    monkeypatch.setattr(trained, "digits_mlp", lambda context, seed: mlp)
    monkeypatch.setattr(trained, "digits_cnn", lambda context, seed: cnn)
    monkeypatch.setattr(pruning, "LAYER", 64)
    monkeypatch.setattr(pruning, "COLUMNS", 8)
    return mlp


def test_section_holds_what_the_report_promises(small):
    section = pruning.describe()
    pruning.measure(section, Context("quick", claims=pruning.CLAIMS))
    layer, mlp, mlp_layers, cnn, _ = section.tables
    assert [row[0] for row in layer.rows] == ["50 %", "90 %", "95 %"]
    assert mlp.rows[-1][1] == "50 % of units"
    assert [row[:2] for row in mlp.rows[:-1]] == [
        [share, label] for label in pruning.BLOCKS.values() for share in ("80 %", "95 %")
    ]
    assert len(cnn.rows) == 3
    assert [row[0] for row in mlp_layers.rows] == ["layers.1", "layers.3", "layers.5"] * 2
    kinds = [type(figure) for figure in section.figures]
    assert kinds.count(HeatMap) == 3 and kinds.count(Connections) == 2
    assert len(section.summaries) == 8


def test_fine_tuned_networks_are_as_sparse_as_they_say(small):
    for block in pruning.BLOCKS:
        models = pruning._fine_tuned(Context("quick"), "MLP", small, block)
        for sparsity, model in models.items():
            weights = np.concatenate([w.data.ravel() for w in prunable(model)])
            assert np.mean(weights == 0) == pytest.approx(sparsity, abs=0.01)
    assert measure_sparsity(small.model) < 0.01  # the dense network is left as it was


def test_pictures_show_what_was_removed(small):
    section = pruning.describe()
    pruning._pictures(section, MLPClassifier())
    before, single, blocks = (np.array(f.values) for f in section.figures if isinstance(f, HeatMap))
    assert np.mean(before == 0) < 0.01
    for after in (single, blocks):
        assert np.mean(after == 0) > 0.85
        np.testing.assert_allclose(after[after != 0], before[after != 0])
