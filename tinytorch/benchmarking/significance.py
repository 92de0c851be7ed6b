"""Is one run of a suite faster than another, or is it the machine's mood?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinytorch import _text, intervals
from tinytorch.benchmarking.suites import SuiteRecord, check_comparable
from tinytorch.intervals import CONFIDENCE
from tinytorch.quantities import Measured
from tinytorch.timing import verdict


@dataclass(frozen=True)
class Change:
    """What became of one race from the first record to the second.

    Attributes
    ----------
    before, after : Measured
        The contender's gain over its baseline.
    ratio : Measured
        ``after / before``: above 1 the contender got faster.
    verdict : ``"faster"``, ``"slower"`` or ``"undecided"``
    """

    before: Measured
    after: Measured
    ratio: Measured
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two records of one suite, race by race.

    Attributes
    ----------
    labels : tuple
        Of the first and the second record.
    changes : dict
        Race's name → `Change`, for the races that both have.
    missing : tuple of str
        Races that only one of them has.
    confidence : float
        With which all intervals hold together.
    """

    labels: tuple[str, str]
    changes: dict[str, Change]
    missing: tuple[str, ...]
    noise: float
    confidence: float

    def __str__(self) -> str:
        before, after = self.labels
        rows = [
            (name, change.before, change.after, change.ratio, change.verdict)
            for name, change in self.changes.items()
        ]
        text = _text.table(("race", before, after, f"{after} over {before}", "verdict"), rows)
        text += (
            f"\nAll intervals hold together with {100 * self.confidence:g} % confidence over {len(rows)} "
            f"claims; a verdict lies wholly beyond the noise floor, {self.noise:.3f}×."
        )
        return text + (f"\nIn one record only: {', '.join(self.missing)}." if self.missing else "")


def compare_records(
    first: SuiteRecord, second: SuiteRecord, *, confidence: float = CONFIDENCE, mixed: bool = False
) -> Comparison:
    """Compare two runs of one suite.

    Each contender was raced against its own baseline, in turns; what is compared is that gain, so a machine
    that was slower on one of the two days slowed both sides of it. Each pass gives one gain, and the interval
    is Welch's (Student's t on the logarithms, with the fewer passes' degrees of freedom), so the spread from
    one run to the next counts. It is corrected for the number of races (Bonferroni).

    Parameters
    ----------
    first, second : SuiteRecord
        Of one suite, from one machine with the same threads.
    mixed : bool
        Compare records of different machines or threads all the same.

    Raises
    ------
    ValueError
        For records that measured different things, or on unlike machines.
    """
    check_comparable("compare_records", [first, second], mixed=mixed)
    both = [name for name in first.races if name in second.races]
    if not both:
        raise ValueError(
            f"compare_records: the two records of {first.suite!r} have no race in common; run the same "
            "version of the suite twice"
        )
    for name in both:
        names = [record.races[name][0].names for record in (first, second)]
        if names[0] != names[1]:
            raise ValueError(
                f"compare_records: race {name!r} is {' against '.join(names[0])} in the first record and "
                f"{' against '.join(names[1])} in the second"
            )
    noise = max(first.noise, second.noise)
    each = intervals.corrected(confidence, len(both))
    changes = {name: _change(first, second, name, each, noise) for name in both}
    missing = tuple(sorted(first.races.keys() ^ second.races.keys()))
    labels = (first.label or "first", second.label or "second")
    return Comparison(labels, changes, missing, noise, confidence)


def _change(first: SuiteRecord, second: SuiteRecord, name: str, confidence: float, noise: float) -> Change:
    logs = [np.log(record.gains(name)) for record in (first, second)]
    fewest = min(samples.size for samples in logs)
    middle = float(logs[1].mean() - logs[0].mean())
    ratio = Measured(math.exp(middle), "×", n=fewest)
    if fewest > 1:  # one pass alone gives no interval, so no verdict
        error = math.sqrt(sum(samples.var(ddof=1) / samples.size for samples in logs))
        half = intervals.student_quantile(confidence, fewest - 1) * error
        ratio = Measured(math.exp(middle), "×", math.exp(middle - half), math.exp(middle + half), fewest)
    before, after = (record.gain(name, confidence) for record in (first, second))
    return Change(before, after, ratio, verdict(ratio, noise))
