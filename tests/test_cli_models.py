"""The commands that train models and let them write: files, streams, exit codes."""

import json

import numpy as np
import pytest

from tinytorch import cli
from tinytorch.models import MLPClassifier, load_model, save_model
from tinytorch.tokenization import ByteBPETokenizer, CharTokenizer
from tinytorch.transformers import GPT

LETTERS = "abcdefghij"


@pytest.fixture
def checkpoint(tmp_path):
    np.random.seed(0)
    model = GPT(len(LETTERS) + 1, 16, 1, 2, max_seq_len=40)
    save_model(tmp_path / "gpt.safetensors", model, CharTokenizer(LETTERS))
    return str(tmp_path / "gpt.safetensors")


def written(capsys, *arguments):
    """What `generate` prints: exit code, text, what else it says."""
    code = cli.main(["generate", *arguments])
    return (code, *capsys.readouterr())


def test_generate_writes_the_models_text_and_its_speed(checkpoint, capsys):
    code, text, said = written(
        capsys, checkpoint, "--prompt", "abc", "--max-new-tokens", "12", "--temperature", "0"
    )
    model, tokenizer = load_model(checkpoint)
    ids = model.generate(tokenizer.encode("abc"), 12, temperature=0).data[0]
    assert code == 0 and text == tokenizer.decode(ids) + "\n"
    assert "12 tokens," in said and "tokens/s" in said and "measured" in said


def test_generate_by_seed_with_and_without_a_cache(checkpoint, capsys):
    options = [checkpoint, "--prompt", "a", "--max-new-tokens", "20", "--top-k", "8", "--top-p", "0.95"]
    first, again, plain, other = (
        written(capsys, *options, *more)[1]
        for more in (["--seed", "1"], ["--seed", "1"], ["--seed", "1", "--no-cache"], ["--seed", "2"])
    )
    assert first == again == plain != other


def test_generate_as_json(checkpoint, capsys):
    code, text, said = written(
        capsys, checkpoint, "--prompt", "ab", "--max-new-tokens", "9", "--seed", "3", "--json"
    )
    record = json.loads(text)
    assert code == 0 and said == ""
    assert record["prompt"] == "ab" and record["tokens"] == len(record["text"]) == 9
    assert record["seconds"] > record["seconds_to_first_token"] > 0 and record["tokens_per_second"] > 0


def test_generate_stops_at_a_text(checkpoint, capsys):
    whole = json.loads(
        written(capsys, checkpoint, "--prompt", "a", "--seed", "0", "--max-new-tokens", "30", "--json")[1]
    )
    stop = whole["text"][10:12]
    record = json.loads(
        written(
            capsys, checkpoint, "--prompt", "a", "--seed", "0", "--max-new-tokens", "30", "--json",
            "--stop", stop, "--stop", "zz",
        )[1]
    )  # fmt: skip
    assert record["text"] == whole["text"][: whole["text"].index(stop) + 2]


def test_characters_of_several_tokens_are_printed_whole(tmp_path, capsys, monkeypatch):
    tokenizer = ByteBPETokenizer()
    model = GPT(256, 16, 1, 2, max_seq_len=40)
    ids = tokenizer.encode("né à €")
    monkeypatch.setattr(GPT, "stream", lambda self, *_, **__: iter(ids))
    save_model(tmp_path / "m", model, tokenizer)
    code, text, _ = written(capsys, str(tmp_path / "m"), "--prompt", "é: ")
    assert code == 0 and text == "é: né à €\n"


def test_an_unknown_character_is_pointed_out(checkpoint, capsys):
    code, _, said = written(capsys, checkpoint, "--prompt", "aXb", "--max-new-tokens", "2")
    assert code == 0 and "does not know all characters" in said


MISUSE = [
    (["--max-new-tokens", "50"], "Ask for at most 40 new tokens"),
    (["--prompt", ""], "prompt is empty"),
    (["--temperature", "-1"], "temperature must be 0"),
    (["--top-k", "0"], "top_k must be at least 1"),
    (["--top-p", "90"], "top_p is a sum of probabilities"),
    (["--repetition-penalty", "0"], "repetition_penalty must be positive"),
    (["--stop", ""], "empty stop string"),
]


@pytest.mark.parametrize("options, message", MISUSE)
def test_generate_explains_mistakes_before_it_writes(checkpoint, capsys, options, message):
    code, text, said = written(capsys, checkpoint, "--prompt", "a", *options)
    assert code == 2 and text == "" and message in said and "Traceback" not in said


def test_generate_explains_files_it_cannot_use(tmp_path, capsys):
    mlp, no_tokenizer, text = tmp_path / "mlp", tmp_path / "gpt", tmp_path / "text"
    save_model(mlp, MLPClassifier((4, 2)))
    save_model(no_tokenizer, GPT(5, 8, 1, 2, max_seq_len=8))
    text.write_text("not a model")
    for path, message in (
        (mlp, "MLPClassifier, which writes no text"),
        (no_tokenizer, "holds no tokenizer"),
        (text, "not a whole checkpoint"),
        (tmp_path / "none", "none"),
    ):
        code, out, said = written(capsys, str(path))
        assert code == 2 and out == "" and message in said


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_train_writes_a_classifier(tmp_path, capsys, kind):
    out = tmp_path / "model.safetensors"
    assert cli.main(["train", kind, "--steps", "2", "--batch-size", "16", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    model, tokenizer = load_model(out)
    assert tokenizer is None and record["path"] == str(out) and record["steps"] == 2
    assert record["parameters"] == sum(p.size for p in model.parameters())
    assert 0 <= record["held_out_accuracy"] <= 1 and record["held_out_loss"] > 0


def test_train_then_generate(tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "gpt.safetensors"
    text.write_text("to be, or not to be, that is the question:\n" * 200, encoding="utf-8")
    arguments = ["train", "gpt", "--text", str(text), "--steps", "12", "--lr", "0.003", "--out", str(out)]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert "12 steps" in said.out and "measured" in said.out and "tinytorch generate" in said.err
    code, written_text, _ = written(capsys, str(out), "--prompt", "to be", "--max-new-tokens", "5")
    assert code == 0 and written_text.startswith("to be")
    first = out.read_bytes()
    assert cli.main(arguments) == 0
    assert out.read_bytes() == first  # the same seed, the same model


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["mlp", "--text", "x"], "--text is for gpt"),
        (["mlp", "--out", "no/such/folder/m"], "in a folder that exists"),
        (["gpt", "--text", "no-such-file"], "no-such-file"),
        (["mlp", "--lr", "-1", "--steps", "1"], "-1"),
    ],
)
def test_train_explains_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["train"], ["train", "rnn"], ["train", "mlp", "--steps", "1", "--epochs", "1"], ["generate"],
     ["generate", "x", "--max-new-tokens", "0"]],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2 and "usage" in capsys.readouterr().err
