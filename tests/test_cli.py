"""The command: exit codes, files, and what goes to which stream."""

import json

import pytest
from experiments.example import example_record

from tinytorch import cli, experiments


@pytest.fixture
def runs(monkeypatch):
    """Replace the measuring by a finished record; returns what it was asked for."""
    asked = []

    def run(names=(), **options):
        asked.append({"names": list(names), **options})
        options["progress"](1.0, "done")
        return example_record()

    monkeypatch.setattr(experiments, "run", run)
    return asked


def test_report_writes_both_files(runs, tmp_path, capsys):
    assert cli.main(["report", "--quick", "--threads", "2", "--out", str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "tinytorch-report.html",
        "tinytorch-report.json",
    ]
    assert runs[0]["effort"] == "quick" and runs[0]["threads"] == 2 and runs[0]["names"] == []
    assert "An example" in capsys.readouterr().out


def test_figures_are_written_on_request(runs, tmp_path):
    assert cli.main(["report", "--figures", "--out", str(tmp_path)]) == 0
    pictures = sorted((tmp_path / "figures").iterdir())
    assert len(pictures) == sum(len(section.figures) for section in example_record().sections) > 0
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_json_output_is_json_alone(runs, tmp_path, capsys):
    assert cli.main(["report", "--json", "--only", "acceleration", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "Record"
    assert runs[0]["names"] == ["acceleration"]
    assert runs[0]["effort"] == "normal"


@pytest.mark.parametrize("status, code", [("partial", 130), ("failed", 1)])
def test_exit_code_tells_how_the_run_ended(runs, tmp_path, status, code, monkeypatch):
    monkeypatch.setattr(experiments, "run", lambda *_, **__: example_record(status))
    assert cli.main(["report", "--out", str(tmp_path)]) == code
    written = experiments.from_json((tmp_path / "tinytorch-report.json").read_text(encoding="utf-8"))
    assert written.status == status


def test_unwritable_folder_is_refused_before_any_work(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["report", "--out", str(tmp_path / "file")]) == 2
    assert "--out DIR" in capsys.readouterr().err
    assert runs == []


def test_unknown_experiment_is_refused_before_any_work(runs, tmp_path, capsys):
    assert cli.main(["report", "--only", "speling", "--out", str(tmp_path / "out")]) == 2
    assert "acceleration" in capsys.readouterr().err
    assert runs == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["report", "--quick", "--thorough"],
        ["report", "--threads", "0"],
        ["report", "--threads", "many"],
        ["dance"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_doctor_in_text_and_json(capsys):
    code = cli.main(["doctor"])
    text = capsys.readouterr().out
    assert code in (0, 1) and "NumPy" in text and "C compiler" in text
    assert cli.main(["doctor", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert {"python", "numpy", "level", "levels", "threads", "caches", "compiler", "ok"} <= found.keys()


def test_doctor_tells_the_cure(capsys, monkeypatch):
    from tinytorch import environment

    monkeypatch.setattr(environment, "compiler", lambda: None)
    assert cli.main(["doctor"]) == 1
    assert environment.install_command() in capsys.readouterr().out
