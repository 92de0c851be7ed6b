"""From the records that experiments return to pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .charts import bars, lines
from .weights import connections, heat_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
