"""Models in files: what load_model gives is what save_model took, or an error that says what is wrong."""

import numpy as np
import pytest

from tinytorch.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from tinytorch.interop import safetensors
from tinytorch.layers import Linear, Sequential
from tinytorch.models import DigitsCNN, LeNet, Llama, MLPClassifier, load_model, save_model
from tinytorch.optimizers import SGD
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, ByteBPETokenizer, CharTokenizer
from tinytorch.training import Trainer
from tinytorch.transformers import GPT

TEXT = "the cat sat on the mat; the cat sat.\n" * 3
IDS = [[1, 2, 3, 4]]
IMAGE = np.random.default_rng(0).random((2, 1, 32, 32), np.float32)
MODELS = {
    "GPT": (lambda: GPT(9, 16, 2, 4, max_seq_len=12, dropout_prob=0.1), IDS),
    "Llama": (lambda: Llama(9, 16, 2, 4, 2, hidden_dim=40, max_seq_len=12, rope_base=500.0, eps=1e-4), IDS),
    "CNN": (lambda: DigitsCNN(channels=(4, 6), hidden=10, num_classes=3), IMAGE),
    "MLP": (lambda: MLPClassifier((1024, 8, 7, 5)), IMAGE),
}


@pytest.mark.parametrize("make, x", MODELS.values(), ids=MODELS.keys())
def test_a_model_comes_back_as_it_was(tmp_path, make, x):
    model, path = make(), tmp_path / "model.safetensors"
    if isinstance(model, DigitsCNN):
        model(Tensor(IMAGE))  # moves the statistics of its norms
    save_model(path, model)
    again, tokenizer = load_model(path)
    assert type(again) is type(model) and tokenizer is None and not again.training
    x = x if isinstance(x, list) else Tensor(x)
    np.testing.assert_array_equal(again(x).data, model.eval()(x).data)


def characters():
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(TEXT)
    return tokenizer


def words():
    tokenizer = BPETokenizer(40)
    tokenizer.train([TEXT])
    return tokenizer


def byte_pairs():
    tokenizer = ByteBPETokenizer(["<|endoftext|>"])
    tokenizer.train(TEXT, 270)
    return tokenizer


@pytest.mark.parametrize("make", [characters, words, byte_pairs])
def test_a_tokenizer_comes_along(tmp_path, make):
    tokenizer, path = make(), tmp_path / "model.safetensors"
    save_model(path, GPT(300, 16, 1, 2, max_seq_len=8), tokenizer)
    _, again = load_model(path)
    assert type(again) is type(tokenizer) and again.vocab_size == tokenizer.vocab_size
    for text in (TEXT, "the dog"):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_other_tools_find_the_arrays_by_name(tmp_path):
    model = GPT(9, 16, 1, 2, max_seq_len=8)
    save_model(tmp_path / "m.safetensors", model)
    arrays, _ = safetensors.load_file(tmp_path / "m.safetensors")
    assert arrays.keys() == model.state_dict().keys()


def changed(path, change):
    """The file, with its description changed."""
    save_model(path, GPT(9, 16, 1, 2, max_seq_len=8), characters())
    metadata, arrays = read_checkpoint(path)
    change(metadata)
    write_checkpoint(path, metadata, arrays)
    return path


def trainer_state(path):
    model = Linear(2, 2)
    Trainer(model, SGD(model.parameters(), lr=0.1), None).save_checkpoint(path)
    return path


def cut_short(path):
    save_model(path, GPT(9, 16, 1, 2, max_seq_len=8))
    path.write_bytes(path.read_bytes()[:-5])
    return path


class OwnTokenizer(CharTokenizer):
    pass


MISUSE = [
    (lambda p: load_model(p / "none"), FileNotFoundError, "none"),
    (lambda p: load_model(trainer_state(p / "m")), CheckpointError, "perhaps a Trainer's state"),
    (lambda p: load_model(cut_short(p / "m")), CheckpointError, "not a whole checkpoint"),
    (
        lambda p: load_model(changed(p / "m", lambda m: m["model"].update(kind="mamba"))),
        CheckpointError,
        "kind 'mamba'; this release knows gpt, llama, cnn, mlp",
    ),
    (
        lambda p: load_model(changed(p / "m", lambda m: m["model"]["sizes"].update(embed_dim=32))),
        CheckpointError,
        "weights and its description disagree.*token_embedding.weight",
    ),
    (
        lambda p: load_model(changed(p / "m", lambda m: m["model"]["sizes"].pop("num_heads"))),
        CheckpointError,
        "disagree: .*num_heads",
    ),
    (
        lambda p: load_model(changed(p / "m", lambda m: m["tokenizer"].update(kind="runes"))),
        CheckpointError,
        "disagree: .*runes",
    ),
    (lambda p: save_model(p / "m", LeNet()), TypeError, "could not make a LeNet again; it knows GPT"),
    (lambda p: save_model(p / "m", Sequential(Linear(2, 2))), TypeError, r"safetensors.save_file\("),
    (lambda p: save_model(p / "m", MLPClassifier((2, 2)), OwnTokenizer()), TypeError, "got OwnTokenizer"),
    (lambda p: save_model(p / "no" / "m", MLPClassifier((2, 2))), FileNotFoundError, "there is no folder"),
]


@pytest.mark.parametrize("call, error, message", MISUSE)
def test_mistakes_are_explained(tmp_path, call, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        call(tmp_path)
