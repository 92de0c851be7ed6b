"""The layer that suffers is named, and errors of rounding are what rounding makes."""

import numpy as np
import pytest

from tinytorch import viz
from tinytorch.activations import ReLU
from tinytorch.layers import Linear, Sequential
from tinytorch.models import ResNet, char_gpt
from tinytorch.quantization import rounding_errors, sensitivity
from tinytorch.spatial import Conv2d

RNG = np.random.default_rng(0)


def test_the_spoiled_layer_is_found():
    np.random.seed(0)
    model = Sequential(Linear(16, 16), ReLU(), Linear(16, 16), ReLU(), Linear(16, 4))
    model.layers[2].weight.data[0] = 200  # one outlier in each column: the rest rounds to nothing
    x = np.abs(RNG.standard_normal((50, 16))).astype(np.float32)
    model.layers[0].weight.data[:, 0], model.layers[0].bias.data[0] = 0, -1  # and nothing comes through it
    rows = sensitivity(model, x, score=lambda y: float(y.mean()))
    assert [row.name for row in rows] == ["layers.0", "layers.2", "layers.4"]
    assert max(rows, key=lambda row: row.error).name == "layers.2"
    assert rows[1].error > 5 * max(rows[0].error, rows[2].error)
    assert all(row.score is not None for row in rows)


def test_fewer_bits_hurt_more_and_the_model_is_left_alone():
    np.random.seed(0)
    model = ResNet((4, 8)).eval()
    before = {name: value.copy() for name, value in model.state_dict().items()}
    x = RNG.random((4, 1, 8, 8), dtype=np.float32)
    fine = sensitivity(model, x)
    coarse = sensitivity(model, x, weight_bits=2, activation_bits=None)
    assert [row.name for row in fine] == [
        name for name, m in model.named_modules() if isinstance(m, Linear | Conv2d)
    ]
    assert all(a.error < b.error for a, b in zip(fine, coarse, strict=True))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_gpt_s_layers_have_names():
    rows = sensitivity(char_gpt(20, 16, 1, 2, 8), RNG.integers(0, 20, (2, 8)))
    assert {row.name for row in rows} >= {"blocks.0.attention.q_proj", "blocks.0.mlp.linear2", "lm_head"}
    assert all(0 < row.error < 0.1 for row in rows)


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_errors(bits):
    w = (RNG.standard_normal((300, 40)) * np.geomspace(0.01, 1, 40)).astype(np.float32)
    found = rounding_errors(w, 1, bits=bits)
    assert found.counts.sum() == w.size and len(found.scales) == 40
    assert np.abs(found.edges).max() == pytest.approx(0.5, abs=1e-3)
    assert found.counts.std() < 0.3 * found.counts.mean()  # evenly spread over a step
    # Steps of 2^-bits of the range: 6 dB for each bit.
    assert found.signal_to_noise == pytest.approx(6.02 * bits - 7.5, abs=2.5)
    assert rounding_errors(w, None, bits=bits).signal_to_noise < found.signal_to_noise
    figure = viz.rounding_errors(found, title="a layer")
    assert len(figure.axes) == 2 and viz.png(figure)[:4] == b"\x89PNG"
