"""Pruning while training goes on: schedules say how sparse a model is to be at each step.

Cutting a little, training on and cutting again costs less accuracy than cutting all at once, since what is
left can make up for each loss before the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..callbacks import Callback
from .masks import MaskedOptimizer, Masks, check_sparsity, prune

__all__ = ["CubicSparsity", "IterativeSparsity", "PruneGradually", "SparsitySchedule"]


class SparsitySchedule(Protocol):
    """How sparse a model is to be after `step` optimizer steps: it never falls."""

    def get_sparsity(self, step: int) -> float: ...


@dataclass(frozen=True)
class CubicSparsity:
    """Fast at first, while much is redundant, and slower and slower towards the end.

    s(t) = final + (initial - final) (1 - (t - begin) / (end - begin))³, in steps of `every`.

    Source: Zhu and Gupta, "To Prune, or Not to Prune", 2017.

    Parameters
    ----------
    final : float
        The sparsity at `end` and afterwards.
    end : int
        The optimizer step at which it is reached; leave some training after it.
    begin : int
        The step before which nothing goes.
    every : int
        Steps from one cut to the next.
    initial : float
        The sparsity at `begin`.
    """

    final: float
    end: int
    begin: int = 0
    every: int = 100
    initial: float = 0.0

    def __post_init__(self) -> None:
        for sparsity in (self.final, self.initial):
            check_sparsity("CubicSparsity", sparsity)
        if self.initial > self.final:
            raise ValueError(
                f"CubicSparsity: it rises from initial={self.initial:g} to final={self.final:g}, which must "
                "not be less: what is gone does not come back"
            )
        if not 0 <= self.begin < self.end or self.every < 1:
            raise ValueError(
                f"CubicSparsity: needs 0 ≤ begin < end and every ≥ 1, counted in optimizer steps, got "
                f"begin={self.begin}, end={self.end}, every={self.every}"
            )

    def get_sparsity(self, step: int) -> float:
        """The sparsity after `step` steps, as of the last cut."""
        if step < self.begin:
            return 0.0
        if step >= self.end:
            return self.final
        cut = self.begin + (step - self.begin) // self.every * self.every
        left = 1 - (cut - self.begin) / (self.end - self.begin)
        return self.final + (self.initial - self.final) * left**3


@dataclass(frozen=True)
class IterativeSparsity:
    """Cut the same share of what is left, some times over: after round r, 1 - (1 - final)^(r / rounds).

    With one round it is one-shot pruning with fine-tuning. Source: Han et al. 2015.

    Parameters
    ----------
    final : float
        The sparsity after the last round.
    rounds : int
    every : int
        Optimizer steps from one round to the next.
    begin : int
        The step of the first round.
    """

    final: float
    rounds: int = 1
    every: int = 100
    begin: int = 0

    def __post_init__(self) -> None:
        check_sparsity("IterativeSparsity", self.final)
        if self.rounds < 1 or self.every < 1 or self.begin < 0:
            raise ValueError(
                "IterativeSparsity: needs at least one round, every ≥ 1 and begin ≥ 0, counted in optimizer "
                f"steps, got rounds={self.rounds}, every={self.every}, begin={self.begin}"
            )

    def get_sparsity(self, step: int) -> float:
        """The sparsity after `step` steps."""
        if step < self.begin:
            return 0.0
        done = min((step - self.begin) // self.every + 1, self.rounds)
        return 1 - (1 - self.final) ** (done / self.rounds)


class PruneGradually(Callback):
    """Prune the model of a `Trainer` as a schedule says, and hold the zeros.

    Weights that are zero are the smallest, so each cut keeps those of the cuts before.

    Parameters
    ----------
    schedule : SparsitySchedule
    block, scope
        As in `prune`.

    Attributes
    ----------
    masks : Masks or None
        Those of the last cut.
    history : list of (step, sparsity)
        Every cut.
    """

    def __init__(self, schedule: SparsitySchedule, *, block: int = 1, scope: str = "adaptive") -> None:
        if not hasattr(schedule, "get_sparsity"):
            raise TypeError(
                f"PruneGradually: expected a schedule with get_sparsity(step), such as CubicSparsity(0.9, "
                f"end=1000), got {schedule!r}. To prune at once and train on, IterativeSparsity(0.9)"
            )
        self.schedule, self.block, self.scope = schedule, block, scope
        self.masks: Masks | None = None
        self.history: list[tuple[int, float]] = []

    def on_fit_start(self, trainer: Any) -> None:
        """Hold the zeros from now on, those of an earlier `fit` as well."""
        if self.masks is not None:
            trainer.optimizer = self.masks.wrap(trainer.optimizer)
        self._cut_if_due(trainer)

    def on_step_end(self, trainer: Any, loss: float) -> None:
        """Cut, if it is time."""
        self._cut_if_due(trainer)

    def on_fit_end(self, trainer: Any) -> None:
        """Give the trainer its own optimizer back."""
        trainer.optimizer = _unwrapped(trainer.optimizer)

    def _cut_if_due(self, trainer: Any) -> None:
        sparsity = self.schedule.get_sparsity(trainer.step)
        if sparsity <= (self.history[-1][1] if self.history else 0.0):
            return
        self.masks = prune(trainer.model, sparsity, block=self.block, scope=self.scope)
        self.history.append((trainer.step, sparsity))
        trainer.optimizer = self.masks.wrap(_unwrapped(trainer.optimizer))


def _unwrapped(optimizer: Any) -> Any:
    return optimizer._optimizer if isinstance(optimizer, MaskedOptimizer) else optimizer
