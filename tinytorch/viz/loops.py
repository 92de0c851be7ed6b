"""What the order of three loops does to memory: a matrix product, step by step, over a small cache."""

from __future__ import annotations

import base64
import itertools
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .style import COLORS, GREY, empty_figure, ink, styled, thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("ijk", "ikj", "jki")
NOT_CACHED, CACHED, TOUCHED = 0.0, 1.0, 2.0
GAP = 2  # empty columns between two matrices


@dataclass(frozen=True)
class Step:
    """One multiply-add.

    Attributes
    ----------
    touched : the elements of A, B and C, each a (matrix, row, column)
    cached : the cache lines held after it, each a (matrix, row, line)
    misses, accesses : until here
    """

    touched: tuple[tuple[int, int, int], ...]
    cached: frozenset[tuple[int, int, int]]
    misses: int
    accesses: int


def memory_steps(order: str, size: int = 8, line: int = 4, lines: int = 8) -> Iterator[Step]:
    """Every step of C += A B in this order of loops, with a cache that drops what was used longest ago.

    Parameters
    ----------
    order : str
        The loops from the outermost to the innermost: ``"ijk"`` is the textbook's, ``"ikj"`` reads rows.
    size : int
        The matrices are (size, size), each row next to the one before.
    line : int
        Elements that come from memory together.
    lines : int
        Cache lines that the cache holds.
    """
    if sorted(order) != ["i", "j", "k"]:
        raise ValueError(f"memory_steps: order must name i, j and k once, such as 'ikj', got {order!r}")
    for name, value in (("size", size), ("line", line), ("lines", lines)):
        if value < 1:
            raise ValueError(f"memory_steps: {name} must be at least 1, got {value}")
    cache: OrderedDict[tuple[int, int, int], None] = OrderedDict()
    misses = accesses = 0
    for loops in itertools.product(range(size), repeat=3):
        at = dict(zip(order, loops, strict=True))
        i, j, k = at["i"], at["j"], at["k"]
        touched = ((0, i, k), (1, k, j), (2, i, j))
        for matrix, row, column in touched:
            place = (matrix, row, column // line)
            accesses += 1
            if place not in cache:
                misses += 1
                if len(cache) == lines:
                    cache.popitem(last=False)
            cache[place] = None
            cache.move_to_end(place)
        yield Step(touched, frozenset(cache), misses, accesses)


@dataclass(frozen=True)
class Animation:
    """A moving picture that a notebook shows.

    Attributes
    ----------
    gif : bytes
        The whole file.
    """

    gif: bytes

    def _repr_html_(self) -> str:
        return f'<img src="data:image/gif;base64,{base64.b64encode(self.gif).decode()}" alt="animation">'

    def save(self, path: str | Path) -> None:
        """Write it as a GIF."""
        Path(path).write_bytes(self.gif)


@styled
def loop_orders(
    orders: Sequence[str] = ORDERS, *, size: int = 8, line: int = 4, lines: int = 8, frames: int = 3
) -> Figure:
    """Which elements a matrix product touches in each order of its loops, and what a cache makes of it.

    A row for each order, a few moments from left to right; the misses are counted in a cache of `lines`
    lines, so they are modelled.

    Parameters
    ----------
    orders, size, line, lines
        As `memory_steps` takes them.
    frames : int
        Moments for each order: the last is the end.
    """
    histories = _histories(orders, size, line, lines)
    if frames < 1:
        raise ValueError(f"loop_orders: frames must be at least 1, got {frames}")
    figure = empty_figure(3.1 * frames, 1.55 * len(orders) + 0.3)
    grid = figure.subplots(len(orders), frames, squeeze=False)
    for row, (order, steps) in zip(grid, histories.items(), strict=True):
        # Early moments show the pattern: half a cache line into the second row of the innermost loop.
        moments = [min(size + size // 2, len(steps) - 1), len(steps) // 2 + size // 2, len(steps) - 1]
        if frames != 3:
            moments = np.linspace(size - 1, len(steps) - 1, frames).astype(int).tolist()
        for axes, moment in zip(row, moments, strict=True):
            _draw_step(axes, order, steps[moment], size, line)
    figure.suptitle(
        "C += A B: touched now (dark), in the cache (light); misses are modelled", fontsize="medium"
    )
    return figure


@styled
def animate_loop_orders(
    orders: Sequence[str] = ORDERS,
    *,
    size: int = 8,
    line: int = 4,
    lines: int = 8,
    steps: int = 96,
    milliseconds: int = 125,
    dpi: int = 80,
) -> Animation:
    """`loop_orders` as a moving picture: the first `steps` multiply-adds of every order, side by side."""
    from matplotlib.animation import PillowWriter
    from matplotlib.colors import to_rgba

    histories = _histories(orders, size, line, lines)
    figure = empty_figure(4.6, 1.75 * len(orders))
    if to_rgba(figure.get_facecolor())[3] == 0:
        figure.set_facecolor("white")  # a GIF has no half-transparent ink
    grid = figure.subplots(len(orders), 1, squeeze=False)[:, 0]
    writer = PillowWriter(fps=round(1000 / milliseconds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loops.gif"
        with writer.saving(figure, str(path), dpi):
            for moment in range(min(steps, size**3)):
                for axes, (order, history) in zip(grid, histories.items(), strict=True):
                    axes.clear()
                    _draw_step(axes, order, history[moment], size, line)
                writer.grab_frame(facecolor=figure.get_facecolor())
        return Animation(path.read_bytes())


def _histories(orders: Sequence[str], size: int, line: int, lines: int) -> dict[str, list[Step]]:
    checks.not_empty("loop_orders", "orders", orders)
    return {order: list(memory_steps(order, size, line, lines)) for order in orders}


def _draw_step(axes: Any, order: str, step: Step, size: int, line: int) -> None:
    """A, B and C next to each other in one image."""
    from matplotlib.colors import ListedColormap

    picture = np.full((size, 3 * size + 2 * GAP), np.nan)
    for matrix in range(3):
        left = matrix * (size + GAP)
        picture[:, left : left + size] = NOT_CACHED
        axes.text(left + size / 2, -0.3, "ABC"[matrix], ha="center", va="bottom", fontsize="small")
    for matrix, row, place in step.cached:
        left = matrix * (size + GAP)
        picture[row, left + place * line : left + min((place + 1) * line, size)] = CACHED
    for matrix, row, column in step.touched:
        picture[row, matrix * (size + GAP) + column] = TOUCHED
    axes.pcolormesh(
        np.ma.masked_invalid(picture), cmap=ListedColormap(["#e8e8e8", COLORS[5], "#7a1f00"]),
        vmin=NOT_CACHED, vmax=TOUCHED, edgecolors=GREY, linewidth=0.3 * thin(),
    )  # fmt: skip
    axes.set(xlim=(-0.1, picture.shape[1] + 0.1), ylim=(size + 0.1, -2.2), aspect="equal")
    axes.set_xlabel(f"{order}: {step.misses} misses in {step.accesses}", color=ink())
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
