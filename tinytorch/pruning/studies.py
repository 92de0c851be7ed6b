"""What pruning costs, and where: each layer alone, and the lottery-ticket experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..replacing import copy_model
from .masks import Masks, check_sparsity, checked_layers, prune

Array = np.ndarray

# --- sensitivity --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sensitivity:
    """What a model scores with one layer pruned and all others whole; measured by `sensitivity`.

    Attributes
    ----------
    baseline : the score of the model as it is
    sparsities : ascending
    scores : for each layer, the score at each sparsity
    """

    baseline: float
    sparsities: tuple[float, ...]
    scores: dict[str, list[float]]

    def choose(self, loss: float) -> dict[str, float]:
        """For each layer the largest sparsity up to which it alone costs at most `loss`: for `prune`.

        Losses add up, so allow each layer less than the model may lose; fine-tuning wins some back.
        """
        chosen = {}
        for layer, scores in self.scores.items():
            fits = [score >= self.baseline - loss for score in scores]
            good = fits.index(False) if False in fits else len(fits)
            chosen[layer] = self.sparsities[good - 1] if good else 0.0
        return chosen

    def series(self) -> list[dict[str, Any]]:
        """A line for each layer, as `viz.lines` draws them: percent of the weights removed, score."""
        x = [100 * sparsity for sparsity in self.sparsities]
        return [{"name": layer, "x": x, "y": scores} for layer, scores in self.scores.items()]


def sensitivity(
    model: Any,
    score: Callable[[Any], float],
    sparsities: Sequence[float] = (0.5, 0.8, 0.9, 0.95, 0.98),
    *,
    block: int = 1,
) -> Sensitivity:
    """Prune one layer at a time and see what the model scores, without training on.

    Source: Han et al. 2015, figure 6. What bears little is often the first layer, and what bears much the
    largest.

    Parameters
    ----------
    model
        Stays as it is.
    score : callable
        Of a model, larger is better: accuracy on images that were not trained on, or minus a loss.
    """
    if not sparsities:
        raise ValueError("sensitivity: sparsities is empty; give the shares to try, e.g. (0.5, 0.9)")
    layers = checked_layers("sensitivity", model)
    shares = tuple(sorted(sparsities))

    def pruned_score(layer: str, sparsity: float) -> float:
        pruned = copy_model("sensitivity", model)
        prune(pruned, {layer: sparsity}, block=block)
        return float(score(pruned))

    baseline = float(score(model))
    scores = {layer: [pruned_score(layer, share) for share in shares] for layer in layers}
    return Sensitivity(baseline, shares, scores)


# --- lottery tickets ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ticket:
    """A sparse network that trains well from where it began.

    Attributes
    ----------
    masks : what is kept
    start : the state that it began from
    """

    masks: Masks
    start: dict[str, Array]

    def rewind(self, model: Any) -> Masks:
        """Give a model of this architecture the ticket's beginning: `start`, where it is kept, and zeros."""
        model.load_state_dict(self.start)
        return self.masks.onto(model)


def find_ticket(
    model: Any,
    train: Callable[[Any, Masks], Any],
    sparsity: float,
    *,
    rounds: int = 5,
    block: int = 1,
    scope: str = "adaptive",
) -> Ticket:
    """Train, prune the smallest, rewind what is left to where it began; some times over.

    Source: Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019. Beginning from a model that has trained
    for some steps already is their later "rewinding" (Frankle et al., "Linear Mode Connectivity and the
    Lottery Ticket Hypothesis", 2020), which larger networks need.

    Parameters
    ----------
    model
        As it begins. It ends as the ticket at its beginning, ready to be trained; for the comparison with
        another draw of the same sparse network, use ``ticket.masks.onto(another_model)``.
    train : callable
        ``train(model, masks)`` trains the model in place and holds its zeros, as with
        ``masks.wrap(optimizer)``.
    sparsity : float
        Of the ticket. Each round removes the same share of what is left.
    rounds : int
        How often to train.
    """
    if rounds < 1:
        raise ValueError(
            f"find_ticket: rounds must be at least 1, got {rounds}: a ticket is found by training"
        )
    check_sparsity("find_ticket", sparsity)
    start = model.state_dict()
    masks = prune(model, 0.0, block=block)
    for done in range(1, rounds + 1):
        train(model, masks)
        masks = prune(model, 1 - (1 - sparsity) ** (done / rounds), block=block, scope=scope)
        model.load_state_dict(start)
        masks.apply()
    return Ticket(masks, start)
