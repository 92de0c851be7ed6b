"""The course's command: a student's work is never lost, and what is checked is the student's notebook."""

import json
import shutil

import pytest

from tinytorch import cli
from tinytorch.course import building

from . import labs

pytest.importorskip("jupytext")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Runs `tinytorch course …` in a folder of its own; returns (exit code, folder)."""
    monkeypatch.setenv("TINYTORCH_COURSE", str(tmp_path))
    return lambda *arguments: cli.main(["course", *map(str, arguments)])


NAME = "17_quantization.ipynb"


def solve(folder):
    (folder / NAME).write_text(building.dump(labs.solution(17)), encoding="utf-8")


def test_start_copies_and_never_overwrites(course, tmp_path, capsys):
    assert course("start", 17) == 0
    assert (tmp_path / NAME).read_bytes() == labs.LABS[17].with_suffix(".ipynb").read_bytes()
    (tmp_path / NAME).write_text("my work")
    assert course("start", 17) == 2
    assert "stays as it is" in capsys.readouterr().err
    assert (tmp_path / NAME).read_text() == "my work"


def test_reset_keeps_a_dated_copy(course, tmp_path):
    course("start", 17)
    (tmp_path / NAME).write_text("my work")
    assert course("reset", 17) == 0
    assert "my work" not in (tmp_path / NAME).read_text()
    (backup,) = tmp_path.glob("17_quantization.2*.ipynb")
    assert backup.read_text() == "my work"


def test_check_runs_on_the_students_notebook(course, tmp_path, capsys):
    course("start", 17)
    assert course("check", 17) == 1
    out = capsys.readouterr().out
    assert "0 of 13 points" in out and "Hint: " in out
    solve(tmp_path)
    assert course("check", 17, "--json") == 0
    assert json.loads(capsys.readouterr().out)["points"] == 13


def test_status_tells_what_was_checked_from_what_changed_since(course, tmp_path, capsys):
    def status():
        capsys.readouterr()
        assert course("status", "--json") == 0
        (lab,) = (lab for lab in json.loads(capsys.readouterr().out) if lab["number"] == 17)
        return lab["state"], lab["points"]

    assert status() == ("not started", 0)
    course("start", 17)
    assert status() == ("started", 0)
    solve(tmp_path)
    course("check", 17)
    assert status() == ("checked", 13)
    with (tmp_path / NAME).open("a") as file:
        file.write("\n")
    assert status() == ("changed since the check", 13)
    assert course("status") == 0 and "13 of 13 points" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["start", 77], "there is no notebook 77; there are 0, "),
        (["check", 17], "`tinytorch course start 17` puts it there"),
        (["reset", 17], "`tinytorch course start 17` puts it there"),
        (["check", 77], "there is no lab 77"),
        (["build", "--sources", "nowhere"], "no sources of notebooks in nowhere"),
        (["lab", "--folder", "nowhere"], "`tinytorch course start N` makes it"),
    ],
)
def test_misuse_is_explained(course, capsys, arguments, message):
    assert course(*arguments) == 2
    assert message in capsys.readouterr().err


def test_build_writes_both_versions_and_notices_what_is_stale(course, tmp_path, capsys):
    sources, solved = tmp_path / "notebooks", tmp_path / "solved"
    sources.mkdir()
    shutil.copy(labs.LABS[17], sources)
    assert course("build", "--sources", sources, "--check") == 1
    assert course("build", "--sources", sources, "--instructor", solved) == 0
    assert course("build", "--sources", sources, "--check") == 0
    student = json.loads((sources / NAME).read_text())
    text = json.dumps(student)
    assert "BEGIN SOLUTION" not in text and "HIDDEN" not in text and "raise NotImplementedError()" in text
    assert "BEGIN SOLUTION" in (solved / NAME).read_text()
    assert all(not cell.get("outputs") for cell in student["cells"])
    points = [cell["metadata"].get("nbgrader", {}).get("points", 0) for cell in student["cells"]]
    assert sum(points) == 14  # 13 by checks, 1 by a person


@pytest.mark.parametrize(
    "change, message",
    [
        (("### END SOLUTION\n\n    def observe", "\n    def observe"), "without its partner"),
        (('# %% check="gap"', '# %% check="gab"'), "has no check 'gab'"),
        (('# %% check="gap"', "# %%"), "no cell calls the checks gap"),
        (('# %% build="gap"', '# %% build="observer"'), "two cells are named observer"),
        (('lab.check("gap"', 'lab.check("observer"'), r'must call lab.check\("gap"'),
    ],
)
def test_mistakes_in_a_source_are_named(tmp_path, change, message):
    source = tmp_path / labs.LABS[17].name
    text = labs.LABS[17].read_text(encoding="utf-8")
    assert change[0] in text
    source.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        building.student_version(source)


def test_predictions_are_exported(course, tmp_path, capsys):
    from tinytorch.course import predictions

    predictions.store(17, "int8", {"ratio": 2}, tmp_path)
    capsys.readouterr()
    assert course("predictions", tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[1] == "17,int8,ratio,2"
    assert course("predictions", tmp_path, "--out", tmp_path / "all.csv") == 0
    assert (tmp_path / "all.csv").read_text().count("\n") == 2
