"""A matmul of one's own in the kernels' place: whole networks train on it, to the same losses."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.activations import Tanh
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import SGD
from tinytorch.spatial import Conv2d, MaxPool2d
from tinytorch.tensor import Tensor

STEPS = 8


def plain_python(a, b):
    """(M, K) @ (K, N), number by number."""
    columns = list(zip(*b.tolist(), strict=True))
    return [
        [sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a.tolist()
    ]


def plain_numpy(a, b):
    """(M, K) @ (K, N), a sum of outer products."""
    y = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        y += a[:, k, None] * b[k]
    return y


def mlp():
    return Sequential(Linear(6, 5), Tanh(), Linear(5, 3)), (8, 6)


def cnn():
    features = Conv2d(1, 2, 3, padding=1), Tanh(), MaxPool2d(2), Conv2d(2, 3, 2), Tanh()
    return Sequential(*features, Flatten(), Linear(3 * 2 * 2, 3)), (4, 1, 6, 6)


def train(make, matmul=None):
    """The losses, and how often the replacement was called in forward and in backward passes."""
    np.random.seed(0)
    model, shape = make()
    x, labels = Tensor(np.random.randn(*shape)), np.arange(shape[0]) % 3
    optimizer, loss_fn = SGD(model.parameters(), lr=0.5, momentum=0.9), CrossEntropyLoss()
    calls = {"forward": 0, "backward": 0}

    def counted(a, b):
        calls[direction] += 1
        return matmul(a, b)

    losses = []
    with kernels.use(matmul=matmul and counted):
        for _ in range(STEPS):
            direction = "forward"
            loss = loss_fn(model(x), labels)
            direction = "backward"
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, calls


@pytest.mark.kernel
@pytest.mark.parametrize("matmul", [plain_python, plain_numpy])
@pytest.mark.parametrize(
    ("make", "forward", "backward"),
    [
        (mlp, 2, 3),  # a product for each layer; then one for each weight, and for the second layer's input
        (cnn, 3, 5),
    ],
)
def test_training_runs_on_the_replacement(make, forward, backward, matmul):
    expected, none = train(make)
    losses, calls = train(make, matmul)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert expected[-1] < 0.7 * expected[0]  # it does learn
    assert calls == {"forward": forward * STEPS, "backward": backward * STEPS}
    assert not any(none.values())


@pytest.mark.parametrize("make", [mlp, cnn])
def test_a_wrong_replacement_shows(make):
    losses, _ = train(make, lambda a, b: 0.5 * plain_numpy(a, b))
    assert not np.allclose(losses, train(make)[0], rtol=1e-2)
