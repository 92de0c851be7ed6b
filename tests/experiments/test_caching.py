"""The cache experiment, on a model small enough to check: equal answers, honest rows, and a fault it must
find.
"""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.experiments import Context, caching
from tinytorch.models import char_gpt
from tinytorch.quantities import Measured, Modelled


@pytest.fixture
def small(monkeypatch):
    """A tiny model instead of the trained one, and short texts."""
    np.random.seed(0)
    model = char_gpt(11, embed_dim=16, num_layers=2, num_heads=2, max_seq_len=24).eval()
    monkeypatch.setattr(caching, "trained_gpt", lambda context: model)
    for name, value in {
        "LENGTHS": [4],
        "FULL_LENGTH": 12,
        "POSITIONS": [0, 5, 11],
        "FIRST_LENGTHS": [1, 2],
    }.items():
        monkeypatch.setattr(caching, name, (value,) * 3)
    return model


def test_section_holds_what_the_report_promises(small):
    section = caching.describe()
    caching.measure(section, Context("quick", claims=caching.CLAIMS))
    same, token, text, pays = section.tables
    assert [row[0] for row in same.rows] == ["float32", "int8"]
    assert same.rows[0][3].value < 1e-4 and same.rows[0][4].value == 0
    assert [row[0] for row in token.rows] == ["0", "5", "11"]
    assert [row[0] for row in text.rows] == ["4", "12"]
    assert text.rows[-1][3].n == 1 and text.rows[-1][3].low is None
    assert len(pays.rows) == 2
    tags = [type(quantity) for statement in section.statements for quantity in statement.quantities.values()]
    assert tags.count(Modelled) == 3 and Measured in tags
    (summary,) = section.summaries
    assert summary.accuracy_loss.value == 0
    assert section.statements[-1].quantities["same"].value == 12


def test_bytes_held_are_counted(small):
    section = caching.describe()
    caching._compare_answers(section, Context(), small, caching._written_text(small, 8))
    layers, heads, length, width = 2, 2, 24, 8
    assert section.tables[0].rows[0][1].value == 2 * layers * heads * length * width * 4
    assert section.tables[0].rows[1][1].value == 2 * layers * heads * length * (width + 4)


def test_a_wrong_position_is_found(small):
    """Attending without the newest key must show as a difference and as other tokens."""

    def forgetful(q, k, v, *cache):
        return kernels.reference.attention_decode(q, k * 0, v * 0, *cache)

    section = caching.describe()
    with kernels.use(attention_decode=forgetful):
        caching._compare_answers(section, Context(), small, np.arange(12)[None] % 11)
    assert section.tables[0].rows[0][3].value > 1e-2


def test_training_learns_and_is_remembered(monkeypatch, tmp_path):
    from tinytorch.experiments.storage import ModelCache

    monkeypatch.setattr(caching, "TRAINING_STEPS", (2, 2, 2))
    monkeypatch.setattr(caching, "TRAINING_LENGTH", (16, 16, 16))
    context = Context("quick", cache=ModelCache(tmp_path))
    first = caching.trained_gpt(context).state_dict()
    monkeypatch.setattr(caching, "_train", lambda *_: pytest.fail("trained again"))
    second = caching.trained_gpt(context).state_dict()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
