"""What was measured of one metric, with its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinytorch import intervals


@dataclass
class BenchmarkResult:
    """Values measured for one metric, and their statistics.

    Attributes
    ----------
    mean, std, median, min_val, max_val : float
        `std` with n - 1 in the denominator, 0 for a single value.
    count : int
    ci_lower, ci_upper : float
        95 % confidence interval of the mean; the mean itself for a single value.
    """

    metric_name: str
    values: Sequence[float]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.size == 0:
            raise ValueError(f"BenchmarkResult {self.metric_name!r}: no values; measure at least once")
        if not np.isfinite(values).all():
            wrong = int((~np.isfinite(values)).sum())
            raise ValueError(
                f"BenchmarkResult {self.metric_name!r}: {wrong} of {values.size} values are NaN or "
                "infinite, so no mean exists; find what produced them (a division by a time of 0, a failed "
                "run) instead of dropping them"
            )
        self.values = values.tolist()
        self.count = values.size
        self.mean, self.median = float(values.mean()), float(np.median(values))
        self.min_val, self.max_val = float(values.min()), float(values.max())
        self.std = float(values.std(ddof=1)) if values.size > 1 else 0.0
        self.ci_lower, self.ci_upper = self.mean, self.mean
        if values.size > 1:
            self.ci_lower, self.ci_upper = intervals.interval(values, statistic=np.mean)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        statistics = ("mean", "std", "median", "min_val", "max_val", "count", "ci_lower", "ci_upper")
        return {
            "metric_name": self.metric_name,
            "values": list(self.values),
            **{name: getattr(self, name) for name in statistics},
            "metadata": self.metadata,
        }

    def __str__(self) -> str:
        spread = f"[{self.ci_lower:.4g} to {self.ci_upper:.4g}]"
        return f"{self.metric_name}: {self.mean:.4g} {spread}, n = {self.count}"
