"""The one number of a section that a room remembers, and large digits for it."""

from __future__ import annotations

from tinytorch.experiments.records import Section
from tinytorch.quantities import Quantity, format_value

# Five rows of three columns: enough for numbers, and no font is needed.
_GLYPHS = {
    "0": "###|# #|# #|# #|###", "1": " # |## | # | # |###", "2": "###|  #|###|#  |###",
    "3": "###|  #|###|  #|###", "4": "# #|# #|###|  #|  #", "5": "###|#  |###|  #|###",
    "6": "###|#  |###|# #|###", "7": "###|  #|  #|  #|  #", "8": "###|# #|###|# #|###",
    "9": "###|# #|###|  #|###", ".": " | | | |#", ",": "  |  |  | #|# ", "×": "   |# #| # |# #|   ",
    "%": "#  #|  # | #  |#  #|    ", "-": "   |   |###|   |   ", " ": "  |  |  |  |  ",
}  # fmt: skip


def headline(section: Section) -> tuple[str, Quantity] | None:
    """What the section's first speed-up is of, and the number; None before there is one."""
    for line in section.summaries:
        if line.speedup is not None and not isinstance(line.speedup, str):
            return line.optimization, line.speedup
    for statement in section.statements:
        for name, quantity in statement.quantities.items():
            if quantity.unit == "×":
                return name.strip("_"), quantity
    return None


def banner(quantity: Quantity) -> str:
    """The value in digits five rows high, to be read from the back of a room."""
    text = format_value(quantity.value, quantity.unit)
    glyphs = [_GLYPHS[letter].split("|") for letter in text if letter in _GLYPHS]
    rows = ("  ".join(glyph[row] for glyph in glyphs) for row in range(5))
    return "\n".join("".join("██" if dot == "#" else "  " for dot in row) for row in rows)
