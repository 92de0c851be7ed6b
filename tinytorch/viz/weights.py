"""Weights: as colours, as a histogram, as the lines of a network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .style import COLORS, GREY, HATCHES, empty_figure, ink, legend, new_figure, styled, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCHED_UP_TO = 128  # rows and columns; in larger matrices a cell is too small for a pattern


@styled
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
        Cells to hatch in grey, whatever their value.
    block : int
        Outline what is left in blocks of so many columns, when something is removed: an output's block, where
        columns are outputs.
    """
    matrix = checks.numbers("heat_map", "values", values, ("rows", "columns"))
    checks.choice("heat_map", "color_scale", color_scale, ("linear", "log"))
    if removed is not None:
        removed = checks.mask("heat_map", "values", removed, matrix.shape)
    figure, axes = new_figure(height=4.2)
    image = _draw_matrix(axes, matrix, color_scale, removed, block)
    _draw_scale(figure, image, axes, color_label)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    return figure


def _draw_matrix(axes: Axes, matrix: np.ndarray, color_scale: str, removed: Any, block: int) -> Any:
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    signed = matrix.min() < 0
    limit = float(np.abs(matrix).max()) or 1.0
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
        _mark_removed(axes, removed, block)
    return image


def _draw_scale(figure: Figure, image: Any, axes: Any, label: str) -> None:
    """The colours' meaning; about zero a logarithmic scale would write its ticks over each other."""
    from matplotlib.colors import SymLogNorm

    bar = figure.colorbar(image, ax=axes, label=label)
    if isinstance(image.norm, SymLogNorm):
        limit = float(image.norm.vmax or 1.0)
        ticks = [-limit, -limit / 10, 0, limit / 10, limit]
        bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
        bar.ax.minorticks_off()


def _mark_removed(axes: Axes, removed: np.ndarray, block: int) -> None:
    """Hatched grey over what is removed, and a frame around each block of columns that is left.

    The hatching tells a removed cell from one of medium size in print without colours.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    rows, columns = removed.shape
    fine = 4 if max(removed.shape) <= HATCHED_UP_TO else 1
    shade = np.repeat(np.repeat(removed, fine, axis=0), fine, axis=1).astype(float)
    if fine > 1:
        shade += np.add.outer(np.arange(rows * fine), np.arange(columns * fine)) % fine == 0
    axes.imshow(
        np.ma.masked_where(~np.repeat(np.repeat(removed, fine, axis=0), fine, axis=1), shade),
        cmap=ListedColormap(["#d9d9d9", GREY]), vmin=1, vmax=2, aspect="auto", interpolation="nearest",
        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
    )  # fmt: skip
    if block == 1:
        return
    frames = [
        Rectangle((first - 0.5, row - 0.5), min(block, columns - first), 1)
        for row in range(rows)
        for first in range(0, columns, block)
        if not removed[row, first]
    ]
    axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor="black", linewidth=0.4 * thin()))


@styled
def pruned_weights(weight: Any, keep: Any, *, block: int = 1, title: str = "") -> Figure:
    """A layer's weights before and after pruning, in logarithmic colours, what is removed hatched in grey.

    Parameters
    ----------
    weight : (in, out), as it was before
    keep : bool (in, out)
        A mask of `pruning`.
    block : int
        Outputs that stood or fell together; those left are framed.
    """
    matrix = checks.numbers("pruned_weights", "weight", weight, ("in", "out"))
    kept = checks.mask("pruned_weights", "weight", keep, matrix.shape)
    figure = empty_figure(7.2, 3.6)
    before, after = figure.subplots(1, 2, sharey=True)
    _draw_matrix(before, matrix, "log", None, 1)
    image = _draw_matrix(after, matrix, "log", ~kept, block)
    _draw_scale(figure, image, [before, after], "weight")
    before.set(title=title or "before", xlabel="output", ylabel="input")
    after.set(title=f"{100 * np.mean(~kept):.3g} % removed", xlabel="output")
    return figure


@styled
def weight_histogram(weight: Any, keep: Any = None, *, bins: int = 81, title: str = "") -> Figure:
    """How many weights have which value, and where pruning cuts.

    Parameters
    ----------
    weight : array of any shape, as it was before
    keep : bool array of its shape, optional
        A mask of `pruning`. What it removes is drawn apart; weights that went one by one are cut at a
        threshold, which is marked, while blocks have none.
    """
    array = checks.numbers("weight_histogram", "weight", weight)
    values = array.ravel()
    parts = {"weights": np.ones(values.shape, dtype=bool)}
    if keep is not None:
        kept = checks.mask("weight_histogram", "weight", keep, array.shape).ravel()
        parts = {"kept": kept, "removed": ~kept}
    limit = float(np.abs(values).max()) or 1.0
    edges = np.linspace(-limit, limit, bins + 1)
    figure, axes = new_figure()
    for color, hatch, (name, part) in zip((COLORS[0], GREY), HATCHES, parts.items(), strict=False):
        counts, _ = np.histogram(values[part], edges)
        axes.stairs(counts, edges, fill=True, color=color, alpha=0.7, hatch=hatch, label=name)
    if keep is not None:
        _mark_threshold(axes, np.abs(values), kept)
        legend(axes)
    axes.set(title=title, xlabel="weight", ylabel="how many")
    return figure


def _mark_threshold(axes: Axes, sizes: np.ndarray, kept: np.ndarray) -> None:
    """Where everything smaller went and everything larger stayed, if it was so."""
    if kept.all() or not kept.any():
        return
    threshold = float(sizes[kept].min())
    if sizes[~kept].max() > threshold:
        return
    for x in (-threshold, threshold):
        axes.axvline(x, color=ink(), linestyle=":", linewidth=1.3 * thin())
    axes.annotate(f"±{threshold:.3g}", (threshold, 1), xycoords=("data", "axes fraction"), va="top",
                  xytext=(4, 0), textcoords="offset points", fontsize="small")  # fmt: skip


@styled
def rounding_errors(found: Any, *, title: str = "") -> Figure:
    """How far rounding moved a weight's numbers, and the step of each channel.

    Parameters
    ----------
    found : quantization.RoundingErrors
        From `quantization.rounding_errors`.
    """
    counts = checks.numbers("rounding_errors", "counts", found.counts, ("bins",))
    steps = np.sort(checks.numbers("rounding_errors", "scales", found.scales).ravel())[::-1]
    figure = empty_figure(7.2, 3.2)
    left, right = figure.subplots(1, 2)
    left.stairs(counts, found.edges, fill=True, color=COLORS[0])
    for edge in (-0.5, 0.5):
        left.axvline(edge, color=ink(), linestyle=":", linewidth=1.3 * thin())
    title = title or f"signal to noise {found.signal_to_noise:.1f} dB"
    left.set(title=title, xlabel="error, in steps (dotted: half a step)", ylabel="weights")
    right.stairs(steps, fill=True, color=COLORS[1], hatch=HATCHES[1])
    right.set(
        title="one step for all" if len(steps) == 1 else f"{len(steps)} channels, sorted",
        xlabel="channel", ylabel="step", ylim=(0, None),
    )  # fmt: skip
    return figure


@styled
def connections(weights: Sequence[Any], *, keep: Sequence[Any] | None = None, title: str = "") -> Figure:
    """A small network as units and weights: the thicker a line the larger the weight, none where it is 0.

    Positive weights are blue and solid, negative ones orange and dashed.

    Parameters
    ----------
    weights : sequence of (inputs, outputs) arrays
    keep : sequence of bool arrays of the same shapes, optional
        Masks of `pruning`; the network is drawn twice, before and after.
    """
    checks.not_empty("connections", "layers", weights)
    matrices = [
        checks.numbers("connections", f"layer {i}", w, ("inputs", "outputs")) for i, w in enumerate(weights)
    ]
    for i, (left, right) in enumerate(itertools.pairwise(matrices)):
        if left.shape[1] != right.shape[0]:
            raise ValueError(
                f"connections: layer {i} has {left.shape[1]} outputs, shape {left.shape}, but layer {i + 1} "
                f"takes {right.shape[0]} inputs, shape {right.shape}; weights are (inputs, outputs)"
            )
    if keep is None:
        figure, axes = new_figure(height=4.2)
        _draw_network(axes, matrices, matrices, title)
        return figure
    if len(keep) != len(matrices):
        raise ValueError(f"connections: {len(keep)} masks for {len(matrices)} layers; give one for each")
    masks = [
        checks.mask("connections", f"layer {i}", k, m.shape)
        for i, (k, m) in enumerate(zip(keep, matrices, strict=True))
    ]
    figure = empty_figure(9.0, 4.2)
    before, after = figure.subplots(1, 2)
    _draw_network(before, matrices, matrices, title or "before")
    left_over = sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)
    pruned = [m * k for m, k in zip(matrices, masks, strict=True)]
    _draw_network(after, pruned, matrices, f"{100 * (1 - left_over):.3g} % removed")
    return figure


def _draw_network(axes: Axes, drawn: list[np.ndarray], scale: list[np.ndarray], title: str) -> None:
    """The lines of `drawn`, as thick as their share of the largest weight in the same layer of `scale`."""
    from matplotlib.collections import LineCollection

    sizes = [drawn[0].shape[0], *(matrix.shape[1] for matrix in drawn)]
    heights = [np.linspace(0, 1, size) if size > 1 else np.array([0.5]) for size in sizes]
    for layer, matrix in enumerate(drawn):
        largest = np.abs(scale[layer]).max() or 1.0
        rows, columns = np.nonzero(matrix)
        values = matrix[rows, columns]
        segments = [
            [(layer, heights[layer][i]), (layer + 1, heights[layer + 1][j])]
            for i, j in zip(rows, columns, strict=True)
        ]
        axes.add_collection(
            LineCollection(
                segments,
                linewidths=(0.15 + 1.5 * np.abs(values) / largest) * thin(),
                colors=[COLORS[0] if value > 0 else COLORS[4] for value in values],
                linestyles=["-" if value > 0 else "--" for value in values],
                alpha=0.7,
            )
        )
    for layer, places in enumerate(heights):
        axes.plot(np.full(places.size, layer), places, "o", color=ink(), zorder=3)
    axes.set(title=title, xlim=(-0.15, len(sizes) - 0.85), ylim=(-0.06, 1.06))
    axes.axis("off")
