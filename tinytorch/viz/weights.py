"""Weights: as colours, as a histogram, as the lines of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLORS, INK, empty_figure, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        Cells to draw in grey, whatever their value.
    block : int
        Outline what is left in blocks of so many columns, when something is removed: an output's block, where
        columns are outputs.
    """
    figure, axes = new_figure(height=4.2)
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


@styled
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
    figure = empty_figure(7.2, 3.6)
    before, after = figure.subplots(1, 2, sharey=True)
    _draw_matrix(before, matrix, "log", None, 1)
    image = _draw_matrix(after, matrix, "log", ~kept, block)
    figure.colorbar(image, ax=[before, after], label="weight")
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
    values = np.asarray(weight, dtype=float).ravel()
    kept = np.ones(values.shape, dtype=bool) if keep is None else np.asarray(keep, dtype=bool).ravel()
    if values.size == 0 or values.shape != kept.shape:
        raise ValueError(
            f"weight_histogram: needs weights and a mask of their shape, got {np.shape(weight)} and "
            f"{np.shape(keep)}"
        )
    limit = float(np.abs(values).max()) or 1.0
    edges = np.linspace(-limit, limit, bins + 1)
    figure, axes = new_figure()
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


@styled
def rounding_errors(found: Any, *, title: str = "") -> Figure:
    """How far rounding moved a weight's numbers, and the step of each channel.

    Parameters
    ----------
    found : quantization.RoundingErrors
        From `quantization.rounding_errors`.
    """
    figure = empty_figure(7.2, 3.2)
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


@styled
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
    figure, axes = new_figure(height=4.2)
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
