"""Losses: values against formulas, gradients against differences, and targets that must not pass silently."""

import numpy as np
import pytest

from tinytorch.autograd import gradcheck
from tinytorch.losses import (
    BCEWithLogitsLoss,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    log_softmax,
)
from tinytorch.tensor import Tensor, from_numpy

rng = np.random.default_rng(0)
LOGITS = rng.normal(0, 2, (5, 4))
LABELS = np.array([0, 3, 1, 1, 2])


def double(array, requires_grad=True):
    return Tensor(array, requires_grad=requires_grad, dtype=np.float64)


class TestMSE:
    @pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
    def test_gradients_of_both_sides(self, shape):
        prediction, target = double(rng.normal(size=shape)), double(rng.normal(size=shape))
        assert gradcheck(MSELoss(), [prediction, target])
        assert np.isclose(MSELoss()(prediction, target).item(), ((prediction.data - target.data) ** 2).mean())

    def test_result_is_a_scalar(self):
        assert MSELoss()(Tensor([1.0, 2.0]), Tensor([1.0, 0.0])).shape == ()

    def test_column_against_row_is_an_error(self):
        with pytest.raises(ValueError, match=r"reshape\(4, 1\)"):
            MSELoss()(Tensor(np.zeros((4, 1))), Tensor(np.zeros(4)))

    def test_integer_targets(self):
        assert MSELoss()(Tensor([1.0]), Tensor(np.array([3]))).item() == 4

    def test_nothing_to_average(self):
        with pytest.raises(ValueError, match="no elements"):
            MSELoss()(Tensor([]), Tensor([]))


class TestL1AndHuber:
    @pytest.mark.parametrize(
        ("loss", "formula"),
        [
            (L1Loss(), np.abs),
            (HuberLoss(), lambda d: np.where(abs(d) <= 1, d * d / 2, abs(d) - 0.5)),
            (HuberLoss(0.3), lambda d: np.where(abs(d) <= 0.3, d * d / 2, 0.3 * (abs(d) - 0.15))),
        ],
    )
    def test_value_and_gradients(self, loss, formula):
        prediction, target = double(rng.normal(size=(3, 4))), double(rng.normal(size=(3, 4)))
        assert gradcheck(loss, [prediction, target])
        expected = formula(prediction.data - target.data).mean()
        assert np.isclose(loss(prediction, target).item(), expected)

    def test_misuse(self):
        for delta in (0, -1, np.nan, np.inf):
            with pytest.raises(ValueError, match="HuberLoss: delta must be positive"):
                HuberLoss(delta)(Tensor([1.0]), [2.0])
        with pytest.raises(ValueError, match=r"L1Loss.*one shape"):
            L1Loss()(Tensor(np.zeros((4, 1))), np.zeros(4))


class TestBCEWithLogits:
    def test_gradients_and_value(self):
        loss, plain = BCEWithLogitsLoss(), BinaryCrossEntropyLoss()
        logits, target = rng.normal(size=(3, 2)), rng.uniform(0.2, 0.8, (3, 2))
        assert gradcheck(loss, [double(logits), double(target)])
        expected = plain(Tensor(1 / (1 + np.exp(-logits))), Tensor(target)).item()
        assert np.isclose(loss(Tensor(logits), Tensor(target)).item(), expected, rtol=1e-6)

    def test_far_logits_keep_their_cost_and_gradient(self):
        logits = Tensor([-200.0, 200.0], requires_grad=True)
        loss = BCEWithLogitsLoss()(logits, [1.0, 0.0])
        loss.backward()
        assert loss.item() == 200 and logits.grad.tolist() == [-0.5, 0.5]

    def test_misuse(self):
        with pytest.raises(ValueError, match=r"BCEWithLogitsLoss: target must lie in \[0, 1\], found 2"):
            BCEWithLogitsLoss()(Tensor([0.5]), [2.0])
        with pytest.raises(ValueError, match="found nan"):
            BCEWithLogitsLoss()(Tensor([0.5]), [np.nan])


class TestBinaryCrossEntropy:
    def test_gradients_and_value(self):
        p, t = rng.uniform(0.1, 0.9, (3, 2)), rng.integers(0, 2, (3, 2)).astype(float)
        loss = BinaryCrossEntropyLoss()
        assert gradcheck(loss, [double(p), double(t, requires_grad=False)])
        assert gradcheck(loss, [double(p), double(rng.uniform(0.2, 0.8, (3, 2)))])
        expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
        assert np.isclose(loss(Tensor(p), Tensor(t)).item(), expected, rtol=1e-6)

    def test_certainty_is_finite(self):
        p = Tensor([0.0, 1.0], requires_grad=True)
        loss = BinaryCrossEntropyLoss()(p, Tensor([1.0, 0.0]))
        loss.backward()
        assert np.isfinite(loss.item()) and np.isfinite(p.grad).all() and p.grad[0] < 0 < p.grad[1]

    def test_misuse(self):
        loss = BinaryCrossEntropyLoss()
        with pytest.raises(ValueError, match="apply a Sigmoid"):
            loss(Tensor([1.5]), Tensor([1.0]))
        with pytest.raises(ValueError, match="target must lie in"):
            loss(Tensor([0.5]), Tensor([2.0]))
        with pytest.raises(ValueError, match="one shape"):
            loss(Tensor(np.full((4, 1), 0.5)), Tensor(np.zeros(4)))


class TestCrossEntropy:
    @pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"ignore_index": 1}])
    def test_gradients(self, options):
        assert gradcheck(lambda x: CrossEntropyLoss(**options)(x, Tensor(LABELS)), [double(LOGITS)])

    def test_value(self):
        log_p = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
        picked = log_p[np.arange(5), LABELS]
        assert np.isclose(
            CrossEntropyLoss()(Tensor(LOGITS), Tensor(LABELS)).item(), -picked.mean(), rtol=1e-6
        )
        smooth = -(0.9 * picked + 0.1 * log_p.mean(axis=1)).mean()
        loss = CrossEntropyLoss(label_smoothing=0.1)(Tensor(LOGITS), LABELS)
        assert np.isclose(loss.item(), smooth, rtol=1e-6)
        kept = CrossEntropyLoss(ignore_index=1)(Tensor(LOGITS), LABELS)
        assert np.isclose(kept.item(), -picked[LABELS != 1].mean(), rtol=1e-6)

    def test_float32_gradient(self):
        x = Tensor(LOGITS, requires_grad=True)
        CrossEntropyLoss()(x, Tensor(LABELS)).backward()
        p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(x.grad, (p - np.eye(4)[LABELS]) / 5, atol=1e-6)

    @pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
    def test_probabilities(self, label_smoothing):
        loss = CrossEntropyLoss(label_smoothing=label_smoothing)
        probabilities = rng.dirichlet(np.ones(4), size=5)
        assert gradcheck(lambda x: loss(x, double(probabilities, requires_grad=False)), [double(LOGITS)])
        log_p = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
        smooth = (1 - label_smoothing) * probabilities + label_smoothing / 4
        expected = -(smooth * log_p).sum(axis=1).mean()
        assert np.isclose(loss(Tensor(LOGITS), probabilities).item(), expected, rtol=1e-6)

    def test_one_hot_rows_are_their_classes(self):
        one_hot = CrossEntropyLoss()(Tensor(LOGITS), np.eye(4)[LABELS])
        assert np.isclose(one_hot.item(), CrossEntropyLoss()(Tensor(LOGITS), LABELS).item(), rtol=1e-6)

    def test_huge_logits(self):
        assert CrossEntropyLoss()(Tensor([[1e4, -1e4]]), [1]).item() == 2e4

    def test_whole_floats_are_labels(self):
        assert CrossEntropyLoss()(Tensor(LOGITS), Tensor(LABELS.astype(np.float32))).item() > 0

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ([0, 1, -1, 0, 0], "label -1 in row 2 is not a class"),
            ([0, 1, 4, 0, 0], r"label 4 in row 2.*0 … 3"),
            ([0, 1, 0.5, 0, 0], "whole numbers, but found 0.5"),
            ([0, 1, np.nan, 0, 0], "whole numbers"),
            ([0, 1], r"\(5, 4\) and \(2,\)"),
            (np.eye(4, dtype=int)[LABELS], "argmax"),
            (np.full((5, 4), 0.3), "row 0 add up to 1.2, not to 1"),
            (np.array([[-0.5, 0.5, 0.5, 0.5]] * 5), r"must lie in \[0, 1\], found -0.5"),
            ([-100] * 5, "every row is ignored"),
        ],
    )
    def test_wrong_targets(self, target, message):
        with pytest.raises(ValueError, match=message):
            CrossEntropyLoss()(Tensor(LOGITS), Tensor(np.asarray(target)))

    def test_labels_may_lie_anywhere_in_memory(self):
        memory = np.zeros(LABELS.size * 8 + 1, np.uint8)
        labels = memory[1:].view(np.int64)
        labels[:] = LABELS
        loss, logits = CrossEntropyLoss(), Tensor(LOGITS)
        assert loss(logits, from_numpy(labels)).item() == loss(logits, LABELS).item()

    def test_wrong_logits(self):
        with pytest.raises(ValueError, match="reshape logits"):
            CrossEntropyLoss()(Tensor(np.zeros((2, 3, 4))), Tensor(np.zeros((2, 3))))
        with pytest.raises(ValueError, match="label_smoothing"):
            CrossEntropyLoss(label_smoothing=1.0)(Tensor(LOGITS), LABELS)


def test_log_softmax_is_differentiable():
    assert gradcheck(lambda x: log_softmax(x, dim=0), [double(LOGITS)])
