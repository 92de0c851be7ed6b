"""The names that PyTorch users type."""

import numpy as np
import pytest

import tinytorch.nn as nn
import tinytorch.nn.functional as F
from tinytorch import optim
from tinytorch.autograd import gradcheck
from tinytorch.tensor import Tensor


def test_everything_promised_is_there():
    for namespace in (nn, F, optim):
        for name in namespace.__all__:
            assert getattr(namespace, name) is not None
    assert nn.Module is nn.Layer and nn.F is F


def test_model_in_pytorch_style():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(1))
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return F.relu(self.fc(x)) * self.scale

    np.random.seed(0)
    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(Tensor(np.ones((4, 3)))), np.array([0, 1, 0, 1])).backward()
    optimizer.step()
    assert len(model.parameters()) == 3


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (F.linear, [(2, 3), (3, 4), (4,)]),
        (F.linear, [(2, 3), (3, 4)]),
        (F.conv2d, [(1, 2, 4, 4), (3, 2, 2, 2), (3,)]),
        (lambda x, w: F.conv2d(x, w, stride=2, padding=1), [(1, 2, 4, 4), (3, 2, 3, 3)]),
        (lambda x: F.max_pool2d(x, 2), [(1, 2, 4, 4)]),
        (lambda x: F.avg_pool2d(x, 2, 1), [(1, 2, 4, 4)]),
        (lambda x: F.dropout(x, training=False), [(3,)]),
        (lambda x: F.softmax(x, dim=0), [(3, 2)]),
    ],
)
def test_functions_are_differentiable(function, shapes):
    rng = np.random.default_rng(0)
    inputs = [Tensor(rng.normal(size=shape), requires_grad=True, dtype=np.float64) for shape in shapes]
    assert gradcheck(function, inputs)
