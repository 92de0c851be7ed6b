"""Every case of the gallery does the job it names, says why it loses, and is judged by its interval."""

import json

import numpy as np
import pytest

from tinytorch import experiments, timing
from tinytorch.experiments import Context, gallery
from tinytorch.experiments.gallery import other_goals
from tinytorch.experiments.gallery.case import CASES, NOT_REPRODUCED, SLOWER, Answers, Calls, Case
from tinytorch.quantization import quantize_weight

# Both ways give the same answer up to rounding: to float32's, or to that of the integers they are made of.
ROUNDED = {
    "int8_in_a_tiny_layer": 0.05,
    "int4_at_a_large_batch": 0.2,
    "dequantizing_on_every_call": 0.05,
    "int8_cache_for_a_short_context": 0.02,
}
OTHER_RESULT = {"batching_raises_latency", "pruning_one_column", "accumulating_what_fits"}


def two_ways(plain, optimized):
    return Case("two_ways", "Two ways", "Because.", "one", "two", lambda: Calls(plain, optimized))


def test_there_are_enough_cases_and_each_says_why():
    assert len(CASES) >= 14
    assert sum(case.set_up.__module__ == module.__name__ for case in CASES.values()
               for module in gallery.GROUPS.values()) == len(CASES)  # fmt: skip
    for case in CASES.values():
        assert case.why.endswith(".") and 40 < len(case.why) < 320
        assert case.plain != case.optimized


@pytest.mark.parametrize("name", CASES)
def test_both_ways_do_the_same_job(name):
    compared = CASES[name].set_up()
    if isinstance(compared, Answers):
        assert compared.plain.shape == compared.optimized.shape
        return
    plain, optimized = compared.plain(), compared.optimized()
    if name in OTHER_RESULT:
        return
    plain, optimized = (np.asarray(getattr(result, "data", result)) for result in (plain, optimized))
    error = np.linalg.norm(optimized - plain) / np.linalg.norm(plain)
    assert error < ROUNDED.get(name, 1e-5)


def test_accumulated_gradients_are_those_of_the_batch(monkeypatch):
    models = []
    make = gallery.extra_work.MLPClassifier
    monkeypatch.setattr(
        gallery.extra_work, "MLPClassifier", lambda sizes: models.append(make(sizes)) or models[-1]
    )
    calls = CASES["accumulating_what_fits"].set_up()
    found = []
    for call in (calls.plain, calls.optimized):
        call()
        found.append([parameter.grad.copy() for parameter in models[0].parameters()])
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_the_outlier_costs_accuracy_with_one_scale_and_none_with_one_for_each_column():
    answers = CASES["one_scale_with_an_outlier"].set_up()
    assert answers.plain.mean() > 0.93 > answers.optimized.mean() + 0.1
    model = other_goals._stretched(other_goals._digits_model())
    layer = model.layers[1]
    quantized, scales = quantize_weight(layer.weight.data, axis=1)
    layer.weight.data = (quantized * scales).astype(np.float32)
    images, labels = other_goals.load_digits(8, "test", 0)
    assert (other_goals._predict(model, images) == labels).mean() > answers.plain.mean() - 0.02


@pytest.mark.parametrize(
    ("optimized_takes", "verdict"),
    [(1.0, NOT_REPRODUCED), (1.1, NOT_REPRODUCED), (2.0, SLOWER), (0.5, NOT_REPRODUCED)],
)
def test_the_verdict_follows_the_interval(monkeypatch, optimized_takes, verdict):
    def race(plain, optimized, names, noise, **_):
        seconds = {names[0]: (1.0,) * 8, names[1]: (optimized_takes,) * 8}
        return timing.Races(seconds, dict.fromkeys(names, 1), noise, 0.95, {}).between(*names)

    monkeypatch.setattr(timing, "race", race)
    finding = two_ways(lambda: None, lambda: None).measure(Context("quick", noise=1.5))
    assert finding.verdict == verdict and finding.hurts == (verdict == SLOWER)
    assert finding.verdict in str(finding) and "Because." in str(finding)
    assert json.loads(json.dumps(finding.to_dict()))["race"]["names"] == ["one", "two"]


def test_accuracy_within_noise_is_not_a_loss():
    hits = np.ones(100, bool)
    case = Case("same", "Same", "Because.", "one", "two", lambda: Answers(hits, hits.copy()))
    assert case.measure(Context("quick")).verdict == NOT_REPRODUCED


def test_one_case_is_run_by_its_name(monkeypatch):
    monkeypatch.setattr(timing, "noise_floor", lambda call, **_: (1.25, None))
    finding = gallery.run("packing_used_once", seconds=0.02)
    assert finding.race.noise == 1.25 and finding.name == "packing_used_once"
    with pytest.raises(ValueError, match=r"no case 'packing_used_twice'; did you mean 'packing_used_once'\?"):
        gallery.run("packing_used_twice")


def test_the_section_has_every_case_and_is_measured_on_request_alone(monkeypatch):
    monkeypatch.setattr(
        gallery, "GROUPS", {"The work is too small": gallery.overhead, "Accuracy": gallery.other_goals}
    )
    section = gallery.describe()
    gallery.measure(section, Context("quick", claims=gallery.CLAIMS))
    shown = [row[1] for table in section.tables for row in table.rows]
    assert set(shown) < set(CASES) and len(shown) == 10
    assert "gallery" not in experiments.NAMES
    assert experiments.load("gallery") is gallery
