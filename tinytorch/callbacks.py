"""What to do while a `Trainer` works: stop early, keep checkpoints, or what a callback of yours does."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["Callback", "EarlyStopping", "SaveCheckpoint"]


class Callback:
    """Base class: override what is of interest. Each is given the trainer, whose attributes it may change.

    Setting ``trainer.stop`` to a reason (a string) ends `Trainer.fit` after the epoch.
    """

    def on_fit_start(self, trainer: Any) -> None:
        """Before the first epoch of a `fit`."""

    def on_step_end(self, trainer: Any, loss: float) -> None:
        """After each batch, given its mean loss."""

    def on_epoch_end(self, trainer: Any) -> None:
        """After each epoch and its evaluation: the last entries of ``trainer.history`` are its results."""

    def on_fit_end(self, trainer: Any) -> None:
        """After the last epoch of a `fit`, also when it was interrupted."""


class EarlyStopping(Callback):
    """Stop when a loss has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Epochs without improvement to wait for one.
    min_delta : float
        What counts as an improvement.
    monitor : str
        A list of ``trainer.history``: "eval_loss" or "train_loss".
    restore_best : bool
        Whether to give the model its weights of the best epoch back at the end.

    Attributes
    ----------
    best : float
        The best loss so far.
    best_epoch : int
        When it was, counted from 1.
    """

    def __init__(
        self,
        patience: int = 3,
        min_delta: float = 0.0,
        monitor: str = "eval_loss",
        restore_best: bool = True,
    ) -> None:
        if patience < 1 or min_delta < 0:
            raise ValueError(
                f"EarlyStopping: patience must be at least 1 and min_delta not negative, got {patience} and "
                f"{min_delta}"
            )
        self.patience, self.min_delta = patience, min_delta
        self.monitor, self.restore_best = monitor, restore_best
        self.best, self.best_epoch = float("inf"), 0
        self._weights: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Any) -> None:
        """Refuse to monitor what is never measured."""
        _check_monitored("EarlyStopping", self.monitor, trainer.history)

    def on_epoch_end(self, trainer: Any) -> None:
        """Compare the last loss with the best."""
        if not trainer.history[self.monitor]:
            raise ValueError(
                f"EarlyStopping: {self.monitor} is never measured; pass an eval_loader to fit, or monitor "
                "'train_loss'"
            )
        loss = trainer.history[self.monitor][-1]
        if loss < self.best - self.min_delta:
            self.best, self.best_epoch = loss, trainer.epoch
            self._weights = trainer.model.state_dict() if self.restore_best else None
        elif trainer.epoch - self.best_epoch >= self.patience:
            trainer.stop = (
                f"no better {self.monitor} than epoch {self.best_epoch}'s for {self.patience} epochs"
            )

    def on_fit_end(self, trainer: Any) -> None:
        """Give the model its best weights back."""
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)


class SaveCheckpoint(Callback):
    """Save the trainer to one file, each time replacing it whole.

    Parameters
    ----------
    path : path
    every : int
        Epochs from one to the next.
    best : str, optional
        A list of ``trainer.history``: save only when its last entry is the lowest so far.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1, best: str | None = None) -> None:
        if every < 1:
            raise ValueError(f"SaveCheckpoint: every must be at least 1, got {every}")
        self.path, self.every, self.best = path, every, best

    def on_fit_start(self, trainer: Any) -> None:
        """Refuse to compare what is never measured."""
        if self.best is not None:
            _check_monitored("SaveCheckpoint", self.best, trainer.history)

    def on_epoch_end(self, trainer: Any) -> None:
        """Save, if it is time."""
        if trainer.epoch % self.every == 0 and (
            self.best is None or self._is_best(trainer.history[self.best])
        ):
            trainer.save_checkpoint(self.path)

    @staticmethod
    def _is_best(losses: list[float]) -> bool:
        return bool(losses) and losses[-1] <= min(losses)


def _check_monitored(name: str, monitored: str, history: dict[str, list[float]]) -> None:
    if monitored not in history:
        raise ValueError(f"{name}: there is no {monitored!r}; the history has {', '.join(history)}")
