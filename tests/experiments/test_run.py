"""Running experiments: what is kept when one breaks, when Ctrl-C arrives, and what is remembered between
runs.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from tinytorch import experiments, kernels
from tinytorch.experiments import Context, Section, storage
from tinytorch.experiments.storage import ModelCache
from tinytorch.quantities import Measured


def fake_experiment(name, measure):
    return SimpleNamespace(
        CLAIMS=2,
        SECONDS=dict.fromkeys(experiments.EFFORTS, 1),
        describe=lambda: Section(name, name, [f"About {name}."]),
        measure=measure,
    )


@pytest.fixture
def install(monkeypatch):
    """Replace the experiments by the given functions and skip the measurements of the machine."""

    def install(**measures):
        modules = {name: fake_experiment(name, measure) for name, measure in measures.items()}
        monkeypatch.setattr(experiments, "NAMES", tuple(modules))
        monkeypatch.setattr(experiments, "load", modules.__getitem__)
        monkeypatch.setattr(experiments, "_measure_machine", lambda record, context: None)

    return install


def say_one(section, context):
    section.say("It is {gain}.", gain=Measured(2.0, "×"))


def interrupt(section, context):
    say_one(section, context)
    raise KeyboardInterrupt


def fail(section, context):
    raise RuntimeError("out of luck")


def test_all_experiments_run_in_order(install):
    install(one=say_one, two=say_one)
    seen = []
    record = experiments.run(effort="quick", progress=lambda fraction, message: seen.append(fraction))
    assert record.status == "complete"
    assert [section.name for section in record.sections] == ["one", "two"]
    assert record.claims == 4
    assert seen == sorted(seen) and seen[0] == 0.0 and seen[-1] == 1.0


def test_interrupted_run_keeps_what_it_has(install):
    install(one=say_one, two=interrupt, three=say_one)
    record = experiments.run()
    assert record.status == "partial"
    assert [section.status for section in record.sections] == ["complete", "partial"]
    assert record.sections[1].statements
    assert experiments.from_json(experiments.to_json(record)) == record


def test_a_broken_experiment_does_not_cost_the_others(install):
    install(one=fail, two=say_one)
    record = experiments.run()
    assert record.status == "failed"
    assert [section.status for section in record.sections] == ["failed", "complete"]
    assert "out of luck" in record.sections[0].error


def test_threads_are_set_and_restored(install):
    seen = []
    install(one=lambda section, context: seen.append((context.threads, kernels.get_num_threads())))
    before = kernels.get_num_threads()
    experiments.run(threads=1)
    assert seen == [(1, 1)]
    assert kernels.get_num_threads() == before


def test_unknown_experiment_lists_the_known():
    with pytest.raises(ValueError, match="acceleration"):
        experiments.load("speling")


def test_every_experiment_says_what_it_is():
    for name in experiments.NAMES:
        module = experiments.load(name)
        section = module.describe()
        assert section.name == name
        assert len(section.introduction) >= 3
        assert section.sources and all(source.url.startswith("https://") for source in section.sources)
        assert set(module.SECONDS) == set(experiments.EFFORTS) and module.CLAIMS >= 1


def test_context_offers_races_with_the_runs_own_terms():
    context = Context("quick", claims=10, noise=1.5)
    race = context.race(lambda: None, lambda: None, rounds=12)
    assert race.noise == 1.5
    assert race.confidence == pytest.approx(0.995)
    with pytest.raises(ValueError, match="effort"):
        Context("hasty")


class TestModelCache:
    def counting(self):
        calls = []

        def train():
            calls.append(1)
            return {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}

        return calls, train

    def test_second_run_reads_the_first(self, tmp_path):
        calls, train = self.counting()
        first = ModelCache(tmp_path).arrays("mlp", train, seed=0)
        again = ModelCache(tmp_path).arrays("mlp", train, seed=0)
        assert len(calls) == 1
        np.testing.assert_array_equal(first["w"], again["w"])

    def test_settings_and_code_decide(self, tmp_path, monkeypatch):
        calls, train = self.counting()
        ModelCache(tmp_path).arrays("mlp", train, seed=0)
        ModelCache(tmp_path).arrays("mlp", train, seed=1)
        monkeypatch.setattr(storage, "code_fingerprint", lambda: "other code")
        ModelCache(tmp_path).arrays("mlp", train, seed=0)
        assert len(calls) == 3

    def test_damaged_file_is_trained_again(self, tmp_path):
        calls, train = self.counting()
        ModelCache(tmp_path).arrays("mlp", train)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:50])
        arrays = ModelCache(tmp_path).arrays("mlp", train)
        assert len(calls) == 2 and arrays["w"].shape == (2, 3)
        ModelCache(tmp_path).arrays("mlp", train)
        assert len(calls) == 2

    def test_unusable_folder_costs_nothing_but_time(self, tmp_path):
        calls, train = self.counting()
        (tmp_path / "file").write_text("in the way")
        cache = ModelCache(tmp_path / "file" / "folder")
        assert cache.arrays("mlp", train)["w"].size == 6
        assert calls == [1]


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    target = tmp_path / "report.json"
    storage.write_atomically(target, b"old")
    monkeypatch.setattr(storage.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        storage.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
