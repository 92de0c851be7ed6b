"""``tinytorch prune``: what it measures, prints and writes, and what it refuses."""

import json

import numpy as np
import pytest

from tinytorch import cli
from tinytorch.models import MLPClassifier, load_model, save_model
from tinytorch.pruning import measure_sparsity
from tinytorch.tokenization import CharTokenizer
from tinytorch.transformers import GPT

LETTERS = "abcdefghij"


@pytest.fixture
def classifier(tmp_path):
    np.random.seed(0)
    save_model(tmp_path / "mlp", MLPClassifier((1024, 16, 10)))
    return str(tmp_path / "mlp")


@pytest.fixture
def writer(tmp_path):
    np.random.seed(0)
    save_model(tmp_path / "gpt", GPT(len(LETTERS) + 1, 16, 1, 2, max_seq_len=8), CharTokenizer(LETTERS))
    (tmp_path / "text").write_text("".join(np.random.default_rng(0).choice(list(LETTERS), 400)))
    return [str(tmp_path / "gpt"), "--text", str(tmp_path / "text")]


def test_a_classifier(classifier, tmp_path, capsys):
    out = tmp_path / "pruned"
    code = cli.main(["prune", classifier, "--sparsity", "0.8", "--out", str(out), "--json"])
    record = json.loads(capsys.readouterr().out)
    assert code == 0 and record["metric"] == "accuracy"
    assert record["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert record["quality"]["trained on"] > record["quality"]["pruned"]
    assert record["bytes"]["sparse"] <= record["bytes"]["dense"]
    assert record["speed"]["low"] <= record["speed"]["value"] <= record["speed"]["high"]
    assert [layer["layer"] for layer in record["layers"]] == ["layers.1", "layers.3"]
    model, _ = load_model(out)
    assert measure_sparsity(model) == pytest.approx(0.8, abs=0.02)


def test_a_language_model_for_people(writer, capsys):
    assert cli.main(["prune", *writer, "--epochs", "0", "--block", "1", "--sparsity", "0.5"]) == 0
    text = capsys.readouterr().out
    assert "GPT, 50.0 % of its weights removed in 1×1 blocks (all measured)" in text
    assert "perplexity  dense" in text and "trained on" not in text
    assert "time of 7 tokens  dense / sparse" in text and "blocks.0.mlp.linear1" in text


MISUSE = {
    "a percentage": (["--sparsity", "90"], "did you mean 0.9?"),
    "fewer epochs than none": (["--epochs", "-1"], "--epochs is -1, must be 0 or more"),
    "a text for a classifier": (["--text", "book.txt"], "reads digits; --text is for gpt"),
    "a file where there is no folder": (["--out", "no/such/folder/x"], "folder that exists"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(classifier, capsys, what):
    arguments, words = MISUSE[what]
    assert cli.main(["prune", classifier, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_none(tmp_path, capsys):
    (tmp_path / "x").write_text("no model")
    assert cli.main(["prune", str(tmp_path / "x")]) == 2
    assert "not a whole checkpoint" in capsys.readouterr().err
