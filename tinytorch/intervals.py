"""Confidence intervals for few, noisy samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000


def rounds_needed(confidence: float = CONFIDENCE) -> int:
    """The fewest samples whose smallest and largest value enclose the true median with this confidence: 1 −
    2^(1−n).
    """
    return 1 + math.ceil(-math.log2(1.0 - confidence))


def corrected(confidence: float, claims: int) -> float:
    """The confidence each of `claims` intervals needs for all of them to hold together (Bonferroni)."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, e.g. 0.95, got {confidence}")
    if claims < 1:
        raise ValueError(f"claims is how many statements the report makes, so at least 1, got {claims}")
    return 1.0 - (1.0 - confidence) / claims


def interval(
    samples: Sequence[float] | np.ndarray,
    confidence: float = CONFIDENCE,
    statistic: Callable[..., np.ndarray] = np.median,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of a statistic of independent samples.

    Parameters
    ----------
    samples : (n,) real numbers
        For positive quantities such as times and ratios, pass their logarithms.
    statistic : np.median or np.mean
        Anything that takes ``axis=1``.

    Returns
    -------
    low, high : float
        Expanded percentile bootstrap (Hesterberg 2015, "What teachers should know about the bootstrap"): the
        plain percentile interval is too narrow for a dozen samples. Student's t with fewer than
        `rounds_needed(confidence)`; infinite for one.
    """
    samples = np.asarray(samples, dtype=np.float64)
    n = samples.size
    if n == 0:
        raise ValueError("interval: no samples to take an interval of; give at least one")
    if n < rounds_needed(confidence):
        centre = float(np.mean(samples))
        if n == 1:
            return -math.inf, math.inf
        half = student_quantile(confidence, n - 1) * float(np.std(samples, ddof=1)) / math.sqrt(n)
        return centre - half, centre + half
    statistics = resampled(samples, resamples_for(confidence, n), statistic, seed)
    tail = tail_share(confidence, n)
    low, high = np.quantile(statistics, [tail, 1.0 - tail])
    return float(low), float(high)


def resamples_for(confidence: float, n: int) -> int:
    """Enough resamples to see the tails that `confidence` asks for."""
    return max(RESAMPLES, min(math.ceil(20 / tail_share(confidence, n)), 20_000))


def resampled(
    samples: np.ndarray, resamples: int, statistic: Callable[..., np.ndarray] = np.median, seed: int = 0
) -> np.ndarray:
    """The statistic of each bootstrap resample."""
    chosen = np.random.default_rng(seed).integers(0, samples.size, (resamples, samples.size))
    return statistic(samples[chosen], axis=1)


def tail_share(confidence: float, n: int) -> float:
    """The share of resamples beyond each end of the interval, for `n` samples."""
    quantile = math.sqrt(n / (n - 1)) * student_quantile(confidence, n - 1)
    return math.erfc(quantile / math.sqrt(2)) / 2


def student_quantile(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t, by bisection on the finite series of Abramowitz & Stegun 26.7.3 and
    26.7.4.
    """

    def enclosed(angle: float) -> float:
        sine, cosine = math.sin(angle), math.cos(angle)
        odd = degrees % 2
        term, total = (cosine, 0.0) if odd else (1.0, 0.0)
        for step in range(degrees // 2):
            total += term
            term *= cosine * cosine * (2 * step + 1 + odd) / (2 * step + 2 + odd)
        return 2 / math.pi * (angle + sine * total) if odd else sine * total

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if enclosed(middle) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
