"""Training: the loop over batches and epochs, with schedules, callbacks and checkpoints."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ._arrays import is_number
from .autograd.engine import no_grad
from .callbacks import Callback, EarlyStopping, SaveCheckpoint
from .checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from .optimizers import Optimizer
from .schedules import CosineSchedule, OneCycleSchedule, StepSchedule, WarmupSchedule
from .tensor import Tensor

__all__ = [
    "Callback",
    "CheckpointError",
    "CosineSchedule",
    "EarlyStopping",
    "OneCycleSchedule",
    "SaveCheckpoint",
    "StepSchedule",
    "Trainer",
    "WarmupSchedule",
    "clip_grad_norm",
    "clip_grad_value",
    "manual_seed",
]

# Set where nobody watches a progress bar: by the reader, and by nbgrader when it runs a notebook.
UNWATCHED = ("TINYTORCH_QUIET", "NBGRADER_EXECUTION")


def manual_seed(seed: int) -> None:
    """Seed Python's and NumPy's global generators, from which weights, dropout and shuffles are drawn."""
    random.seed(seed)
    np.random.seed(seed)


def clip_grad_norm(parameters: Tensor | Iterable[Tensor], max_norm: float = 1.0) -> float:
    """Scale all gradients down together so that their common L2 norm is at most `max_norm`.

    Source: Pascanu, Mikolov and Bengio 2013.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ValueError
        If the norm is not finite: no scale makes such gradients useful.
    """
    if not is_number(max_norm) or not max_norm > 0:
        raise ValueError(f"clip_grad_norm: max_norm must be positive, got {max_norm!r}")
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    grads = [np.asarray(p.grad.data if isinstance(p.grad, Tensor) else p.grad) for p in parameters]
    norm = math.sqrt(sum(float(np.square(grad, dtype=np.float64).sum()) for grad in grads))
    if not math.isfinite(norm):
        raise ValueError(
            f"clip_grad_norm: the gradient norm is {norm}; lower the learning rate or check the inputs"
        )
    if norm > max_norm:
        scale = max_norm / (norm + 1e-6)  # PyTorch's margin against rounding up
        for parameter, grad in zip(parameters, grads, strict=True):
            if grad is parameter.grad and grad.flags.writeable:
                grad *= scale
            else:
                parameter.grad = grad * grad.dtype.type(scale)
    return norm


def clip_grad_value(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit each element of all gradients to [-clip_value, clip_value]."""
    if not clip_value > 0:
        raise ValueError(f"clip_grad_value: clip_value must be positive, got {clip_value}")
    for parameter in [parameters] if isinstance(parameters, Tensor) else parameters:
        if parameter.grad is not None:
            grad = parameter.grad.data if isinstance(parameter.grad, Tensor) else parameter.grad
            parameter.grad = np.clip(grad, -clip_value, clip_value)


class Trainer:
    """Train a model on batches of (inputs, targets).

    Parameters
    ----------
    model
        Has `forward(inputs)` and `parameters()`.
    optimizer : Optimizer
    loss_fn : callable
        Takes outputs and targets; returns their mean loss as a scalar tensor.
    scheduler, optional
        Has `get_lr(n)`; sets the learning rate of each epoch, or of each step.
    grad_clip_norm : float, optional
        Limit for the norm of the gradients; see `clip_grad_norm`.
    progress : bool
        Whether to show a progress bar. None is shown where nobody watches: in cells that nbgrader runs, or
        with ``TINYTORCH_QUIET`` in the environment.
    callbacks : sequence of Callback
        What else to do; see `tinytorch.callbacks`.
    schedule_steps : bool
        Whether to ask the scheduler at every step rather than at every epoch.

    Attributes
    ----------
    epoch, step : int
        Finished epochs, and optimizer steps.
    stop : str or None
        Set by a callback, why `fit` is to end after this epoch.
    history : dict
        Lists `train_loss`, `eval_loss` and `learning_rates`.
    training_mode : bool
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        loss_fn: Any,
        scheduler: Any = None,
        grad_clip_norm: float | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        schedule_steps: bool = False,
    ) -> None:
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.scheduler, self.grad_clip_norm = scheduler, grad_clip_norm
        self.progress = progress and not any(os.environ.get(name) for name in UNWATCHED)
        self.callbacks, self.schedule_steps = list(callbacks), schedule_steps
        self.stop: str | None = None
        self.epoch = self.step = 0
        self.training_mode = True
        self.history: dict[str, list[float]] = {"train_loss": [], "eval_loss": [], "learning_rates": []}

    def fit(self, loader: Any, epochs: int, eval_loader: Any = None, accumulation_steps: int = 1) -> dict:
        """Train for some epochs, evaluating after each if there is an `eval_loader`; returns the history."""
        self.stop = None
        for callback in self.callbacks:
            callback.on_fit_start(self)
        try:
            for _ in range(epochs):
                self.train_epoch(loader, accumulation_steps)
                if eval_loader is not None:
                    self.evaluate(eval_loader)
                for callback in self.callbacks:
                    callback.on_epoch_end(self)
                if self.stop is not None:
                    break
        finally:
            for callback in self.callbacks:
                callback.on_fit_end(self)
        return self.history

    def train_epoch(self, loader: Any, accumulation_steps: int = 1) -> float:
        """Go through the loader once.

        Parameters
        ----------
        loader : iterable of (inputs, targets)
        accumulation_steps : int
            Batches for each optimizer step. Their gradients are averaged over all samples, so that k batches
            of n samples act like one of k·n, and an incomplete last group counts for what it holds.

        Returns
        -------
        float
            The mean loss over all samples.
        """
        if accumulation_steps < 1:
            raise ValueError(f"train_epoch: accumulation_steps must be at least 1, got {accumulation_steps}")
        self._set_mode(training=True)
        if self.scheduler is not None and not self.schedule_steps:
            self.optimizer.lr = self.scheduler.get_lr(self.epoch)
        if hasattr(loader, "epoch"):
            loader.epoch = self.epoch  # so that a resumed run sees the orders of the epochs to come
        self.optimizer.zero_grad()
        total, samples, waiting = 0.0, 0, 0
        batches = self._progress(loader, f"epoch {self.epoch + 1}")
        for number, batch in enumerate(batches, 1):
            inputs, targets = _pair(batch)
            loss = self._loss(inputs, targets)
            value = _finite(loss, number)
            total += value * len(inputs)
            samples += len(inputs)
            weight = len(inputs) if accumulation_steps > 1 else 1
            loss.backward(np.full(loss.shape, weight))
            waiting += weight
            if number % accumulation_steps == 0:
                self._step(waiting)
                waiting = 0
            if self.progress:
                batches.set_postfix(loss=f"{total / samples:.4f}")
            for callback in self.callbacks:
                callback.on_step_end(self, value)
        if waiting:
            self._step(waiting)
        if samples == 0:
            raise ValueError("train_epoch: the loader gave no batches")
        self.epoch += 1
        self.history["train_loss"].append(total / samples)
        self.history["learning_rates"].append(self.optimizer.lr)
        return total / samples

    def _step(self, weight: int) -> None:
        """One optimizer step with gradients that were multiplied by a total of `weight`."""
        parameters = [parameter for parameter in self.optimizer.params if parameter.grad is not None]
        if weight > 1:
            for parameter in parameters:
                parameter.grad *= 1 / weight
        if self.grad_clip_norm is not None:
            clip_grad_norm(parameters, self.grad_clip_norm)
        if self.scheduler is not None and self.schedule_steps:
            self.optimizer.lr = self.scheduler.get_lr(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    @no_grad()
    def evaluate(self, loader: Any) -> tuple[float, float]:
        """Mean loss and accuracy over a loader, without training; the model's mode is restored afterwards.

        Accuracy is the share of samples whose class is right: the largest of several outputs, or one output
        above 0.5. It is NaN where targets are not classes.
        """
        before = self.training_mode
        self._set_mode(training=False)
        total, right, samples = 0.0, 0.0, 0
        try:
            for number, batch in enumerate(self._progress(loader, "evaluate"), 1):
                inputs, targets = _pair(batch)
                outputs = self._run(inputs)
                total += _finite(self.loss_fn(outputs, targets), number) * len(inputs)
                right += _right_answers(outputs.data, targets.data)
                samples += len(inputs)
        finally:
            self._set_mode(training=before)
        if samples == 0:
            raise ValueError("evaluate: the loader gave no batches")
        self.history["eval_loss"].append(total / samples)
        return total / samples, right / samples

    def _loss(self, inputs: Any, targets: Any) -> Tensor:
        """What a batch is trained on."""
        return self.loss_fn(self._run(inputs), targets)

    def _run(self, inputs: Any) -> Any:
        """The model's outputs; called, it runs its hooks, but a model need only have `forward`."""
        return self.model(inputs) if callable(self.model) else self.model.forward(inputs)

    def _set_mode(self, training: bool) -> None:
        self.training_mode = training
        if hasattr(self.model, "train"):
            self.model.train(training)
        self.model.training = training

    def _progress(self, loader: Any, label: str) -> Any:
        if not self.progress:
            return loader
        from tqdm.auto import tqdm  # type: ignore[import-untyped]

        return tqdm(loader, desc=label, unit="batch", leave=False)

    # --- checkpoints ------------------------------------------------------------------------------

    def save_checkpoint(self, path: str | os.PathLike) -> None:
        """Save all that is needed to go on: model, optimizer, schedule, history, counts and random state."""
        optimizer = self.optimizer.state_dict()
        buffers = optimizer.pop("buffers")
        _, keys, *numpy_state = np.random.get_state()
        metadata = {
            "epoch": self.epoch,
            "step": self.step,
            "training_mode": self.training_mode,
            "history": self.history,
            "optimizer": optimizer,
            "scheduler": None if self.scheduler is None else _describe(self.scheduler),
            "random": {"python": random.getstate(), "numpy": numpy_state},
        }
        arrays = {f"model/{name}": array for name, array in _model_state(self.model).items()}
        arrays["random/numpy"] = np.asarray(keys)
        for name, values in buffers.items():
            arrays.update(
                {f"optimizer/{name}/{i}": array for i, array in enumerate(values) if array is not None}
            )
        write_checkpoint(path, metadata, arrays)

    def load_checkpoint(self, path: str | os.PathLike) -> None:
        """Go on from `save_checkpoint`. Everything is checked before anything is changed.

        Raises
        ------
        CheckpointError
            If the file is damaged, of another version, or belongs to another model or optimizer.
        """
        metadata, arrays = read_checkpoint(path)
        try:
            model = {name[6:]: array for name, array in arrays.items() if name.startswith("model/")}
            count = len(metadata["optimizer"]["steps"])
            optimizer = dict(metadata["optimizer"])
            optimizer["buffers"] = {
                name: [arrays.get(f"optimizer/{name}/{i}") for i in range(count)]
                for name in self.optimizer.buffers
            }
            self.optimizer.check_state_dict(optimizer)
            _check_scheduler(self.scheduler, metadata["scheduler"])
            version, internal, gauss = metadata["random"]["python"]
            numpy_state = ("MT19937", arrays["random/numpy"], *metadata["random"]["numpy"])
            _load_model(self.model, model)
        except (KeyError, ValueError, TypeError) as error:
            message = error.args[0] if error.args else error
            raise CheckpointError(f"{os.fspath(path)} does not fit this trainer: {message}") from None
        self.optimizer.load_state_dict(optimizer)
        if self.scheduler is not None:
            vars(self.scheduler).update(metadata["scheduler"]["settings"])
        self.epoch, self.step, self.history = metadata["epoch"], metadata["step"], metadata["history"]
        self._set_mode(metadata["training_mode"])
        random.setstate((version, tuple(internal), gauss))
        np.random.set_state(numpy_state)


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise ValueError(f"Trainer: a batch must be a pair (inputs, targets), got {type(batch).__name__}")
    return batch[0], batch[1]


def _finite(loss: Tensor, number: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss of batch {number} is {value}: "
            "the learning rate may be too high, or the inputs hold NaN or Inf"
        )
    return float(value)


def _right_answers(outputs: np.ndarray, targets: np.ndarray) -> float:
    """How many rows of `outputs` give the class in `targets`; NaN if `targets` are not classes."""
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        if targets.shape == outputs.shape:
            targets = targets.argmax(axis=1)
        if targets.shape == outputs.shape[:1]:
            return float((outputs.argmax(axis=1) == targets).sum())
    elif outputs.shape == targets.shape and np.isin(targets, (0, 1)).all():
        return float(((outputs > 0.5) == (targets > 0.5)).reshape(len(outputs), -1).all(axis=1).sum())
    return math.nan


def _model_state(model: Any) -> dict[str, np.ndarray]:
    if hasattr(model, "state_dict"):
        return model.state_dict()
    return {str(i): parameter.data for i, parameter in enumerate(model.parameters())}


def _load_model(model: Any, state: dict[str, np.ndarray]) -> None:
    if hasattr(model, "load_state_dict"):
        model.load_state_dict(state)
        return
    parameters = model.parameters()
    shapes = [parameter.shape for parameter in parameters]
    saved = [state[str(i)].shape for i in range(len(state))]
    if shapes != saved:
        raise ValueError(f"the model's parameters have shapes {shapes}, the saved ones {saved}")
    for i, parameter in enumerate(parameters):
        parameter.data = state[str(i)].astype(parameter.dtype)


def _describe(scheduler: Any) -> dict[str, Any]:
    settings = {
        k: v for k, v in vars(scheduler).items() if isinstance(v, (bool, int, float, str, type(None)))
    }
    return {"type": type(scheduler).__name__, "settings": settings}


def _check_scheduler(scheduler: Any, saved: dict[str, Any] | None) -> None:
    own, other = scheduler and type(scheduler).__name__, saved and saved["type"]
    if own != other:
        raise ValueError(f"it was saved with the scheduler {other}, this trainer has {own}")
