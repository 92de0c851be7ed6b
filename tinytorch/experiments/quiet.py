"""Whether this machine is quiet enough to show something on it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from tinytorch import kernels, timing
from tinytorch.quantities import Measured

MOST_NOISE = 1.05  # of identical code: beyond it, a gain of a few percent cannot be shown


@dataclass(frozen=True)
class Quiet:
    """What was found.

    Attributes
    ----------
    noise : the ratio that the machine reports for a product raced against itself
    load : processes that wanted to run in the last minute, on average; None where the system does not say
    cores : that they had
    race : the race behind `noise`
    """

    noise: Measured
    load: Measured | None
    cores: int
    race: timing.Race

    @property
    def problems(self) -> list[str]:
        """What to do before measuring; empty when the machine is quiet."""
        found = []
        if self.noise.value > MOST_NOISE:
            found.append(
                f"identical code differs by a factor of {self.noise.value:.3f}: close other programs, plug "
                "in the power supply, wait a minute"
            )
        if self.load is not None and self.load.value > self.cores / 2:
            found.append(
                f"{self.load.value:.1f} processes wanted to run in the last minute, on {self.cores} cores: "
                "see which they are (top, Task Manager) and close them"
            )
        return found


def noise_floor(seconds: float) -> tuple[Measured, timing.Race]:
    """A small matrix product raced against itself: the noise floor with its interval, and the race."""
    a = np.random.default_rng(0).standard_normal((192, 192), dtype=np.float32)
    out = np.empty_like(a)
    noise, race = timing.noise_floor(lambda: kernels.matmul(a, a, out=out), seconds=seconds)
    return Measured(noise, "×", 1.0, noise, race.ratio.n), race


def look(seconds: float = 1.0) -> Quiet:
    """Look at the machine, which takes this many seconds."""
    load = None
    if hasattr(os, "getloadavg"):
        load = Measured(os.getloadavg()[0], "")  # before the race below adds to it
    noise, race = noise_floor(seconds)
    return Quiet(noise, load, os.cpu_count() or 1, race)
