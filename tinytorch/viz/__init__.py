"""Every picture that TinyTorch draws, for labs, report and demos alike.

Each function takes data and returns a matplotlib figure; `svg` and `png` turn one into text or bytes.
matplotlib is imported when the first picture is drawn.
"""

from .charts import bars, break_even, lines, pareto
from .figures import draw
from .images import images
from .races import noise_distribution, race_strips, roofline
from .style import COLORS, INK, png, svg
from .weights import connections, heat_map, pruned_weights, rounding_errors, weight_histogram

__all__ = [
    "COLORS",
    "INK",
    "bars",
    "break_even",
    "connections",
    "draw",
    "heat_map",
    "images",
    "lines",
    "noise_distribution",
    "pareto",
    "png",
    "pruned_weights",
    "race_strips",
    "roofline",
    "rounding_errors",
    "svg",
    "weight_histogram",
]
