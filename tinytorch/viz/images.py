"""Images, as a grid with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import checks
from .style import empty_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def images(pictures: Any, captions: Sequence[str] = (), *, columns: int = 8) -> Figure:
    """Grey pictures in rows, dark where the value is high, each with its caption.

    Parameters
    ----------
    pictures : array, (N, H, W)
    captions : sequence of str
        None or one for each picture.
    """
    array = checks.numbers("images", "pictures", pictures, ("N", "H", "W"))
    if columns < 1:
        raise ValueError(f"images: columns must be at least 1, got {columns}")
    if captions and len(captions) != len(array):
        raise ValueError(f"images: {len(captions)} captions for {len(array)} pictures; give one for each")
    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    figure = empty_figure(0.9 * columns, (1.2 if captions else 0.9) * rows)
    for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if index < len(array):
            axes.imshow(array[index], cmap="gray_r", interpolation="nearest")
            axes.set_title(captions[index] if captions else "", fontsize="small")
    return figure
