"""What all pictures share: colours, themes, an empty figure, and the way into a file or a page."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision; its light colours are darkened until each has a
# contrast of 3 with both a white and a dark page. So they are equally light, and in grey print it is the
# markers and hatches that tell series apart.
COLORS = ("#0072B2", "#CF7F00", "#009470", "#C46A9C", "#D55E00", "#3A95CB", "#8C8C8C")
MARKERS = "os^DvPX"
HATCHES = ("", "///", "...", "xx", "\\\\\\", "oo", "--")
GREY = "#8C8C8C"  # of what is only background: removed weights, points that others beat


@dataclass(frozen=True)
class Theme:
    """How pictures look.

    Attributes
    ----------
    ink : of text and axes
    background : a colour, or ``"none"`` for the page's own
    type : points
    line : points
    size : how many times as large as in a report
    """

    ink: str
    background: str = "none"
    type: float = 10.0
    line: float = 1.5
    size: float = 1.0


LECTURE: dict[str, Any] = {"type": 18.0, "line": 3.0, "size": 1.5}
THEMES = {
    # The grey whose contrast with a white page and with a dark one is the same, 4.3.
    "page": Theme("#797979"),
    "light": Theme("#1f2328", "#ffffff"),
    "dark": Theme("#e6edf3", "#0d1117"),
    "lecture": Theme("#1f2328", "#ffffff", **LECTURE),
    "lecture-dark": Theme("#e6edf3", "#0d1117", **LECTURE),
}
_theme: ContextVar[Theme] = ContextVar("theme", default=THEMES["page"])

Draw = TypeVar("Draw", bound=Callable[..., Any])


@contextmanager
def theme(name: str) -> Iterator[Theme]:
    """Draw in another theme inside the block.

    Parameters
    ----------
    name : str
        ``"page"`` has no background, for pages and notebooks that may be light or dark; ``"light"`` and
        ``"dark"`` have their own, for files and for print; ``"lecture"`` and ``"lecture-dark"`` can be read
        from the back of a room.

    Examples
    --------
    >>> with theme("lecture"):
    ...     figure = lines([{"name": "a", "x": [1, 2], "y": [1, 2]}])  # doctest: +SKIP
    """
    if name not in THEMES:
        raise ValueError(f"viz.theme: no theme is called {name!r}; there are {', '.join(THEMES)}")
    token = _theme.set(THEMES[name])
    try:
        yield THEMES[name]
    finally:
        _theme.reset(token)


def _settings(theme: Theme) -> dict[Any, Any]:
    names = ("axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color",
             "ytick.color", "grid.color")  # fmt: skip
    return {
        **dict.fromkeys(names, theme.ink),
        "figure.facecolor": theme.background,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": "medium",
        "axes.linewidth": 0.5 * theme.line,
        "grid.alpha": 0.2,
        "lines.linewidth": theme.line,
        "lines.markersize": 3.5 * theme.line,
        "hatch.linewidth": 0.5 * theme.line,
        "hatch.color": theme.ink,
        "font.family": "sans-serif",
        "font.size": theme.type,
        "legend.frameon": False,
        "legend.fontsize": "small",
        "svg.fonttype": "path",  # drawn as outlines, so that the page needs no font
        "svg.hashsalt": "tinytorch",  # the same data give the same file
    }


def ink() -> str:
    """The theme's colour of text and axes."""
    return _theme.get().ink


def thin() -> float:
    """The width of a line that only guides the eye, in points."""
    return 0.7 * _theme.get().line


@functools.cache
def _figure_type() -> type[Figure]:
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook shows, though pyplot, which would see to that, is never imported."""

        def _repr_png_(self) -> bytes:
            return png(self)

    return Picture


def empty_figure(width: float, height: float) -> Figure:
    """A figure that never touches pyplot's global state or a display; inches, before the theme's size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    size = _theme.get().size
    figure = _figure_type()(figsize=(width * size, height * size), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_figure(width: float = 7.2, height: float = 3.8) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = empty_figure(width, height)
    return figure, figure.add_subplot()


def styled(draw: Draw) -> Draw:
    """Draw in the theme without changing the caller's own matplotlib settings."""

    @functools.wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from matplotlib import rc_context

        with rc_context(_settings(_theme.get())):
            return draw(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def legend(axes: Axes) -> None:
    """Names below the axes, where they cover nothing, in as many columns as fit."""
    handles, names = axes.get_legend_handles_labels()
    figure: Any = axes.figure
    room = int(figure.get_figwidth() * 72 / (0.55 * _theme.get().type * 0.83))  # letters on a line
    columns = min(max(room // (max(map(len, names)) + 6), 1), len(names))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def number_axis(axis: Any, values: Sequence[float], *, log: bool = False, unit: str = "") -> None:
    """Numbers as people write them: 64 and 0.1 instead of powers of ten, and µs or ms where they are seconds.

    Parameters
    ----------
    axis : an axis of matplotlib
    values : what is drawn along it; decides how many ticks a logarithmic axis needs
    unit : "s" for seconds
    """
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if unit == "s":
        axis.set_major_formatter(EngFormatter(unit="s", sep=" "))
    elif log:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if log:
        axis.set_minor_formatter(NullFormatter())
        positive = [value for value in values if value > 0]
        span = max(positive) / min(positive) if positive else 1.0
        if span < 4:
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        elif span < 1000:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 100 else (1, 3)))


def series_colors(count: int) -> list[str]:
    """A colour for each series."""
    return [COLORS[index % len(COLORS)] for index in range(count)]


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element to put into a page, whose text then has the page's own colour."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context(_settings(_theme.get())):
        figure.savefig(
            text, format="svg", facecolor=figure.get_facecolor(),
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )  # fmt: skip
    document = text.getvalue()
    return document[document.index("<svg") :].replace(THEMES["page"].ink, "currentColor")


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG file's bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    return data.getvalue()
