"""The models: shapes, sizes, and that each of them learns."""

import numpy as np
import pytest

from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.datasets import load_digits, load_text, next_token_windows
from tinytorch.losses import CrossEntropyLoss
from tinytorch.models import DigitsCNN, LeNet, MLPClassifier, Perceptron, char_gpt, next_token_loss
from tinytorch.optimizers import Adam
from tinytorch.tensor import Tensor, from_numpy
from tinytorch.tokenization import CharTokenizer
from tinytorch.training import Trainer


def parameter_count(model):
    return sum(parameter.size for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "side", "count"),
    [
        (Perceptron, 8, 64 * 10 + 10),
        (MLPClassifier, 32, 1024 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10),
        (LeNet, 32, 61_706),
        (DigitsCNN, 32, 9 * (32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 2049 * 128 + 129 * 10),
    ],
)
def test_classifiers_have_the_stated_shape(make, side, count):
    model = make()
    assert model(Tensor(np.random.rand(2, 1, side, side))).shape == (2, 10)
    assert parameter_count(model) == count


@pytest.mark.parametrize(
    ("make", "size", "lr"),
    [(Perceptron, 8, 0.02), (MLPClassifier, 32, 0.003), (LeNet, 32, 0.003), (DigitsCNN, 32, 0.003)],
)
def test_classifiers_learn_a_few_digits(make, size, lr):
    np.random.seed(0)
    images, labels = load_digits(size=size)
    x, y = Tensor(images[:40]), Tensor(labels[:40])
    model = make()
    optimizer, loss_of = Adam(model.parameters(), lr=lr), CrossEntropyLoss()
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_mlp_needs_two_sizes():
    with pytest.raises(ValueError, match="at least"):
        MLPClassifier((10,))


def test_char_gpt_has_the_reports_configuration():
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(load_text())
    model = char_gpt(tokenizer.vocab_size)
    assert (model.embed_dim, model.num_layers, model.max_seq_len) == (128, 4, 1024)
    per_block = 12 * 128 * 128 + 13 * 128
    tables = (2 * tokenizer.vocab_size + 1024) * 128
    assert parameter_count(model) == 4 * per_block + tables + 2 * 128
    text = tokenizer.decode(model.generate([tokenizer.encode("Alice")], 20, seed=0).data[0])
    assert text.startswith("Alice") and len(text) >= 25


def test_trainer_trains_a_char_gpt():
    np.random.seed(0)
    tokenizer = CharTokenizer()
    text = load_text()[:2000]
    tokenizer.build_vocab(text)
    inputs, targets = next_token_windows(tokenizer.encode(text), 32)
    model = char_gpt(tokenizer.vocab_size, embed_dim=32, num_layers=1, max_seq_len=32)
    loader = DataLoader(TensorDataset(from_numpy(inputs), from_numpy(targets)), batch_size=8, shuffle=True)
    trainer = Trainer(model, Adam(model.parameters(), lr=0.01), next_token_loss, progress=False)
    losses = [trainer.train_epoch(loader) for _ in range(3)]
    assert losses[-1] < losses[0] < np.log(tokenizer.vocab_size) + 0.5


def test_next_token_loss_needs_a_target_for_each_position():
    with pytest.raises(ValueError, match="one target"):
        next_token_loss(Tensor(np.zeros((2, 3, 5))), np.zeros((2, 4), int))
