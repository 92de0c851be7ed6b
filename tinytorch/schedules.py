"""The learning rate over time: ``get_lr(n)`` gives that of epoch or step n, counted from 0."""

from __future__ import annotations

import math
from typing import Any

from ._arrays import is_number

__all__ = ["CosineSchedule", "OneCycleSchedule", "StepSchedule", "WarmupSchedule"]


class CosineSchedule:
    """A learning rate that falls along half a cosine. Source: Loshchilov and Hutter 2017."""

    def __init__(self, max_lr: float = 0.1, min_lr: float = 0.01, total_epochs: int = 100) -> None:
        numbers = is_number(min_lr) and is_number(max_lr)
        if not numbers or not 0 <= min_lr <= max_lr < math.inf:
            raise ValueError(f"CosineSchedule: needs 0 ≤ min_lr ≤ max_lr, got {min_lr!r} and {max_lr!r}")
        _check_count("CosineSchedule: total_epochs", total_epochs)
        self.max_lr, self.min_lr, self.total_epochs = max_lr, min_lr, total_epochs

    def get_lr(self, epoch: int) -> float:
        """The learning rate of an epoch; `min_lr` from `total_epochs` on."""
        return _cosine(self.max_lr, self.min_lr, min(epoch / self.total_epochs, 1.0))


class StepSchedule:
    """A learning rate that is multiplied by `gamma` every `step_size` epochs."""

    def __init__(self, lr: float = 0.1, step_size: int = 30, gamma: float = 0.1) -> None:
        _check_rate("StepSchedule: lr", lr)
        _check_rate("StepSchedule: gamma", gamma)
        _check_count("StepSchedule: step_size", step_size)
        self.lr, self.step_size, self.gamma = lr, step_size, gamma

    def get_lr(self, epoch: int) -> float:
        """The learning rate of an epoch."""
        return self.lr * self.gamma ** (epoch // self.step_size)


class WarmupSchedule:
    """A learning rate that rises in a straight line, and then follows another schedule from its beginning.

    Source: Goyal et al. 2017, *Accurate, Large Minibatch SGD*.

    Parameters
    ----------
    after : schedule, or float
        What follows: anything with ``get_lr``, or a constant.
    warmup : int
        Epochs or steps until it is reached; the first has 1/(warmup + 1) of it.
    """

    def __init__(self, after: Any, warmup: int) -> None:
        _check_count("WarmupSchedule: warmup", warmup)
        if not hasattr(after, "get_lr"):
            _check_rate("WarmupSchedule: after", after)
        self.after, self.warmup = after, warmup

    def get_lr(self, epoch: int) -> float:
        """The learning rate of an epoch."""
        later = max(epoch - self.warmup, 0)
        lr = self.after.get_lr(later) if hasattr(self.after, "get_lr") else self.after
        return lr * min((epoch + 1) / (self.warmup + 1), 1.0)


class OneCycleSchedule:
    """A learning rate that rises along half a cosine and falls along another, to far below where it began.

    Meant for ``Trainer(…, schedule_steps=True)``. Source: Smith and Topin 2018, in PyTorch's form.

    Parameters
    ----------
    max_lr : float
        The peak.
    total_steps : int
        Steps of the whole training.
    rise : float
        Share of the steps until the peak, between 0 and 1.
    start_factor, end_factor : float
        The peak over the first learning rate, and the first over the last.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int,
        rise: float = 0.3,
        start_factor: float = 25.0,
        end_factor: float = 1e4,
    ) -> None:
        _check_rate("OneCycleSchedule: max_lr", max_lr)
        _check_count("OneCycleSchedule: total_steps", total_steps)
        if not 0 < rise < 1:
            raise ValueError(f"OneCycleSchedule: rise must lie between 0 and 1, got {rise}")
        if not (start_factor >= 1 and end_factor >= 1):
            raise ValueError(
                f"OneCycleSchedule: both factors must be at least 1, got {start_factor} and {end_factor}"
            )
        self.max_lr, self.total_steps, self.rise = max_lr, total_steps, rise
        self.start_factor, self.end_factor = start_factor, end_factor

    def get_lr(self, step: int) -> float:
        """The learning rate of a step; that of the last one for all that follow."""
        first = self.max_lr / self.start_factor
        last_step = self.total_steps - 1
        peak = self.rise * self.total_steps - 1
        step = min(step, last_step)
        if step <= peak:
            return _cosine(first, self.max_lr, step / peak if peak else 1.0)
        return _cosine(self.max_lr, first / self.end_factor, (step - peak) / (last_step - peak))


def _cosine(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _check_rate(what: str, value: Any) -> None:
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{what} must be a positive, finite number, got {value!r}")


def _check_count(what: str, value: Any) -> None:
    if not is_number(value) or value != int(value) or value <= 0:
        raise ValueError(f"{what} must be positive and whole, got {value!r}")
