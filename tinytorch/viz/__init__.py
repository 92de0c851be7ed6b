"""Every picture that TinyTorch draws, for labs, report and demos alike.

Each function takes data and returns a matplotlib figure, in the theme of the surrounding `theme` block; `svg`
and `png` turn one into text or bytes. matplotlib is imported when the first picture is drawn.
"""

from .charts import bars, break_even, lines, pareto, token_latency
from .figures import draw
from .images import images
from .loops import Animation, animate_loop_orders, loop_orders, memory_steps
from .races import amdahl_bars, noise_distribution, race_strips, roofline
from .style import COLORS, THEMES, Theme, png, svg, theme
from .weights import connections, heat_map, pruned_weights, rounding_errors, weight_histogram

__all__ = [
    "COLORS",
    "THEMES",
    "Animation",
    "Theme",
    "amdahl_bars",
    "animate_loop_orders",
    "bars",
    "break_even",
    "connections",
    "draw",
    "heat_map",
    "images",
    "lines",
    "loop_orders",
    "memory_steps",
    "noise_distribution",
    "pareto",
    "png",
    "pruned_weights",
    "race_strips",
    "roofline",
    "rounding_errors",
    "svg",
    "theme",
    "token_latency",
    "weight_histogram",
]
