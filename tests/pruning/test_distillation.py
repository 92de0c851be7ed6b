"""The student's loss is Hinton's, its gradient right, and it learns."""

import copy

import numpy as np
import pytest

from tests.pruning.models import RNG, gpt, mlp
from tinytorch import Tensor
from tinytorch.activations import ReLU
from tinytorch.autograd import gradcheck
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.layers import Linear, Sequential
from tinytorch.optimizers import Adam
from tinytorch.pruning import KnowledgeDistillation

LABELS = RNG.integers(0, 4, 6)


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def test_distillation_loss():
    logits, labels = RNG.standard_normal((6, 4)).astype(np.float32), RNG.integers(0, 4, 6)
    hard = KnowledgeDistillation(mlp(), mlp(), alpha=0.0).distillation_loss(logits, logits * 2, labels)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert hard == pytest.approx(-log_p[np.arange(6), labels].mean(), rel=1e-5)
    soft = KnowledgeDistillation(mlp(), mlp(), alpha=1.0)
    assert soft.distillation_loss(logits, logits, labels) == pytest.approx(0, abs=1e-6)
    assert soft.distillation_loss(logits, -logits, labels) > 0
    with pytest.raises(ValueError, match="temperature"):
        KnowledgeDistillation(mlp(), mlp(), temperature=0)


@pytest.mark.parametrize("temperature", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_loss_is_the_formula(temperature, alpha):
    student, teacher = RNG.standard_normal((2, 6, 4))
    distillation = KnowledgeDistillation(mlp(), mlp(), temperature, alpha)
    log_p, log_q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    soft = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean() * temperature**2
    hard = -log_softmax(student)[np.arange(6), LABELS].mean()
    loss = distillation.loss(Tensor(student), teacher, LABELS)
    assert loss.shape == () and loss.item() == pytest.approx(
        alpha * soft + (1 - alpha) * hard, rel=1e-5, abs=3e-7 * temperature**2
    )
    assert distillation.distillation_loss(student, Tensor(teacher), LABELS) == pytest.approx(loss.item())


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_gradient(shape):
    teacher = RNG.standard_normal(shape)
    labels = LABELS.reshape(shape[:-1])
    student = Tensor(RNG.standard_normal(shape), requires_grad=True, dtype=np.float64)
    distillation = KnowledgeDistillation(mlp(), mlp(), 2.5, 0.6)
    assert gradcheck(lambda s: distillation.loss(s, teacher, labels), [student])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_against_pytorch(temperature):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    student, teacher = RNG.standard_normal((2, 6, 4)).astype(np.float32)
    theirs = torch.from_numpy(student.copy()).requires_grad_()
    soft = F.kl_div(
        F.log_softmax(theirs / temperature, -1), F.softmax(torch.from_numpy(teacher) / temperature, -1),
        reduction="batchmean",
    )  # fmt: skip
    expected = 0.7 * temperature**2 * soft + 0.3 * F.cross_entropy(theirs, torch.from_numpy(LABELS))
    expected.backward()
    ours = Tensor(student, requires_grad=True)
    loss = KnowledgeDistillation(mlp(), mlp(), temperature, 0.7).loss(ours, teacher, LABELS)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_a_student_learns_from_its_teacher_alone():
    teacher = mlp()
    np.random.seed(5)
    student = Sequential(Linear(40, 8), ReLU(), Linear(8, 10))
    x = RNG.standard_normal((256, 40))
    wrong = Tensor(np.zeros(256, int))  # labels that say nothing: alpha is 1
    distillation = KnowledgeDistillation(teacher, student, alpha=1.0)
    trainer = distillation.trainer(Adam(student.parameters(), lr=0.01), progress=False)
    before = [p.data.copy() for p in teacher.parameters()]
    history = trainer.fit(DataLoader(TensorDataset(Tensor(x), wrong), 32, shuffle=True, seed=0), 20)
    assert history["train_loss"][-1] < 0.5 * history["train_loss"][0]
    agree = (student(Tensor(x)).data.argmax(1) == teacher(Tensor(x)).data.argmax(1)).mean()
    assert agree > 0.6
    for p, old in zip(teacher.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)
        assert p.grad is None
    assert not teacher.training


def test_sequences_are_distilled_position_by_position():
    teacher = gpt()
    student = copy.deepcopy(teacher)
    tokens = Tensor(RNG.integers(0, 20, (3, 7)))
    distillation = KnowledgeDistillation(teacher, student, alpha=1.0)
    loss = distillation.loss(student(tokens), teacher(tokens), tokens)
    assert loss.item() == pytest.approx(0, abs=1e-5)
