"""Lines, bars and dots for numbers that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch import timing
from tinytorch.quantities import format_value

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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCALES = ("linear", "log")
MOST_TICKS = 10
MOST_MARKERS = 60  # more would run into each other


def _named(series: dict[str, Any]) -> str:
    tag = series.get("tag", "measured")
    return series["name"] + ("" if tag == "measured" else f" ({tag})")


def _checked(picture: str, series: Sequence[dict[str, Any]], y_scale: str) -> None:
    """Every series has numbers, as many for x, y and the interval; a line may have gaps, bars may not."""
    checks.not_empty(picture, "series", series)
    checks.choice(picture, "y_scale", y_scale, SCALES)
    for one in series:
        name = f"series {one['name']!r}"
        lengths = {key: len(one[key]) for key in ("x", "y", "low", "high") if one.get(key) is not None}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"{picture}: {name} has {lengths}; x, y, low and high go together")
        y = np.asarray(one["y"], dtype=float)
        seen = y[np.isfinite(y)] if picture == "lines" else checks.numbers(picture, name, y, ("values",))
        if seen.size == 0:
            raise ValueError(f"{picture}: {name} has no finite value to draw among its {y.size}")
        if y_scale == "log":
            checks.positive(picture, name, seen, "y_scale")


@styled
def lines(
    series: Sequence[dict[str, Any]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    x_scale: str = "linear",
    y_scale: str = "linear",
    marks: Sequence[tuple] = (),
    level: float | None = None,
) -> Figure:
    """Lines with interval bands.

    Parameters
    ----------
    series : sequence of dict
        Each with ``name``, ``x``, ``y`` and, where there is an interval, ``low`` and ``high``;
        ``tag="modelled"`` is dashed. Values that are not finite leave a gap, and the legend says so.
    y_label : str
        ``"s"`` writes seconds as µs or ms.
    marks : sequence of (x, label) or (x, label, low, high)
        Vertical lines, such as break-even points, with the band of their interval.
    level : float, optional
        A horizontal line, such as a ratio of 1.
    """
    _checked("lines", series, y_scale)
    checks.choice("lines", "x_scale", x_scale, SCALES)
    figure, axes = new_figure()
    seconds = y_label == "s"
    axes.set(title=title, xlabel=x_label, xscale=x_scale, yscale=y_scale)
    axes.set_ylabel("time" if seconds else y_label)
    if level is not None:
        axes.axhline(level, color=ink(), linewidth=thin())
    gaps = 0
    for index, (color, line) in enumerate(zip(series_colors(len(series)), series, strict=True)):
        if x_scale == "log":
            checks.positive("lines", f"x of series {line['name']!r}", line["x"], "x_scale")
        missing = int((~np.isfinite(np.asarray(line["y"], dtype=float))).sum())
        gaps += missing
        axes.plot(
            line["x"],
            line["y"],
            "-" if line.get("tag", "measured") == "measured" else "--",
            color=color,
            label=_named(line) + (f", {missing} values not finite" if missing else ""),
            marker=MARKERS[index % len(MARKERS)],
            markevery=-(-len(line["y"]) // MOST_MARKERS),
        )
        if line.get("low") is not None:
            axes.fill_between(line["x"], line["low"], line["high"], color=color, alpha=0.2, linewidth=0)
    _mark(axes, marks)
    values = [y for line in series for y in line["y"] if np.isfinite(y)]
    number_axis(axes.yaxis, values, log=y_scale == "log", unit=y_label)
    if x_scale == "log":
        _sizes(axes, [x for line in series for x in line["x"]])
    if len(series) > 1 or gaps or any(len(mark) > 2 for mark in marks):
        legend(axes)
    return figure


def _mark(axes: Axes, marks: Sequence[tuple]) -> None:
    """Vertical lines; the second's label stands on the other side, so that two close ones can be read."""
    for index, (x, label, *interval) in enumerate(marks):
        if interval and None not in interval:
            band = "{}: {:.3g} to {:.3g}".format(label, *interval)
            axes.axvspan(*interval, color=GREY, alpha=0.3, linewidth=0, zorder=0, label=band)
        axes.axvline(x, color=ink(), linestyle=":", linewidth=1.3 * thin())
        left = index % 2 == 0
        axes.annotate(
            label,
            (x, 1),
            xytext=(-2 if left else 3, 0),
            textcoords="offset points",
            xycoords=("data", "axes fraction"),
            rotation=90,
            ha="right" if left else "left",
            va="top",
            fontsize="small",
        )


def _sizes(axes: Axes, values: list[float]) -> None:
    """The sizes measured as ticks of a logarithmic axis, without those whose labels would touch."""
    number_axis(axes.xaxis, values, log=True)
    sizes = sorted(set(values))
    apart = np.log(sizes[-1] / sizes[0]) / MOST_TICKS
    ticks = sizes[-1:]
    for size in reversed(sizes):
        if np.log(ticks[-1] / size) >= apart:
            ticks.append(size)
    axes.set_xticks(ticks)
    axes.tick_params(axis="x", labelsize="small")


def break_even(
    result: Any,
    *,
    guess: tuple[float, float] | None = None,
    title: str = "",
    x_label: str = "",
    x_scale: str = "log",
    show: str = "ratio",
) -> Figure:
    """How two ways compare at each size, where the second begins to pay, and what somebody expected.

    Parameters
    ----------
    result : timing.Breakeven
    guess : (size, ratio), optional
        The size from which it was expected to pay, and the ratio expected at the largest size.
    x_scale : "log" or "linear"
        Linear for sparsities.
    show : "ratio" or "time"
        How many times as fast, or the seconds of both.
    """
    checks.choice("break_even", "show", show, ("ratio", "time"))
    checks.not_empty("break_even", "races", result.races)
    x = list(result.sizes)
    first, last = x[0], x[-1]
    pays = result.pays_from
    marks: list[tuple] = []
    if pays is not None:
        marks.append((pays.value, "pays from here", pays.low, pays.high))
    if show == "ratio":
        series = [_with_band("measured", x, [race.ratio for race in result.races])]
    else:
        series = [
            _with_band(name, x, _times(result.races, i)) for i, name in enumerate(result.races[0].names)
        ]
    if guess is not None:
        size, ratio = guess
        marks.append((size, "your guess"))
        if show == "ratio":
            ends = {size: 1.0, last: ratio} if 0 < size < last else {first: ratio, last: ratio}
            series.append(
                {"name": "your guess", "x": list(ends), "y": list(ends.values()), "tag": "predicted"}
            )
    reach = (first / 4, last * 4) if x_scale == "log" else (min(0, first), last + (last - first))
    return lines(
        series,
        title=title,
        x_label=x_label,
        y_label="times as fast" if show == "ratio" else "s",
        x_scale=x_scale,
        y_scale="log",
        marks=[mark for mark in marks if reach[0] <= mark[0] <= reach[1]],
        level=1.0 if show == "ratio" else None,
    )


def _with_band(name: str, x: list[float], measured: list[Any]) -> dict[str, Any]:
    band = {"low": [m.low for m in measured], "high": [m.high for m in measured]}
    return {
        "name": name, "x": x, "y": [m.value for m in measured],
        **(band if None not in band["low"] + band["high"] else {}),
    }  # fmt: skip


def _times(races: Sequence[Any], contender: int) -> list[Any]:
    return [timing.measured(race.seconds[contender], "s", race.confidence) for race in races]


@styled
def bars(
    series: Sequence[dict[str, Any]],
    *,
    title: str = "",
    y_label: str = "",
    y_scale: str = "linear",
    level: float | None = None,
) -> Figure:
    """Horizontal bars, one group for each name in ``x``, with error bars where there is an interval.

    A series may lack some of the names.
    """
    _checked("bars", series, y_scale)
    names = list(dict.fromkeys(name for group in series for name in group["x"]))
    figure, axes = new_figure(height=max(2.2, 0.9 + 0.32 * len(names) * len(series)))
    thickness = 0.75 / len(series)
    seconds = y_label == "s"
    for index, (color, group) in enumerate(zip(series_colors(len(series)), series, strict=True)):
        y = np.asarray(group["y"], dtype=float)
        errors = None
        if group.get("low") is not None:
            errors = np.maximum([y - group["low"], np.asarray(group["high"]) - y], 0)
        places = np.array([names.index(name) for name in group["x"]])
        middle = places + (index - (len(series) - 1) / 2) * thickness
        axes.barh(
            middle, y, thickness, color=color, label=_named(group), xerr=errors, ecolor=ink(),
            hatch=HATCHES[index % len(HATCHES)], error_kw={"elinewidth": thin()},
        )  # fmt: skip
        ends = y if group.get("high") is None else np.maximum(y, group["high"])
        for place, value, end in zip(middle, y, ends, strict=True):
            axes.annotate(
                format_value(value, "s" if seconds else ""),
                (max(end, 0), place),
                va="center",
                fontsize="small",
                xytext=(4, 0),
                textcoords="offset points",
            )
    if level is not None:
        axes.axvline(level, color=ink(), linewidth=thin())
    axes.set(title=title, xlabel="time" if seconds else y_label, xscale=y_scale)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.14)
    number_axis(axes.xaxis, [y for g in series for y in g["y"]], log=y_scale == "log", unit=y_label)
    if len(series) > 1:
        legend(axes)
    return figure


@styled
def pareto(
    points: dict[str, tuple[float, float]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    larger_is_better: tuple[bool, bool] = (False, True),
    x_scale: str = "linear",
) -> Figure:
    """Named dots; those that no other beats in both directions are joined by a line.

    Parameters
    ----------
    points : dict
        Name → (x, y), such as latency and accuracy.
    larger_is_better : (bool, bool)
        For x and for y.
    x_scale : "linear" or "log"
        Logarithmic where the slowest takes many times as long as the fastest.
    """
    checks.not_empty("pareto", "points", points)
    checks.choice("pareto", "x_scale", x_scale, SCALES)
    for name, point in points.items():
        if len(checks.numbers("pareto", f"point {name!r}", point, ("x and y",))) != 2:
            raise ValueError(f"pareto: point {name!r} must be (x, y), got {point!r}")
    figure, axes = new_figure()
    signs = [1 if larger else -1 for larger in larger_is_better]
    worth = {name: np.multiply(point, signs) for name, point in points.items()}
    best = [
        name
        for name, own in worth.items()
        if not any((other >= own).all() and (other > own).any() for other in worth.values())
    ]
    frontier = np.array(sorted(points[name] for name in best))
    axes.plot(*frontier.T, color=ink(), linewidth=thin(), zorder=1)
    for name, (x, y) in points.items():
        axes.plot(x, y, "o" if name in best else "X", color=COLORS[0] if name in best else GREY)
        axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize="small")
    axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale=x_scale)
    axes.margins(0.15)
    if x_scale == "log":
        number_axis(axes.xaxis, [x for x, _ in points.values()], log=True)
    return figure


def token_latency(
    seconds: dict[str, Any], *, title: str = "Time for each token", y_scale: str = "linear"
) -> Figure:
    """How long each token took, with the sum for each way of writing them.

    Parameters
    ----------
    seconds : dict
        Name → seconds for the first token, the second, and so on, such as with a KV cache and without.
    """
    checks.not_empty("token_latency", "times", seconds)
    series = []
    for name, times in seconds.items():
        array = checks.numbers("token_latency", f"times of {name!r}", times, ("tokens",))
        total = format_value(float(array.sum()), "s")
        x = list(range(1, len(array) + 1))
        series.append({"name": f"{name}: {total} for {len(array)} tokens", "x": x, "y": array})
    figure = lines(series, title=title, x_label="token", y_label="s", y_scale=y_scale)
    if y_scale == "linear":
        figure.axes[0].set_ylim(bottom=0)  # so that a flat line can be told from a rising one
    return figure
