"""Numbers that know where they come from.

A figure that anyone is shown is `Measured` on this machine in this run, `Modelled` by a stated formula, or
`Quoted` from a stated source. The report accepts nothing else, so a number without an origin cannot be
printed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

BOUNDS = ("", "≤", "≥")


@dataclass(frozen=True)
class Measured:
    """A value measured in this run.

    Parameters
    ----------
    value : float
        The estimate, in `unit`.
    unit : str
        ``"s"``, ``"B"``, ``"GFLOP/s"``, ``"×"`` (a ratio), ``"%"``, ``""`` (a count), …
    low, high : float, optional
        The interval around it. Equal to `value` for exact counts, None where a single run gives no interval.
    n : int
        How many samples stand behind it.
    bound : {"", "≤", "≥"}
        Set when the search ended at an edge, so that the value is only a bound.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    n: int = 1
    bound: str = ""
    tag: ClassVar[str] = "measured"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(
                f"Measured: n is the number of samples behind the value, so at least 1, got {self.n}"
            )
        if self.bound not in BOUNDS:
            raise ValueError(f"Measured: bound must be one of {BOUNDS}, got {self.bound!r}")

    @classmethod
    def count(cls, value: float, unit: str = "") -> Measured:
        """An exact count (bytes, parameters, flipped predictions): its interval is the value itself."""
        return cls(value, unit, value, value, 1)

    def scaled(self, factor: float, unit: str) -> Measured:
        """The same measurement in another unit, interval included."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Measured(self.value * factor, unit, low, high, self.n, self.bound)

    def __str__(self) -> str:
        text = self.bound + (" " if self.bound else "") + format_value(self.value, self.unit)
        if (
            self.low is not None
            and self.high is not None
            and (self.low, self.high) != (self.value, self.value)
        ):
            factor, _ = _scale(self.value, self.unit)
            text += f" [{_digits(self.low / factor)} to {_digits(self.high / factor)}]"
        return text


@dataclass(frozen=True)
class Modelled:
    """A value computed by `formula` from other figures; nothing timed it directly."""

    value: float
    unit: str
    formula: str
    tag: ClassVar[str] = "modelled"

    def __post_init__(self) -> None:
        if not self.formula:
            raise ValueError(
                "Modelled: say the formula that gave the value, e.g. formula='sum of time per token'"
            )

    def __str__(self) -> str:
        return format_value(self.value, self.unit)


@dataclass(frozen=True)
class Quoted:
    """A value that somebody else published in `source`."""

    value: float
    unit: str
    source: str
    tag: ClassVar[str] = "quoted"

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError(
                "Quoted: name the source that published the value, e.g. a paper or a page's address"
            )

    def __str__(self) -> str:
        return format_value(self.value, self.unit)


Quantity = Measured | Modelled | Quoted

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
}


def _scale(value: float, unit: str) -> tuple[float, str]:
    """The factor and the name of the unit in which `value` reads best."""
    scales = _SCALES.get(unit, ((1.0, unit),))
    for factor, name in scales:
        if abs(value) >= factor:
            return factor, name
    return scales[-1]


def _digits(value: float) -> str:
    """Three significant digits, thousands separated, no exponent where a person would not write one."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    if magnitude >= 1e-3:
        return f"{value:.{2 - math.floor(math.log10(magnitude))}f}"
    return f"{value:.2e}"


def _join(digits: str, unit: str) -> str:
    return digits + (unit if unit in ("×", "%") else f" {unit}" if unit else "")


def format_value(value: float, unit: str) -> str:
    """`value` with its unit, scaled for reading: seconds as ms or µs, bytes as KiB or MiB."""
    factor, name = _scale(value, unit)
    return _join(_digits(value / factor), name)
