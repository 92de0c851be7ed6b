"""Which token comes next: from a model's scores to one choice.

Each step is a function from scores (B, V) to scores: what is made less likely gets a lower one, what is
ruled out gets -inf. `Sampling` puts them in order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import is_number

__all__ = ["Sampling", "keep_top_k", "keep_top_p", "penalize_repetition"]

Scores = NDArray[np.floating[Any]]


def penalize_repetition(logits: Scores, seen: NDArray[np.bool_], penalty: float) -> Scores:
    """Make tokens less likely that were there before: divide positive logits, multiply negative ones.

    Source: N. Keskar et al., *CTRL: A Conditional Transformer Language Model*, 2019, arXiv:1909.05858,
    section 4.1. Dividing a negative logit would raise it, so it is multiplied, as others do.

    Parameters
    ----------
    logits : (B, V)
    seen : bool (B, V)
        Which tokens each sequence holds, its prompt included.
    penalty : float
        1 changes nothing; the paper uses 1.2.
    """
    return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)


def keep_top_k(logits: Scores, k: int) -> Scores:
    """Rule out all but the k most likely tokens of each row, and those as likely as the last of them.

    Source: A. Fan et al., *Hierarchical Neural Story Generation*, 2018, arXiv:1805.04833.
    """
    if k >= logits.shape[-1]:
        return logits
    threshold = np.partition(logits, -k, axis=-1)[:, -k, None]
    return np.where(logits < threshold, -np.inf, logits)


def keep_top_p(logits: Scores, p: float) -> Scores:
    """Rule out all but the fewest most likely tokens of each row whose probabilities sum to p or more.

    Where the model is sure, that is one token; where it is not, many, unlike a fixed k ("nucleus sampling").

    Source: A. Holtzman et al., *The Curious Case of Neural Text Degeneration*, 2019, arXiv:1904.09751.
    """
    order = np.argsort(-logits, axis=-1, kind="stable")
    probability = softmax(np.take_along_axis(logits, order, axis=-1))
    before = probability.cumsum(axis=-1) - probability  # of all that are more likely
    keep = np.empty(logits.shape, bool)
    np.put_along_axis(keep, order, before < p, axis=-1)
    return np.where(keep, logits, -np.inf)


def softmax(scores: Scores) -> NDArray[np.float64]:
    """Probabilities of scores (B, V), of which some may be -inf."""
    e = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Sampling:
    """How to draw a token: repetition penalty, temperature, top-k, top-p, in this order.

    Parameters
    ----------
    temperature : float
        Divides the logits: below 1 is more cautious, above 1 more adventurous, 0 always takes the most
        likely token.
    top_k : int, optional
        Draw among the k most likely tokens only.
    top_p : float, optional
        Draw among the fewest most likely tokens whose probabilities sum to p.
    repetition_penalty : float
        Above 1 makes tokens less likely that the sequence already holds.

    Raises
    ------
    ValueError, TypeError
        A value that makes no sense.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "repetition_penalty"):
            value = getattr(self, name)
            if not is_number(value) and not (name == "top_p" and value is None):
                raise TypeError(f"generate: {name} must be a number, got {value!r} ({type(value).__name__}).")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"generate: temperature must be 0 (greedy) or more, and finite, got {self.temperature}."
            )
        if self.top_k is not None:
            if not isinstance(self.top_k, (int, np.integer)) or isinstance(self.top_k, bool):
                raise TypeError(f"generate: top_k must be a whole number of tokens, got {self.top_k!r}.")
            if self.top_k < 1:
                raise ValueError(
                    f"generate: top_k must be at least 1, got {self.top_k}. None draws among all tokens."
                )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(
                f"generate: top_p is a sum of probabilities, above 0 and at most 1, got {self.top_p}. "
                "0.9 draws among the most likely tokens that make up 90 %."
            )
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"generate: repetition_penalty must be positive, got {self.repetition_penalty}. "
                "1 changes nothing, 1.2 discourages repetition."
            )

    @property
    def penalizes(self) -> bool:
        """Whether it matters what a sequence already holds."""
        return self.repetition_penalty != 1

    def scores(self, logits: Scores, seen: NDArray[np.bool_] | None = None) -> Scores:
        """Return scores (B, V) whose softmax is the distribution drawn from; -inf rules a token out.

        Parameters
        ----------
        logits : (B, V)
        seen : bool (B, V), optional
            Which tokens each sequence holds. Without it there is no repetition penalty.

        Raises
        ------
        ValueError
            A logit is NaN or infinite.
        """
        if not np.isfinite(logits).all():
            raise ValueError("generate: the model's logits hold NaN or infinity; did its training diverge?")
        if self.penalizes and seen is not None:
            logits = penalize_repetition(logits, seen, self.repetition_penalty)
        if self.temperature == 0:
            return keep_top_k(logits, 1)
        # Of the largest 0 is left, so that the smallest temperature rules out the others and no more.
        with np.errstate(over="ignore"):
            logits = np.subtract(logits, logits.max(axis=-1, keepdims=True), dtype=float) / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None and self.top_p < 1:
            logits = keep_top_p(logits, self.top_p)
        return logits

    def choose(
        self, logits: Scores, rng: np.random.Generator, seen: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Draw one token for each row of logits (B, V)."""
        scores = self.scores(logits, seen)
        if self.temperature > 0:
            # The largest of score + Gumbel noise is distributed as softmax (Gumbel 1954), without sums.
            scores = scores + rng.gumbel(size=scores.shape)
        return scores.argmax(axis=-1)
