"""How something was measured, and what limits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .style import (
    COLORS,
    GREY,
    HATCHES,
    MARKERS,
    ink,
    legend,
    new_figure,
    number_axis,
    series_colors,
    styled,
    thin,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinytorch.quantities import Measured


@styled
def race_strips(races: Any, *, title: str = "", x_label: str = "time for one call") -> Figure:
    """Every sample of a `Race` or of `Races` as a dot, one strip for each contender, its median as a bar.

    Within a strip the first round is at the top and the last at the bottom, so a machine that slows down
    leans; with two contenders a line joins the dots of each round.
    """
    seconds = races.seconds
    strips = seconds if isinstance(seconds, dict) else dict(zip(races.names, seconds, strict=True))
    checks.not_empty("race_strips", "contenders", strips)
    figure, axes = new_figure(height=max(2.0, 0.9 + 0.5 * len(strips)))
    dots = []
    for place, (name, samples) in enumerate(strips.items()):
        times = checks.numbers("race_strips", f"seconds of {name!r}", samples, ("rounds",))
        heights = place + np.linspace(-0.28, 0.28, len(times))
        color = COLORS[place % len(COLORS)]
        axes.plot(
            times, heights, MARKERS[place % len(MARKERS)], color=color, markersize=2.4 * thin(), alpha=0.6
        )
        axes.plot([np.median(times)] * 2, [place - 0.38, place + 0.38], color=color, linewidth=2.5 * thin())
        dots.append(np.stack([times, heights], axis=1))
    if len(dots) == 2 and len(dots[0]) == len(dots[1]):
        from matplotlib.collections import LineCollection

        pairs = list(np.stack(dots, axis=1))
        axes.add_collection(
            LineCollection(pairs, colors=ink(), linewidths=0.5 * thin(), alpha=0.25, zorder=1)
        )
    axes.set(title=title, xlabel=x_label, xscale="log")
    number_axis(axes.xaxis, np.concatenate(dots)[:, 0].tolist(), log=True, unit="s")
    axes.set_yticks(range(len(strips)), list(strips))
    axes.invert_yaxis()
    return figure


@styled
def noise_distribution(race: Any, *, title: str = "The same code against itself") -> Figure:
    """How often each ratio came up in a race of a function against itself: what no difference looks like."""
    first, second = (checks.numbers("noise_distribution", "seconds", s, ("rounds",)) for s in race.seconds)
    ratios = first / second
    figure, axes = new_figure()
    axes.hist(ratios, bins=min(max(len(ratios) // 4, 5), 40), color=COLORS[0], alpha=0.7)
    axes.axvline(1.0, color=ink(), linewidth=thin())
    if race.ratio.low is not None:
        label = f"interval of the median, {race.ratio.low:.3f} to {race.ratio.high:.3f}"
        axes.axvspan(race.ratio.low, race.ratio.high, color=COLORS[1], alpha=0.4, hatch="//", label=label)
        legend(axes)
    axes.set(title=title, xlabel="ratio of the two times in one round", ylabel="rounds")
    return figure


@styled
def roofline(points: Sequence[Any], *, title: str = "Roofline") -> Figure:
    """Computations as dots under the ceilings of this machine, each ceiling with its interval.

    Parameters
    ----------
    points : sequence of profiling.Roofline
        All placed under the same ceilings.
    """
    checks.not_empty("roofline", "points", points)
    figure, axes = new_figure()
    peak, bandwidth = points[0].peak, points[0].bandwidth
    ridge = peak.value / bandwidth.value
    intensities = [point.intensity for point in points]
    x = np.geomspace(min([ridge, *intensities]) / 4, max([ridge, *intensities]) * 4, 100)
    axes.plot(x, np.minimum(peak.value, bandwidth.value * x), color=ink())
    if peak.low is not None and bandwidth.low is not None:
        low, high = (np.minimum(getattr(peak, end), getattr(bandwidth, end) * x) for end in ("low", "high"))
        axes.fill_between(x, low, high, color=GREY, alpha=0.3, linewidth=0)
    beside: dict[str, Any] = {"textcoords": "offset points", "fontsize": "small"}
    axes.annotate(f"{peak.value:.3g} GFLOP/s", (x[-1], peak.value), xytext=(0, 3), ha="right", **beside)
    axes.annotate(
        f"{bandwidth.value:.3g} GB/s", (x[0], bandwidth.value * x[0]), xytext=(8, 0), va="top", **beside
    )
    for index, (color, point) in enumerate(zip(series_colors(len(points)), points, strict=True)):
        axes.plot(
            point.intensity, point.speed.value, MARKERS[index % len(MARKERS)], color=color, label=point.name
        )
    axes.set(
        title=title, xlabel="operations for each byte moved", ylabel="GFLOP/s", xscale="log", yscale="log"
    )
    axes.margins(y=0.12)
    number_axis(axes.xaxis, x.tolist(), log=True)
    number_axis(axes.yaxis, [peak.value, *(point.speed.value for point in points)], log=True)
    if any(point.name for point in points):
        legend(axes)
    return figure


@styled
def amdahl_bars(
    share: float,
    factor: float,
    *,
    name: str = "the layer",
    measured: Measured | None = None,
    title: str = "",
) -> Figure:
    """What a faster part is worth to the whole (Amdahl 1967): the time before, and the time after.

    Parameters
    ----------
    share : float
        Of the whole time that the part takes, from 0 to 1.
    factor : float
        How many times faster the part gets; ``math.inf`` when it takes no time any more.
    measured : Measured, optional
        How many times faster the whole really got: `profiling.check_what_if(...).measured.ratio`.
    """
    from tinytorch.profiling import amdahl

    gain = amdahl(share, factor)
    figure, axes = new_figure(height=2.4 if measured is None else 3.0)
    rest = 100 * (1 - share)
    gained = f"{factor:g}× faster" if np.isfinite(factor) else "at no cost"
    parts = [100 * share, 100 * share / factor]
    rows = ["before", f"{name} {gained}\n(modelled)"]
    axes.barh([0, 1], [rest, rest], 0.6, color=COLORS[0], label="the rest")
    axes.barh([0, 1], parts, 0.6, left=rest, color=COLORS[1], hatch=HATCHES[1], label=name)
    ends = [(0, 100.0, ""), (1, rest + parts[1], f"{gain:.3g}×")]
    if measured is not None:
        rows.append("the whole\n(measured)")
        length = 100 / measured.value
        axes.barh([2], [length], 0.6, color=COLORS[2], hatch=HATCHES[2], label="the whole, measured")
        ends.append((2, length, str(measured)))
    for place, end, text in ends:
        axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center")
    limit = 100 / amdahl(share, np.inf)
    axes.axvline(limit, color=ink(), linestyle=":", linewidth=1.3 * thin(), label=f"{name} at no cost")
    axes.set(title=title, xlabel="% of the time before", xlim=(0, 112))
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    legend(axes)
    return figure
