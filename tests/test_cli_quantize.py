"""`tinytorch quantize`: before and after, a file that loads again, and what it refuses."""

import json

import numpy as np
import pytest

from tinytorch import cli
from tinytorch.acceleration import InferenceModel
from tinytorch.datasets import load_digits, load_text
from tinytorch.models import ResNet, char_gpt, load_model, save_model
from tinytorch.quantization import QuantizedLinear
from tinytorch.tokenization import CharTokenizer


@pytest.fixture
def resnet(tmp_path):
    np.random.seed(0)
    save_model(tmp_path / "resnet", ResNet((4, 8)))
    return str(tmp_path / "resnet")


@pytest.fixture
def gpt(tmp_path):
    np.random.seed(0)
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(load_text()[:5000])
    save_model(tmp_path / "gpt", char_gpt(tokenizer.vocab_size, 32, 1, 2, 64), tokenizer)
    text = tmp_path / "text"
    text.write_text(load_text()[:5000])
    return str(tmp_path / "gpt"), str(text)


def outcome(capsys, *arguments):
    assert cli.main(["quantize", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_network_before_and_after(resnet, tmp_path, capsys):
    found = outcome(capsys, resnet, "--out", str(tmp_path / "small"))
    assert (
        found["measure"] == "accuracy" and abs(found["float32"]["accuracy"] - found["int8"]["accuracy"]) < 5
    )
    assert found["int8"]["bytes"] < 0.4 * found["float32"]["bytes"]
    ratio = found["time_ratio"]
    assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"]
    small, _ = load_model(tmp_path / "small")
    images, labels = load_digits(32, "test")
    assert isinstance(small, InferenceModel)
    assert 100 * np.mean(small.predict(images) == labels) == pytest.approx(found["int8"]["accuracy"])


@pytest.mark.parametrize("options", [[], ["--activations", "static"], ["--weights", "int4"]])
def test_a_language_model_before_and_after(gpt, options, tmp_path, capsys):
    checkpoint, text = gpt
    path = str(tmp_path / "small")
    found = outcome(capsys, checkpoint, "--out", path, "--text", text, *options)
    bits = found["weights"]
    assert found[bits]["perplexity"] == pytest.approx(found["float32"]["perplexity"], rel=0.2)
    small, tokenizer = load_model(path)
    assert any(isinstance(layer, QuantizedLinear) for layer in small.modules()) and tokenizer is not None
    assert cli.main(["generate", path, "--prompt", "the", "--max-new-tokens", "5"]) == 0


def test_words_for_people(resnet, tmp_path, capsys):
    assert cli.main(["quantize", resnet, "--out", str(tmp_path / "small"), "--weights", "int4"]) == 0
    said = capsys.readouterr().out
    assert "measured" in said and "accuracy" in said and "times smaller" in said and "bytes" in said


def test_what_it_refuses(resnet, gpt, tmp_path, capsys):
    out, short = ["--out", str(tmp_path / "small")], tmp_path / "short"
    short.write_text("too short")
    for arguments, words in (
        (["nowhere", *out], "nowhere"),
        ([resnet, "--out", str(tmp_path / "no" / "folder")], "folder that exists"),
        ([resnet, *out, "--weights", "int4", "--activations", "static"], "float32"),
        ([gpt[0], *out, "--text", str(short)], "longer text"),
    ):
        assert cli.main(["quantize", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
    assert cli.main(["quantize", resnet, *out]) == 0
    capsys.readouterr()
    assert cli.main(["quantize", str(tmp_path / "small"), "--out", str(tmp_path / "again")]) == 2
    assert "already" in capsys.readouterr().err
