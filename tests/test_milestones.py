"""The milestones: the quick ones are run, and all keep the form that the command relies on."""

import json
import re

import numpy as np
import pytest

from tinytorch import cli, milestones
from tinytorch.milestones import Outcome

QUICK = [1957, 1969, 1986]


@pytest.mark.parametrize("year", milestones.YEARS)
def test_states_its_title_and_target(year):
    milestone = milestones.load(year)
    assert milestone.TITLE and 50 < milestone.TARGET <= 100
    assert str(year) in milestone.__doc__


@pytest.mark.parametrize("year", QUICK)
def test_reaches_its_target(year, tmp_path):
    outcome = milestones.run(year, seed=0, folder=tmp_path)
    assert outcome.reached, outcome.findings
    assert outcome.findings and "curve" in outcome.pictures
    assert [path.read_bytes()[:4] for path in outcome.written] == [b"\x89PNG"] * len(outcome.pictures)


class TestPhotographs:
    def test_without_the_files_it_says_how_to_get_them(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TINYTORCH_DATA", str(tmp_path))
        with pytest.raises(milestones.Unavailable, match=r"cifar-10-binary\.tar\.gz"):
            milestones.load(2012).run()

    def test_runs_on_files_of_that_form(self, tmp_path, monkeypatch):
        deep_cnn = milestones.load(2012)
        records = np.random.default_rng(0).integers(0, 10, (40, 3073), dtype=np.uint8)
        folder = tmp_path / "cifar-10-batches-bin"
        folder.mkdir()
        for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
            records.tofile(folder / name)
        monkeypatch.setattr(deep_cnn, "IMAGES", 64)
        monkeypatch.setattr(deep_cnn, "BATCH", 16)
        outcome = deep_cnn.run(folder=str(tmp_path), verify=False)
        assert 0 <= outcome.accuracy <= 100 and set(outcome.pictures) == {"curve", "filters", "answers"}
        assert outcome.findings == ["40 held-out photographs, 2 epochs over 64 others."]


def test_olympics_rank_all_entries_and_name_their_gains(monkeypatch):
    olympics = milestones.load(2018)
    for name, value in {
        "EPOCHS": 2,
        "FINE_TUNING": 1,
        "VARIANTS": 1,
        "WIDTH": 32,
        "EPOCHS_OF_TEXT": 1,
    }.items():
        monkeypatch.setattr(olympics, name, value)
    monkeypatch.setattr(olympics, "RACE_SECONDS", 0.2)
    monkeypatch.setattr(olympics, "TARGET", 10.0)
    outcome = olympics.run()
    assert outcome.accuracy > 50 and set(outcome.pictures) == {"curve", "reading", "writing"}
    reading, writing = (finding.splitlines()[3:] for finding in outcome.findings)
    assert len(reading) == 5 and len(writing) == 7
    assert all("×" in row or row.startswith("as trained") for row in (*reading, *writing))


class TestTransformer:
    """The reversal is run; of the text, which takes a minute, a few steps."""

    def test_looks_up_the_mirrored_place(self, tmp_path, monkeypatch):
        transformer = milestones.load(2017)
        text = transformer.load_text()[:3000]
        monkeypatch.setattr(transformer, "load_text", lambda: text)
        monkeypatch.setattr(transformer, "EPOCHS_OF_TEXT", 1)
        outcome = milestones.run(2017, seed=0, folder=tmp_path)
        assert outcome.accuracy == 100 and not outcome.reached
        assert re.search(r"writes, \d+ % are words.*before training, \d+ %", outcome.findings[1])
        looks = np.asarray(outcome.pictures["attention"].axes[0].images[0].get_array())
        assert np.array_equal(looks.argmax(axis=1), np.arange(transformer.LETTERS)[::-1])
        assert {path.name for path in outcome.written} == {"2017-0-curve.png", "2017-0-attention.png"}

    def test_counts_words(self):
        share = milestones.load(2017).share_of_words(
            ["Alice went hmome to", "The king's kingg x"], "Went king's"
        )
        assert share == 50


def test_one_layer_cannot_learn_xor(tmp_path):
    first, second = milestones.run(1969, seed=1, folder=tmp_path).findings
    assert first.startswith("One layer") and "100" not in first
    assert second.startswith("Two layers: 100 %")


def test_an_unknown_year_names_the_known_ones():
    with pytest.raises(ValueError, match=r"milestone of 1812; there are 1957, 1969"):
        milestones.load(1812)


class TestCommandLine:
    @pytest.fixture
    def fake(self, monkeypatch):
        def run(year, seed, folder):
            if year == 1998:
                raise milestones.Unavailable("needs files")
            return Outcome(90.0, reached=year == 1957, findings=["seen"], year=year, seed=seed)

        monkeypatch.setattr(milestones, "run", run)

    def test_lists(self, capsys):
        assert cli.main(["milestones"]) == 0
        out = capsys.readouterr().out
        assert all(str(year) in out for year in milestones.YEARS) and "98.5 %" in out

    def test_runs_each_seed(self, fake, capsys):
        assert cli.main(["milestones", "1957", "--seeds", "2"]) == 0
        out = capsys.readouterr().out
        assert "seed 0: 90.00 % right, reached" in out and "seed 1" in out and "seen" in out

    def test_a_missed_target_is_a_failure(self, fake, capsys):
        assert cli.main(["milestones", "1986"]) == 1
        assert "NOT reached" in capsys.readouterr().out

    def test_what_needs_missing_files_is_left_out(self, fake, capsys):
        assert cli.main(["milestones", "1998"]) == 0
        assert "left out: needs files" in capsys.readouterr().err

    def test_json(self, fake, capsys):
        cli.main(["milestones", "1957", "1969", "--json"])
        records = json.loads(capsys.readouterr().out)
        assert [(record["year"], record["reached"]) for record in records] == [(1957, True), (1969, False)]

    @pytest.mark.parametrize("year", ["1812", "cnn"])
    def test_a_wrong_year_is_an_error(self, year, capsys):
        assert cli.main(["milestones", year]) == 2
        assert year in capsys.readouterr().err
