"""Every picture that TinyTorch draws, for labs, reports and demos alike.

Each function takes data and returns a matplotlib figure; `svg` and `png` turn one into text or bytes.
matplotlib is imported when the first picture is drawn.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision, readable on white and on dark grey.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C8C8C")
# One ink for both light and dark pages: figures have no background of their own.
INK = "#7a7f87"
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "font.family": "sans-serif",
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "path",  # drawn as outlines, so that the page needs no font
    "svg.hashsalt": "tinytorch",  # the same data give the same file
}


@functools.cache
def _figure_type() -> type[Figure]:
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook shows, though pyplot, which would see to that, is never imported."""

        def _repr_png_(self) -> bytes:
            return png(self)

    return Picture


def _empty_figure(width: float, height: float) -> Figure:
    """A figure that never touches pyplot's global state or a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_type()(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float = 7.2, height: float = 3.8) -> tuple[Figure, Axes]:
    figure = _empty_figure(width, height)
    return figure, figure.add_subplot()


def _styled(draw: Any) -> Any:
    """Draw under STYLE without changing the caller's own matplotlib settings."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def _plain_numbers(axis: Any) -> None:
    """64 and 0.1 on a logarithmic axis rather than powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


@_styled
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
    figure, axes = _figure()
    axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale=x_scale, yscale=y_scale)
    if level is not None:
        axes.axhline(level, color=INK, linewidth=1)
    for color, line in zip(_colors(len(series)), series, strict=True):
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
            _plain_numbers(axis)
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
    return lines(
        series, title=title, x_label=x_label, y_label="times as fast", x_scale="log", y_scale="log",
        marks=[mark for mark in marks if x[0] / 4 <= mark[0] <= x[-1] * 4], level=1.0,
    )  # fmt: skip


@_styled
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
    figure, axes = _figure(height=max(2.2, 0.9 + 0.32 * len(names) * max(len(series), 1)))
    thickness = 0.75 / len(series)
    places = np.arange(len(names))
    for index, (color, group) in enumerate(zip(_colors(len(series)), series, strict=True)):
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
        _plain_numbers(axes.xaxis)
    if len(series) > 1:
        axes.legend()
    return figure


@_styled
def heat_map(
    values: Any,
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    color_label: str = "",
    color_scale: str = "linear",
    removed: Any = None,
    block: int = 1,
) -> Figure:
    """A matrix as colours; values of both signs get a scale that is symmetric about zero.

    Parameters
    ----------
    values : (rows, columns)
    color_scale : "linear" or "log"
        Logarithmic by the values' size, down to a hundredth of the largest: it tells small values apart.
    removed : bool (rows, columns), optional
        Cells to draw in grey, whatever their value.
    block : int
        Outline what is left in blocks of so many columns, when something is removed: an output's block, where
        columns are outputs.
    """
    figure, axes = _figure(height=4.2)
    image = _draw_matrix(axes, np.asarray(values, dtype=float), color_scale, removed, block)
    figure.colorbar(image, ax=axes, label=color_label)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    return figure


def _draw_matrix(axes: Axes, matrix: np.ndarray, color_scale: str, removed: Any, block: int) -> Any:
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    signed = matrix.size > 0 and np.nanmin(matrix) < 0
    limit = float(np.nanmax(np.abs(matrix))) if matrix.size else 1.0
    limit = limit or 1.0
    norm: Normalize
    if color_scale == "log":
        norm = (
            SymLogNorm(limit / 100, 0.5, -limit, limit) if signed else LogNorm(limit / 100, limit, clip=True)
        )
    else:
        norm = Normalize(-limit, limit) if signed else Normalize()
    image = axes.imshow(
        matrix, cmap="RdBu" if signed else "viridis", norm=norm, aspect="auto", interpolation="nearest"
    )
    axes.grid(visible=False)
    if removed is not None:
        _mark_removed(axes, np.asarray(removed, dtype=bool), block)
    return image


def _mark_removed(axes: Axes, removed: np.ndarray, block: int) -> None:
    """Grey over what is removed, and a frame around each block of columns that is left."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    grey = np.ma.masked_where(~removed, np.ones(removed.shape))
    axes.imshow(grey, cmap=ListedColormap([INK]), aspect="auto", interpolation="nearest")
    if block == 1:
        return
    rows, columns = removed.shape
    frames = [
        Rectangle((first - 0.5, row - 0.5), min(block, columns - first), 1)
        for row in range(rows)
        for first in range(0, columns, block)
        if not removed[row, first]
    ]
    axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor="black", linewidth=0.6))


@_styled
def pruned_weights(weight: Any, keep: Any, *, block: int = 1, title: str = "") -> Figure:
    """A layer's weights before and after pruning, in logarithmic colours, what is removed in grey.

    Parameters
    ----------
    weight : (in, out), as it was before
    keep : bool (in, out)
        A mask of `pruning`.
    block : int
        Outputs that stood or fell together; those left are framed.
    """
    matrix, kept = np.asarray(weight, dtype=float), np.asarray(keep, dtype=bool)
    if matrix.ndim != 2 or matrix.shape != kept.shape:
        raise ValueError(
            f"pruned_weights: needs a matrix and a mask of its shape, got {matrix.shape} and {kept.shape}; "
            "for a convolution, reshape both: weight.reshape(len(weight), -1).T"
        )
    figure = _empty_figure(7.2, 3.6)
    before, after = figure.subplots(1, 2, sharey=True)
    _draw_matrix(before, matrix, "log", None, 1)
    image = _draw_matrix(after, matrix, "log", ~kept, block)
    figure.colorbar(image, ax=[before, after], label="weight")
    before.set(title=title or "before", xlabel="output", ylabel="input")
    after.set(title=f"{100 * np.mean(~kept):.3g} % removed", xlabel="output")
    return figure


@_styled
def weight_histogram(weight: Any, keep: Any = None, *, bins: int = 81, title: str = "") -> Figure:
    """How many weights have which value, and where pruning cuts.

    Parameters
    ----------
    weight : array of any shape, as it was before
    keep : bool array of its shape, optional
        A mask of `pruning`. What it removes is drawn apart; weights that went one by one are cut at a
        threshold, which is marked, while blocks have none.
    """
    values = np.asarray(weight, dtype=float).ravel()
    kept = np.ones(values.shape, dtype=bool) if keep is None else np.asarray(keep, dtype=bool).ravel()
    if values.size == 0 or values.shape != kept.shape:
        raise ValueError(
            f"weight_histogram: needs weights and a mask of their shape, got {np.shape(weight)} and "
            f"{np.shape(keep)}"
        )
    limit = float(np.abs(values).max()) or 1.0
    edges = np.linspace(-limit, limit, bins + 1)
    figure, axes = _figure()
    parts = {"kept": kept, "removed": ~kept} if keep is not None else {"weights": kept}
    for color, (name, part) in zip((COLORS[0], INK), parts.items(), strict=False):
        counts, _ = np.histogram(values[part], edges)
        axes.stairs(counts, edges, fill=True, color=color, alpha=0.7, label=name)
    if kept.any() and not kept.all():
        threshold = float(np.abs(values[kept]).min())
        if np.abs(values[~kept]).max() <= threshold:
            for x in (-threshold, threshold):
                axes.axvline(x, color=INK, linestyle=":", linewidth=1.2)
            axes.annotate(f"±{threshold:.3g}", (threshold, 1), xycoords=("data", "axes fraction"), va="top",
                          xytext=(4, 0), textcoords="offset points", fontsize=8)  # fmt: skip
    axes.set(title=title, xlabel="weight", ylabel="how many")
    if keep is not None:
        axes.legend()
    return figure


@_styled
def images(pictures: Any, captions: Sequence[str] = (), *, columns: int = 8) -> Figure:
    """Grey pictures in rows, dark where the value is high, each with its caption.

    Parameters
    ----------
    pictures : array, (N, H, W)
    captions : sequence of str
        None or one for each picture.
    """
    array = np.asarray(pictures, dtype=float)
    if array.ndim != 3 or len(array) == 0:
        raise ValueError(f"images: pictures must be (N, H, W) with N at least 1, got shape {array.shape}")
    if captions and len(captions) != len(array):
        raise ValueError(f"images: {len(captions)} captions for {len(array)} pictures; give one for each")
    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    figure = _empty_figure(0.9 * columns, (1.2 if captions else 0.9) * rows)
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if index < len(array):
            axes.imshow(array[index], cmap="gray_r", interpolation="nearest")
            axes.set_title(captions[index] if captions else "", fontsize=9)
    return figure


@_styled
def connections(weights: Sequence[Any], *, title: str = "") -> Figure:
    """A small network as units and weights: the thicker the line the larger the weight, colour its sign, none
    where it is 0.

    Parameters
    ----------
    weights : sequence of (inputs, outputs) arrays
    """
    from matplotlib.collections import LineCollection

    matrices = [np.asarray(matrix, dtype=float) for matrix in weights]
    sizes = [matrices[0].shape[0], *(matrix.shape[1] for matrix in matrices)]
    figure, axes = _figure(height=4.2)
    heights = [np.linspace(0, 1, size) if size > 1 else np.array([0.5]) for size in sizes]
    for layer, matrix in enumerate(matrices):
        largest = np.abs(matrix).max() or 1.0
        rows, columns = np.nonzero(matrix)
        segments = [
            [(layer, heights[layer][i]), (layer + 1, heights[layer + 1][j])]
            for i, j in zip(rows, columns, strict=True)
        ]
        strength = np.abs(matrix[rows, columns]) / largest
        colors = [COLORS[0] if value > 0 else COLORS[4] for value in matrix[rows, columns]]
        axes.add_collection(
            LineCollection(segments, linewidths=0.2 + 1.6 * strength, colors=colors, alpha=0.55)
        )
    for layer, places in enumerate(heights):
        axes.scatter(np.full(places.size, layer), places, s=28, color=INK, zorder=3)
    axes.set(title=title, xlim=(-0.15, len(sizes) - 0.85), ylim=(-0.06, 1.06))
    axes.axis("off")
    return figure


@_styled
def rounding_errors(found: Any, *, title: str = "") -> Figure:
    """How far rounding moved a weight's numbers, and the step of each channel.

    Parameters
    ----------
    found : quantization.RoundingErrors
        From `quantization.rounding_errors`.
    """
    figure = _empty_figure(7.2, 3.2)
    left, right = figure.subplots(1, 2)
    left.stairs(found.counts, found.edges, fill=True, color=COLORS[0])
    title = title or f"signal to noise {found.signal_to_noise:.1f} dB"
    left.set(title=title, xlabel="error, in steps", ylabel="weights")
    steps = np.sort(np.atleast_1d(found.scales))[::-1]
    right.stairs(steps, fill=True, color=COLORS[1])
    right.set(
        title="one step for all" if len(steps) == 1 else f"{len(steps)} channels, sorted",
        xlabel="channel", ylabel="step", ylim=(0, None),
    )  # fmt: skip
    return figure


@_styled
def roofline(points: Sequence[Any], *, title: str = "Roofline") -> Figure:
    """Computations as dots under the ceilings of this machine.

    Parameters
    ----------
    points : sequence of profiling.Roofline
        All placed under the same ceilings.
    """
    figure, axes = _figure()
    peak, bandwidth = points[0].peak.value, points[0].bandwidth.value
    ridge = peak / bandwidth
    intensities = [point.intensity for point in points]
    x = np.geomspace(min([ridge, *intensities]) / 4, max([ridge, *intensities]) * 4, 100)
    axes.plot(x, np.minimum(peak, bandwidth * x), color=INK, linewidth=1.5)
    axes.annotate(f"{peak:.3g} GFLOP/s", (x[-1], peak), ha="right", va="bottom", fontsize=8)
    axes.annotate(f"{bandwidth:.3g} GB/s", (x[0], bandwidth * x[0]), ha="left", va="bottom", fontsize=8)
    for color, point in zip(_colors(len(points)), points, strict=True):
        axes.plot(point.intensity, point.speed.value, "o", color=color, label=point.name)
    axes.set(
        title=title, xlabel="operations for each byte moved", ylabel="GFLOP/s", xscale="log", yscale="log"
    )
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    if any(point.name for point in points):
        axes.legend()
    return figure


def _colors(count: int) -> list[str]:
    return [COLORS[index % len(COLORS)] for index in range(count)]


def draw(picture: Any) -> Figure:
    """The matplotlib figure of a `Chart`, `HeatMap` or `Connections` record."""
    kind = type(picture).__name__
    if kind == "HeatMap":
        return heat_map(
            picture.values,
            title=picture.title,
            x_label=picture.x_label,
            y_label=picture.y_label,
            color_label=picture.color_label,
            color_scale=picture.color_scale,
            removed=picture.removed,
            block=picture.block,
        )
    if kind == "Connections":
        return connections(picture.weights, title=picture.title)
    if kind != "Chart":
        raise TypeError(f"draw: knows Chart, HeatMap and Connections records, got {kind}")
    series = [vars(line) for line in picture.series]
    if picture.kind == "bar":
        return bars(
            series, title=picture.title, y_label=picture.y_label, y_scale=picture.y_scale, level=picture.level
        )
    return lines(
        series,
        title=picture.title,
        x_label=picture.x_label,
        y_label=picture.y_label,
        x_scale=picture.x_scale,
        y_scale=picture.y_scale,
        marks=picture.marks,
        level=picture.level,
    )


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element to put into a page."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    document = text.getvalue()
    return document[document.index("<svg") :]


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG file's bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    return data.getvalue()
