"""The quantization experiment on an untrained network: every form compared, bytes counted, losses paired."""

import numpy as np
import pytest

from tinytorch.experiments import Context, quantization, trained
from tinytorch.experiments.records import Chart
from tinytorch.models import DigitsCNN
from tinytorch.quantities import Measured


@pytest.fixture
def small(monkeypatch):
    """An untrained network and random images in the place of the trained one."""
    rng = np.random.default_rng(0)
    np.random.seed(0)
    images = rng.random((40, 1, 32, 32), dtype=np.float32)
    data = trained.Data(images[:32], np.arange(32) % 10, images[32:], np.arange(8), 0)
    classifier = trained.Classifier(DigitsCNN().eval(), data)
    monkeypatch.setattr(trained, "digits_cnn", lambda context, seed: classifier)
    monkeypatch.setattr(quantization, "BATCHES", (1, 2))
    return classifier


def test_section_holds_what_the_report_promises(small):
    section = quantization.describe()
    quantization.measure(section, Context("quick", claims=quantization.CLAIMS))
    accuracy, held, network, naive, pays = section.tables
    forms = [quantization.FLOAT, quantization.NAIVE, quantization.INT8, quantization.INT4]
    assert [row[0] for row in accuracy.rows] == forms
    assert [row[0] for row in held.rows] == ["float32 parameters", *forms]
    assert [row[:2] for row in network.rows] == [[form, batch] for batch in ("1", "2") for form in forms]
    assert len(naive.rows) == 2 and len(pays.rows) == 2
    assert all(isinstance(chart, Chart) for chart in section.figures)
    assert {summary.optimization.split(" (")[0] for summary in section.summaries} == set(forms[1:])


def test_bytes_keep_the_promise(small):
    section = quantization.describe()
    quantization._bytes(section, small, quantization._forms(small))
    share = {row[0]: row[2].value for row in section.tables[0].rows[1:]}
    assert share[quantization.INT8] <= 0.27 and share[quantization.INT4] <= 0.145


def test_losses_are_paired():
    context = Context(claims=1)
    before, after = np.array([True] * 90 + [False] * 10), np.array([True] * 80 + [False] * 20)
    loss = trained.accuracy_loss(before, after, context)
    assert loss.value == pytest.approx(10) and 0 < loss.low < 10 < loss.high < 20
    assert trained.accuracy(before, context).value == pytest.approx(90)


def test_a_loss_of_nothing_still_has_a_resolution():
    same = np.ones(300, dtype=bool)
    loss = trained.accuracy_loss(same, same, Context(claims=1))
    assert loss.value == 0 and loss.high == pytest.approx(100 * -np.log(0.05) / 300)
    assert isinstance(loss, Measured)


def test_seeding_leaves_the_callers_numbers_alone():
    np.random.seed(5)
    expected = np.random.rand(2)
    np.random.seed(5)
    first = np.random.rand()
    with trained.seeded(1):
        np.random.rand()
    assert [first, np.random.rand()] == list(expected)
