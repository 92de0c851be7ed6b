"""What all pictures share: colours, themes, an empty figure, and the way into a file or a page."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

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


def empty_figure(width: float, height: float) -> Figure:
    """A figure that never touches pyplot's global state or a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_type()(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_figure(width: float = 7.2, height: float = 3.8) -> tuple[Figure, Axes]:
    figure = empty_figure(width, height)
    return figure, figure.add_subplot()


def styled(draw: Any) -> Any:
    """Draw under STYLE without changing the caller's own matplotlib settings."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def plain_numbers(axis: Any) -> None:
    """64 and 0.1 on a logarithmic axis rather than powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def series_colors(count: int) -> list[str]:
    return [COLORS[index % len(COLORS)] for index in range(count)]


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
