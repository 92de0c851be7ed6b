"""`tinytorch live`: what it looks at, asks, shows, and never does."""

import builtins
import json

import pytest
from experiments.example import example_record
from test_report import Page

from tinytorch import cli, experiments, report
from tinytorch.cli import live
from tinytorch.experiments import quiet
from tinytorch.quantities import Measured, Modelled, Quoted


def record_with_one_figure():
    record = example_record()
    del record.sections[0].figures[1:]
    return record


@pytest.fixture(autouse=True)
def hall(monkeypatch):
    """A quiet machine, a finished record and nobody at the keyboard; returns what was opened and measured."""
    seen = {"opened": [], "asked": [], "look": quiet.look}
    found = quiet.Quiet(Measured(1.01, "×", 1.0, 1.01, 20), Measured(0.2, ""), 2, None)
    monkeypatch.setattr(quiet, "look", lambda: found)
    monkeypatch.setitem(live.QUESTIONS, "example", "How many times as fast?")

    def run(names=(), **options):
        seen["asked"].append({"names": list(names), **options})
        return record_with_one_figure()

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(live.webbrowser, "open", seen["opened"].append)
    monkeypatch.setattr(live, "_has_display", lambda: True)
    return seen


def keyboard(monkeypatch, *answers):
    typed = iter(answers)
    monkeypatch.setattr(live.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(builtins, "input", lambda question: next(typed))


def test_it_looks_measures_shows_and_opens_a_window(hall, tmp_path, capsys):
    assert cli.main(["live", "example", "--out", str(tmp_path), "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "This machine is quiet: identical code differs by a factor of 1.010" in text
    assert "██████" in text and "3× [2.90 to 3.10] (measured)" in text
    assert hall["asked"][0]["names"] == ["example"] and hall["asked"][0]["effort"] == "quick"
    assert hall["opened"] == [(tmp_path / "example.html").as_uri()]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"example.html", "example.json", "example-1.png"}


def test_without_a_display_the_files_are_named(hall, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(live, "_has_display", lambda: False)
    assert cli.main(["live", "example", "--out", str(tmp_path)]) == 0
    assert not hall["opened"] and f"wrote {tmp_path / 'example.html'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["5"], "The room said 5×; it is 3× [2.90 to 3.10] (measured)"),
        (["lots", "-1", "3,05x"], "The room said 3.05×: inside the interval"),
        ([""], None),
    ],
)
def test_the_room_is_asked_first(answers, said, tmp_path, capsys, monkeypatch):
    keyboard(monkeypatch, *answers)
    assert cli.main(["live", "example", "--out", str(tmp_path)]) == 0
    text, page = capsys.readouterr().out, (tmp_path / "example.html").read_text(encoding="utf-8")
    if said is None:
        assert "The room" not in text
    else:
        assert said in text and said in page


def test_a_loud_machine_is_told_with_the_cure(tmp_path, capsys, monkeypatch):
    found = quiet.Quiet(Measured(1.2, "×", 1.0, 1.2, 20), Measured(3.0, ""), 2, None)
    monkeypatch.setattr(quiet, "look", lambda: found)
    assert cli.main(["live", "example", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "not quiet" in text and "close other programs" in text and "on 2 cores" in text


def test_a_recording_is_marked_and_measures_nothing(hall, tmp_path, capsys):
    file = tmp_path / "autumn.json"
    file.write_text(experiments.to_json(record_with_one_figure()), encoding="utf-8")
    out = tmp_path / "out"
    assert cli.main(["live", "example", "--recorded", str(file), "--out", str(out)]) == 0
    text, page = capsys.readouterr().out, (out / "example.html").read_text(encoding="utf-8")
    assert not hall["asked"] and "Recorded: shown from autumn.json" in text and "(recorded)" in text
    assert page.count('class="recorded"') == page.count("<section>") == 3
    assert not (out / "example.json").exists()


def test_json_holds_everything_and_asks_nothing(hall, tmp_path, capsys, monkeypatch):
    keyboard(monkeypatch)  # an input would fail
    assert cli.main(["live", "example", "--json", "--predict", "4", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prediction"] == 4 and found["recorded"] is False and found["quiet"]["problems"] == []
    assert found["quiet"]["noise"]["tag"] == "measured" and found["record"]["type"] == "Record"
    assert not hall["opened"]


MISUSE = [
    (["speling"], "there are acceleration"),
    (["example", "--recorded", "/nowhere/at.json"], "nowhere"),
]


@pytest.mark.parametrize(("arguments", "message"), MISUSE)
def test_mistakes_are_named(arguments, message, tmp_path, capsys):
    assert cli.main(["live", *arguments, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_recording_of_something_else_is_refused(tmp_path, capsys):
    file = tmp_path / "record.json"
    file.write_text(experiments.to_json(example_record()), encoding="utf-8")
    assert cli.main(["live", "caching", "--recorded", str(file), "--out", str(tmp_path)]) == 2
    assert "no section 'caching'; there is example" in capsys.readouterr().err


@pytest.mark.parametrize("dark", [False, True])
def test_slides_are_whole_load_nothing_and_tag_every_number(dark):
    record = example_record()
    page = report.slides(record, record.sections[0], ["a <note>"], dark=dark, recorded=False)
    seen = Page(page)
    assert seen.open == [] and seen.loads == [] and len(seen.ids) == len(set(seen.ids))
    assert "a &lt;note&gt;" in page and page.count("<svg") == 4
    assert [tag for tag, _ in seen.tags].count("measured") == 2  # the headline and the statement


def test_the_headline_is_the_first_speedup():
    section = example_record().sections[0]
    assert report.headline(section)[1].value == 3.0
    section.summaries.clear()
    assert report.headline(section)[0] == "gain"
    section.statements.clear()
    assert report.headline(section) is None


def test_the_banner_has_a_glyph_for_all_that_numbers_need():
    for quantity in (Measured(1234.5, "×"), Quoted(0.867, "%", "a page"), Modelled(90.0, "×", "a − b")):
        rows = report.banner(quantity).splitlines()
        assert len(rows) == 5 and len({len(row) for row in rows}) == 1


def test_a_real_look_at_this_machine(hall):
    found = hall["look"](0.05)
    assert found.noise.value >= 1 and found.noise.n > 1 and found.cores >= 1


def test_every_experiment_has_a_question():
    assert set(experiments.NAMES) <= set(live.QUESTIONS)
