"""Timing that a sceptic can accept: races, break-even points and this machine's ceilings.

How a race is run, and why:

- The contenders take turns (A B B A …), so that a machine that slows down slows both; the *ratio within a
  round* is what counts. Running all of A and then all of B would credit the drift to one of them.
- How often each round repeats a short function, and how many rounds there are, is fixed before the first
  sample that counts. Nothing is run again until it passes.
- The estimate is the median of the rounds' ratios, its interval an expanded percentile bootstrap with a fixed
  seed; with too few rounds for that (`rounds_needed`), Student's t on the logarithms, which is wider.
- Racing a function against itself gives the noise floor. A verdict needs the whole interval beyond it.
- Many claims in one report make one of them false sooner; `claims` widens every interval accordingly
  (Bonferroni).
"""

from tinytorch.timing.ceilings import measure_bandwidth, measure_peak
from tinytorch.timing.crossings import Breakeven, breakeven, locate
from tinytorch.timing.races import (
    MAX_ROUNDS,
    SAMPLE_SECONDS,
    Race,
    Races,
    noise_floor,
    race,
    race_many,
    verdict,
    wait_until_idle,
)
from tinytorch.timing.samples import Call, Clock, machine, measured

__all__ = [
    "MAX_ROUNDS",
    "SAMPLE_SECONDS",
    "Breakeven",
    "Call",
    "Clock",
    "Race",
    "Races",
    "breakeven",
    "locate",
    "machine",
    "measure_bandwidth",
    "measure_peak",
    "measured",
    "noise_floor",
    "race",
    "race_many",
    "verdict",
    "wait_until_idle",
]
