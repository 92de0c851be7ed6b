"""How close a computation comes to what this machine can do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinytorch import timing
from tinytorch.quantities import Measured


@dataclass(frozen=True)
class Roofline:
    """One computation under the ceilings of this machine.

    Attributes
    ----------
    intensity : operations for each byte that has to be moved
    speed : GFLOP/s reached
    ceiling : GFLOP/s that this machine allows at this intensity
    bound : ``"memory"`` or ``"compute"``, whichever ceiling is the lower
    """

    name: str
    intensity: float
    speed: Measured
    ceiling: Measured
    bound: str
    peak: Measured
    bandwidth: Measured


@functools.cache
def ceilings(level: str, threads: int = 1) -> tuple[Measured, Measured]:
    """Peak (GFLOP/s) and memory bandwidth (GB/s) of this machine, measured once for each level."""
    return timing.measure_peak(threads), timing.measure_bandwidth()


def place(
    name: str, flops: float, moved_bytes: float, speed: Measured, *, threads: int | None = None
) -> Roofline:
    """A speed that was measured (by `threads`, or those in use), under the ceilings of this machine."""
    machine = timing.machine()
    peak, bandwidth = ceilings(machine["level"], threads or machine["threads"])
    intensity = flops / moved_bytes
    slope = bandwidth.scaled(intensity, "GFLOP/s")
    bound = "memory" if slope.value < peak.value else "compute"
    return Roofline(name, intensity, speed, slope if bound == "memory" else peak, bound, peak, bandwidth)


def roofline(
    call: Callable[[], Any], flops: float, moved_bytes: float, *, name: str = "", seconds: float = 0.3
) -> Roofline:
    """Place a computation under the ceilings measured on this machine (Williams, Waterman and Patterson
    2009).

    Parameters
    ----------
    call : function of no arguments
    flops : float
        Floating-point operations of one call.
    moved_bytes : float
        Bytes that one call has to read and write at least: each operand once.
    """
    if not flops > 0 or not moved_bytes > 0:
        raise ValueError(f"roofline: flops and moved_bytes must be positive, got {flops} and {moved_bytes}")
    races = timing.race_many({"it": call, "again": call}, seconds=seconds)
    return place(name, flops, moved_bytes, races.rate("it", flops / 1e9, "GFLOP/s"))
