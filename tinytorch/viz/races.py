"""Pictures of how something was measured, and of what limits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLORS, INK, new_figure, plain_numbers, series_colors, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def race_strips(races: Any, *, title: str = "", x_label: str = "seconds for one call") -> Figure:
    """Every sample of a `Race` or of `Races` as a dot, one strip for each contender, its median as a bar."""
    seconds = races.seconds
    strips = seconds if isinstance(seconds, dict) else dict(zip(races.names, seconds, strict=True))
    figure, axes = new_figure(height=max(2.0, 0.9 + 0.5 * len(strips)))
    jitter = np.random.default_rng(0)
    for place, (color, samples) in enumerate(zip(series_colors(len(strips)), strips.values(), strict=True)):
        heights = place + jitter.uniform(-0.2, 0.2, len(samples))
        axes.plot(samples, heights, "o", color=color, markersize=3, alpha=0.6)
        axes.plot([np.median(samples)] * 2, [place - 0.35, place + 0.35], color=color, linewidth=2)
    axes.set(title=title, xlabel=x_label, xscale="log")
    axes.set_yticks(range(len(strips)), list(strips))
    axes.invert_yaxis()
    return figure


@styled
def noise_distribution(race: Any, *, title: str = "The same code against itself") -> Figure:
    """How often each ratio came up in a race of a function against itself: what no difference looks like."""
    ratios = np.divide(*race.seconds)
    figure, axes = new_figure()
    axes.hist(ratios, bins=min(max(len(ratios) // 4, 5), 40), color=COLORS[0], alpha=0.7)
    axes.axvline(1.0, color=INK, linewidth=1)
    if race.ratio.low is not None:
        axes.axvspan(
            race.ratio.low, race.ratio.high, color=COLORS[1], alpha=0.3, label="interval of the median"
        )
        axes.legend()
    axes.set(title=title, xlabel="ratio of the two times in one round", ylabel="rounds")
    return figure


@styled
def roofline(points: Sequence[Any], *, title: str = "Roofline") -> Figure:
    """Computations as dots under the ceilings of this machine.

    Parameters
    ----------
    points : sequence of profiling.Roofline
        All placed under the same ceilings.
    """
    figure, axes = new_figure()
    peak, bandwidth = points[0].peak.value, points[0].bandwidth.value
    ridge = peak / bandwidth
    intensities = [point.intensity for point in points]
    x = np.geomspace(min([ridge, *intensities]) / 4, max([ridge, *intensities]) * 4, 100)
    axes.plot(x, np.minimum(peak, bandwidth * x), color=INK, linewidth=1.5)
    axes.annotate(f"{peak:.3g} GFLOP/s", (x[-1], peak), ha="right", va="bottom", fontsize=8)
    axes.annotate(f"{bandwidth:.3g} GB/s", (x[0], bandwidth * x[0]), ha="left", va="bottom", fontsize=8)
    for color, point in zip(series_colors(len(points)), points, strict=True):
        axes.plot(point.intensity, point.speed.value, "o", color=color, label=point.name)
    axes.set(
        title=title, xlabel="operations for each byte moved", ylabel="GFLOP/s", xscale="log", yscale="log"
    )
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    if any(point.name for point in points):
        axes.legend()
    return figure
