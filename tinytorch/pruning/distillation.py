"""Distillation: a small student learns what a large teacher says, not only what is right.

Method: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from .._arrays import is_number
from ..activations import log_softmax
from ..autograd.engine import no_grad
from ..losses import CrossEntropyLoss, cross_entropy
from ..tensor import Tensor, as_tensor, from_numpy
from ..training import Trainer

Array = np.ndarray


class KnowledgeDistillation:
    """Trains a small student on what a large teacher says as well as on the labels.

    loss = alpha · T² · KL(teacher ‖ student, both at temperature T) + (1 - alpha) · cross-entropy (labels)

    A high temperature lets the teacher's small probabilities show: that a 7 is a little like a 1, and not at
    all like an 8. Gradients of the first term shrink with T², hence the factor.

    Parameters
    ----------
    teacher_model, student_model
        Of the same classes. The teacher is not trained.
    temperature : float
        Above 0.
    alpha : float
        The teacher's share of the loss, from 0 to 1.
    """

    def __init__(
        self, teacher_model: Any, student_model: Any, temperature: float = 3.0, alpha: float = 0.7
    ) -> None:
        if not is_number(temperature) or not temperature > 0 or not is_number(alpha) or not 0 <= alpha <= 1:
            raise ValueError(
                f"KnowledgeDistillation: temperature {temperature} must be > 0, alpha {alpha} from 0 to 1"
            )
        if teacher_model is student_model:
            raise ValueError(
                "KnowledgeDistillation: teacher and student are the same model; the student should be a "
                "smaller one, or a pruned copy: copy.deepcopy(teacher)"
            )
        self.teacher_model, self.student_model = teacher_model, student_model
        self.temperature, self.alpha = temperature, alpha

    def loss(self, student_logits: Tensor, teacher_logits: Any, true_labels: Any) -> Tensor:
        """The loss of a batch, a scalar with a gradient for the student.

        Parameters
        ----------
        student_logits : Tensor (N, C), or (N, T, C) for sequences
        teacher_logits : Tensor or array of the same shape
        true_labels : class ids (N,), or (N, T)
        """
        student, labels = as_tensor(student_logits), _array(true_labels)
        teacher = _array(teacher_logits).astype(student.dtype, copy=False)
        if student.shape != teacher.shape:
            raise ValueError(
                "KnowledgeDistillation: student and teacher must give logits of one shape, a score for each "
                f"of the same classes.\n  student {student.shape}\n  teacher {teacher.shape}"
            )
        if labels.shape != student.shape[:-1]:
            raise ValueError(
                "KnowledgeDistillation: each row of logits needs one label.\n"
                f"  logits {student.shape}\n  labels {labels.shape}"
            )
        classes, temperature = student.shape[-1], self.temperature
        student, labels = student.reshape(-1, classes), labels.reshape(-1)
        log_p = kernels.log_softmax(teacher.reshape(-1, classes) / temperature)
        log_q = log_softmax(student / temperature)
        p = from_numpy(np.exp(log_p))
        divergence = (p * (from_numpy(log_p) - log_q)).sum() / len(labels)
        hard = cross_entropy(student, labels)
        return divergence * (self.alpha * temperature**2) + hard * (1 - self.alpha)

    def distillation_loss(self, student_logits: Any, teacher_logits: Any, true_labels: Any) -> np.floating:
        """The number that `loss` is, without a gradient."""
        with no_grad():
            return self.loss(as_tensor(_array(student_logits)), teacher_logits, true_labels).data[()]

    def trainer(self, optimizer: Any, loss_fn: Any = None, **options: Any) -> Trainer:
        """A `Trainer` of the student: fit it on the same batches as any other.

        Parameters
        ----------
        optimizer : Optimizer
            Of the student's parameters.
        loss_fn : callable, optional
            What `Trainer.evaluate` reports, without the teacher; cross-entropy unless given.
        **options
            Those of `Trainer`.
        """
        return _Distilling(self, optimizer, loss_fn or CrossEntropyLoss(), **options)


class _Distilling(Trainer):
    """A trainer that asks the teacher about each batch."""

    def __init__(self, distillation: KnowledgeDistillation, optimizer: Any, loss_fn: Any, **options: Any):
        super().__init__(distillation.student_model, optimizer, loss_fn, **options)
        self._distillation = distillation

    def _loss(self, inputs: Any, targets: Any) -> Tensor:
        teacher = self._distillation.teacher_model
        if hasattr(teacher, "eval"):
            teacher.eval()
        with no_grad():
            says = teacher(inputs)
        return self._distillation.loss(self._run(inputs), says, targets)


def _array(value: Any) -> Array:
    return value.data if isinstance(value, Tensor) else np.asarray(value)
