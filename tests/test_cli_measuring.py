"""`tinytorch profile` and `tinytorch bench`: what they show, what they write, and their exit codes."""

import json

import pytest
from benchmarking.common import record_of

from tinytorch import cli
from tinytorch.experiments import gallery
from tinytorch.models import MLPClassifier, save_model
from tinytorch.profiling import rooflines
from tinytorch.quantities import Measured
from tinytorch.quantization import quantize, save_quantized


@pytest.fixture(autouse=True)
def known_ceilings(monkeypatch):
    ceilings = (Measured(100.0, "GFLOP/s"), Measured(20.0, "GB/s"))
    monkeypatch.setattr(rooflines, "ceilings", lambda *_: ceilings)


@pytest.mark.parametrize("model", ["mlp", "lenet"])
def test_profile_shows_layers_ceilings_and_what_is_worth_it(model, capsys):
    assert cli.main(["profile", model, "--batch", "2"]) == 0
    text = capsys.readouterr().out
    assert "layers.1" in text and "add up to" in text
    assert "bound by" in text and "100 GFLOP/s" in text
    assert "4× faster, the whole would be" in text and "modelled" in text


def test_profile_of_a_gpt_as_json_with_a_trace(tmp_path, capsys):
    path = tmp_path / "trace.json"
    assert cli.main(["profile", "gpt", "--length", "4", "--json", "--trace", str(path)]) == 0
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    assert {"machine", "whole", "added_up", "layers", "rooflines", "what_if"} <= found.keys()
    assert any(row["name"] == "blocks.0.attention" for row in found["layers"])
    assert json.loads(path.read_text(encoding="utf-8"))["traceEvents"] and "perfetto" in streams.err


def test_profile_reads_a_file(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_model(path, MLPClassifier((12, 7, 3)))
    assert cli.main(["profile", str(path), "--json"]) == 0
    parameters = sum(row["parameters"] for row in json.loads(capsys.readouterr().out)["layers"])
    assert parameters == 12 * 7 + 7 + 7 * 3 + 3


def test_profile_of_a_model_without_layers_to_watch(tmp_path, capsys):
    model, path, small = MLPClassifier((32, 32, 3)), tmp_path / "model", tmp_path / "small"
    save_model(path, model)
    save_quantized(quantize(model, weights="int4"), small, described_by=path)
    assert cli.main(["profile", str(small)]) == 2
    assert "profile the float32 model that it was made of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "resnet5"], "neither a file nor one of mlp, lenet, cnn, gpt"),
        (["profile", "gpt", "--length", "5000"], "more than this model's 1024 tokens"),
        (["bench", "gallery", "tiny"], "no case 'tiny'"),
        (["bench", "suite", "none"], "no suite 'none'"),
        (["bench", "suite", "kernels", "--passes", "1"], "passes must be at least 2"),
        (["bench", "leaderboard", "/nowhere"], "is no folder"),
        (["bench", "compare", "/nowhere", "/nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told_on_the_other_stream(arguments, message, capsys):
    assert cli.main(arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err and not streams.out


@pytest.mark.parametrize("arguments", [["bench"], ["bench", "gallery", "--seconds", "0"], ["profile"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2 and "usage" in capsys.readouterr().err


def test_gallery_lists_and_runs(capsys):
    assert cli.main(["bench", "gallery", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(gallery.CASES)
    assert cli.main(["bench", "gallery", "packing_used_once", "--seconds", "0.02"]) == 0
    text = capsys.readouterr().out
    assert "packing_used_once" in text and "of 1 lose here" in text
    assert cli.main(["bench", "gallery", "packing_used_once", "--seconds", "0.02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"][0]["name"] == "packing_used_once"


def test_a_suite_is_run_kept_and_compared(tmp_path, capsys):
    assert cli.main(["bench", "suite"]) == 0
    assert "fusion: bias and ReLU" in capsys.readouterr().out
    for name in "ab":
        file = str(tmp_path / f"{name}.json")
        common = ["--seconds", "0.01", "--passes", "2", "--label", name, "--out", file]
        assert cli.main(["bench", "suite", "fusion", *common]) == 0
    assert "one call against three calls" in capsys.readouterr().out
    assert cli.main(["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "b over a" in capsys.readouterr().out
    assert cli.main(["bench", "leaderboard", str(tmp_path)]) == 0
    assert "Suite fusion" in capsys.readouterr().out


def test_unlike_machines_are_compared_on_request(tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    record_of({"x": 1.0}).save(files[0])
    record_of({"x": 1.0}, machine={"threads": 2}).save(files[1])
    assert cli.main(["bench", "compare", *files]) == 2
    assert "unlike machines" in capsys.readouterr().err
    assert cli.main(["bench", "compare", *files, "--mixed"]) == 0
