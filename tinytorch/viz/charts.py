"""Lines, bars and dots for numbers that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLORS, INK, new_figure, plain_numbers, series_colors, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def lines(
    series: Sequence[dict[str, Any]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    x_scale: str = "linear",
    y_scale: str = "linear",
    marks: Sequence[tuple[float, str]] = (),
    level: float | None = None,
) -> Figure:
    """Lines with interval bands.

    Parameters
    ----------
    series : sequence of dict
        Each with ``name``, ``x``, ``y`` and, where there is an interval, ``low`` and ``high``;
        ``tag="modelled"`` is dashed.
    marks : sequence of (x, label)
        Vertical lines, such as break-even points.
    level : float, optional
        A horizontal line, such as a ratio of 1.
    """
    figure, axes = new_figure()
    axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale=x_scale, yscale=y_scale)
    if level is not None:
        axes.axhline(level, color=INK, linewidth=1)
    for color, line in zip(series_colors(len(series)), series, strict=True):
        modelled = line.get("tag", "measured") != "measured"
        label = line["name"] + (f" ({line['tag']})" if modelled else "")
        axes.plot(
            line["x"],
            line["y"],
            "--" if modelled else "-",
            color=color,
            label=label,
            marker="o",
            markersize=3.5,
        )
        if line.get("low") is not None:
            axes.fill_between(line["x"], line["low"], line["high"], color=color, alpha=0.2, linewidth=0)
    for x, label in marks:
        axes.axvline(x, color=INK, linestyle=":", linewidth=1.2)
        axes.annotate(
            label,
            (x, 1),
            xycoords=("data", "axes fraction"),
            rotation=90,
            ha="right",
            va="top",
            fontsize=8,
        )
    for scale, axis in ((x_scale, axes.xaxis), (y_scale, axes.yaxis)):
        if scale == "log":
            plain_numbers(axis)
    if x_scale == "log" and series:
        axes.set_xticks(sorted({x for line in series for x in line["x"]}))
        axes.tick_params(axis="x", labelsize=8)
    if len(series) > 1:
        axes.legend()
    return figure


def break_even(
    result: Any, *, guess: tuple[float, float] | None = None, title: str = "", x_label: str = ""
) -> Figure:
    """How many times as fast at each size, where that passes 1, and what somebody expected.

    Parameters
    ----------
    result : timing.Breakeven
    guess : (size, ratio), optional
        The size from which it was expected to pay, and the ratio expected at the largest size.
    """
    ratios = [race.ratio for race in result.races]
    x = list(result.sizes)
    low, high = [r.low for r in ratios], [r.high for r in ratios]
    series = [{"name": "measured", "x": x, "y": [r.value for r in ratios], "low": low, "high": high}]
    marks = []
    if result.pays_from is not None:
        marks.append((result.pays_from.value, f"pays from {result.pays_from}"))
    if guess is not None:
        size, ratio = guess
        ends = {size: 1.0, x[-1]: ratio} if 0 < size < x[-1] else {x[0]: ratio, x[-1]: ratio}
        series.append({"name": "your guess", "x": list(ends), "y": list(ends.values()), "tag": "predicted"})
        marks.append((size, "your guess"))
    figure = lines(
        series, title=title, x_label=x_label, y_label="times as fast", x_scale="log", y_scale="log",
        marks=[mark for mark in marks if x[0] / 4 <= mark[0] <= x[-1] * 4], level=1.0,
    )  # fmt: skip
    bottom, top = figure.axes[0].get_ylim()
    figure.axes[0].set_yticks([2.0**i for i in range(-20, 21) if bottom <= 2.0**i <= top])
    return figure


@styled
def bars(
    series: Sequence[dict[str, Any]],
    *,
    title: str = "",
    y_label: str = "",
    y_scale: str = "linear",
    level: float | None = None,
) -> Figure:
    """Horizontal bars, one group for each name in ``x``, with error bars where there is an interval."""
    names = list(series[0]["x"])
    figure, axes = new_figure(height=max(2.2, 0.9 + 0.32 * len(names) * max(len(series), 1)))
    thickness = 0.75 / len(series)
    places = np.arange(len(names))
    for index, (color, group) in enumerate(zip(series_colors(len(series)), series, strict=True)):
        y = np.asarray(group["y"], dtype=float)
        errors = None
        if group.get("low") is not None:
            errors = np.maximum([y - group["low"], np.asarray(group["high"]) - y], 0)
        middle = places + (index - (len(series) - 1) / 2) * thickness
        axes.barh(middle, y, thickness, color=color, label=group["name"], xerr=errors, ecolor=INK)
        ends = y if group.get("high") is None else np.maximum(y, group["high"])
        for place, value, end in zip(middle, y, ends, strict=True):
            axes.annotate(
                f"{value:.3g}",
                (end, place),
                va="center",
                fontsize=8,
                xytext=(4, 0),
                textcoords="offset points",
            )
    if level is not None:
        axes.axvline(level, color=INK, linewidth=1)
    axes.set(title=title, xlabel=y_label, xscale=y_scale)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    if y_scale == "log":
        plain_numbers(axes.xaxis)
    if len(series) > 1:
        axes.legend()
    return figure


@styled
def pareto(
    points: dict[str, tuple[float, float]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    larger_is_better: tuple[bool, bool] = (False, True),
) -> Figure:
    """Named dots; those that no other beats in both directions are joined by a line.

    Parameters
    ----------
    points : dict
        Name → (x, y), such as latency and accuracy.
    larger_is_better : (bool, bool)
        For x and for y.
    """
    if not points:
        raise ValueError("pareto: no points to draw; give at least one, as {name: (x, y)}")
    figure, axes = new_figure()
    signs = [1 if larger else -1 for larger in larger_is_better]
    worth = {name: np.multiply(point, signs) for name, point in points.items()}
    best = [
        name
        for name, own in worth.items()
        if not any((other >= own).all() and (other > own).any() for other in worth.values())
    ]
    frontier = np.array(sorted(points[name] for name in best))
    axes.plot(*frontier.T, color=INK, linewidth=1.2, zorder=1)
    for name, (x, y) in points.items():
        axes.plot(x, y, "o", color=COLORS[0] if name in best else INK)
        axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.margins(0.15)
    return figure
