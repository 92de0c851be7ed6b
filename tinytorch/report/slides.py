"""One section as pages for a lecture hall: a single file, one screen for each picture, that loads nothing."""

from __future__ import annotations

import html

from tinytorch import viz
from tinytorch.experiments.records import Record, Section
from tinytorch.quantities import Quantity
from tinytorch.report import words
from tinytorch.report.headline import headline
from tinytorch.report.page import cell_html, statement_html, unique_ids

STYLE = """
:root { --ink: #1f2328; --back: #fff; --soft: #59636e; }
body.dark { --ink: #e6edf3; --back: #0d1117; --soft: #9198a1; }
html { scroll-snap-type: y mandatory; }
body { margin: 0; font: 3.2vh/1.4 system-ui, sans-serif; color: var(--ink); background: var(--back); }
section { height: 100vh; box-sizing: border-box; padding: 4vh 5vw; scroll-snap-align: start; display: flex;
  flex-direction: column; justify-content: center; }
h1 { font-size: 6vh; margin: 0 0 2vh; } h2 { font-size: 4.4vh; margin: 0 0 1vh; }
.number { font-size: 26vh; line-height: 1; font-weight: 700; font-variant-numeric: tabular-nums; }
.soft { color: var(--soft); font-size: 2.6vh; } .recorded { color: #d1242f; font-weight: 700; }
.tag, .range { color: var(--soft); font-size: .7em; margin-left: .4em; }
svg { flex: 1; min-height: 0; max-width: 100%; } li { margin: 1.2vh 0; }
"""


def slides(record: Record, section: Section, notes: list[str], *, dark: bool, recorded: bool) -> str:
    """The whole file as text; scroll, or press the space bar, for the next screen.

    Parameters
    ----------
    notes : list of str
        What to say below the headline: how quiet the machine is, what the room predicted.
    recorded : bool
        Whether the record was measured before, and maybe elsewhere: every screen then says so.
    """
    mark = '<span class="recorded">recorded</span> ' if recorded else ""
    screens = [_opening(record, section, notes)]
    for figure in section.figures:
        with viz.theme("lecture-dark" if dark else "lecture"):
            drawing = unique_ids(viz.svg(viz.draw(figure)), f"slide-{len(screens)}")
        tags = ", ".join(words.figure_tags(figure))
        screens.append(f'<h2>{html.escape(figure.title)}<span class="tag">{tags}</span></h2>{drawing}')
    if section.statements:
        items = "".join(f"<li>{statement_html(statement)}</li>" for statement in section.statements)
        screens.append(f"<h2>What was found</h2><ul>{items}</ul>")
    footer = f'<p class="soft">{mark}{html.escape(words.machine_line(record))}</p>'
    body = "".join(f"<section>{screen}{footer}</section>" for screen in screens)
    shade, title = "dark" if dark else "light", html.escape(section.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        f'<style>{STYLE}</style></head>\n<body class="{shade}">{body}</body></html>\n'
    )


def _opening(record: Record, section: Section, notes: list[str]) -> str:
    found = headline(section)
    number = ""
    if found is not None:
        what, quantity = found
        number = f'<p>{html.escape(what)}</p><div class="number">{_value(quantity)}</div>'
        number += f"<p>{cell_html(quantity)}</p>"
    lines = "".join(f'<p class="soft">{html.escape(note)}</p>' for note in notes)
    return f"<h1>{html.escape(section.title)}</h1>{number}{lines}"


def _value(quantity: Quantity) -> str:
    return html.escape(str(quantity).partition(" [")[0])
