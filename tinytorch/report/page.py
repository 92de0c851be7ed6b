"""The record as one HTML page: text, tables and pictures in a single file that loads nothing."""

from __future__ import annotations

import html
import re

from tinytorch import viz
from tinytorch.experiments.records import Cell, Figure, Record, Section, Source, Statement, Table
from tinytorch.report import words

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --back: #fff;
  --card: #f6f8fa; --measured: #116329; --modelled: #9a6700; --quoted: #8250df; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --back: #0d1117;
    --card: #151b23; --measured: #3fb950; --modelled: #d29922; --quoted: #ab7df8; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
.soft { color: var(--soft); font-size: .88rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .88rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem .3rem 0; text-align: left;
  vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.range { color: var(--soft); font-size: .82em; }
.tag { font-size: .68em; border: 1px solid currentColor; border-radius: .6em; padding: 0 .4em;
  margin-left: .35em; white-space: nowrap; vertical-align: 1px; }
.measured { color: var(--measured); } .modelled { color: var(--modelled); } .quoted { color: var(--quoted); }
figure { margin: 1.2rem 0; padding: .6rem; background: var(--card); border-radius: .5rem; }
figure svg { width: 100%; height: auto; }
.alert { border-left: 4px solid #cf222e; padding: .4rem .8rem; background: var(--card); }
"""

HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TinyTorch report</title>
<style>{STYLE}</style>
</head>
<body>
"""

LEGEND = """<p class="soft">Each number says where it comes from:
<span class="tag measured">measured</span> on this machine in this run, with its interval (point at the tag
for the number of samples); <span class="tag modelled">modelled</span> by a formula from measured numbers;
<span class="tag quoted">quoted</span> from somebody else.</p>"""


def page(record: Record) -> str:
    """The whole page as text."""
    body = [
        "<h1>What each optimization is worth on this machine</h1>",
        f'<p class="soft">{html.escape(words.machine_line(record))}</p>',
        f'<p class="soft">{html.escape(words.method_line(record))}</p>',
        _ceilings(record),
        LEGEND,
    ]
    if record.status != "complete":
        body.append(
            f'<p class="alert">Status: {html.escape(words.STATUS.get(record.status, record.status))}.</p>'
        )
    body += [_contents(record), *map(_section, record.sections), '<h2 id="summary">Summary</h2>']
    body.append(_table(words.summary_table(record)))
    return HEAD + "\n".join(body) + "\n</body>\n</html>\n"


def _ceilings(record: Record) -> str:
    entries = {"noise floor": record.noise, **record.ceilings}
    parts = [
        f"{html.escape(name)} {cell_html(value)}" for name, value in entries.items() if value is not None
    ]
    return f'<p class="soft">{" · ".join(parts)}</p>' if parts else ""


def _contents(record: Record) -> str:
    names = [*(section.name for section in record.sections), "summary"]
    return (
        "<p>"
        + " · ".join(f'<a href="#{html.escape(name)}">{html.escape(name)}</a>' for name in names)
        + "</p>"
    )


def _section(section: Section) -> str:
    parts = [f'<h2 id="{html.escape(section.name)}">{html.escape(section.title)}</h2>']
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.introduction]
    if section.sources:
        parts.append(f'<p class="soft">Sources: {"; ".join(map(_source, section.sources))}.</p>')
    if section.status != "complete":
        parts.append(f'<p class="alert">{html.escape(f"{section.status} {section.error}".strip())}</p>')
    if section.statements:
        parts.append(
            "<ul>"
            + "".join(f"<li>{statement_html(statement)}</li>" for statement in section.statements)
            + "</ul>"
        )
    parts += [_table(table) for table in section.tables]
    parts += [_figure(figure, f"{section.name}-{index}") for index, figure in enumerate(section.figures)]
    return "\n".join(parts)


def _source(source: Source) -> str:
    return f'<a href="{html.escape(source.url)}">{html.escape(source.title)}</a>'


def statement_html(statement: Statement) -> str:
    """A sentence with its numbers in place."""
    cells = {name: cell_html(quantity) for name, quantity in statement.quantities.items()}
    return html.escape(statement.text, quote=False).format(**cells)


def cell_html(entry: Cell) -> str:
    """Text, or a number with its interval and its tag."""
    if entry is None:
        return "–"
    if isinstance(entry, str):
        return html.escape(entry)
    text = html.escape(str(entry))
    value, _, spread = text.partition(" [")
    spread = f' <span class="range">[{spread}</span>' if spread else ""
    title = html.escape(words.origin(entry))
    return f'{value}{spread}<span class="tag {entry.tag}" title="{title}">{entry.tag}</span>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = []
    for row in table.rows:
        cells = (
            f"<td{'' if isinstance(entry, str) else ' class=number'}>{cell_html(entry)}</td>" for entry in row
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    note = f'<p class="soft">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><caption>{html.escape(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>{note}</div>"
    )


def _figure(figure: Figure, name: str) -> str:
    """Inline SVG under its title, with what its numbers are."""
    drawing = unique_ids(viz.svg(viz.draw(figure)), name)
    marks = "".join(f'<span class="tag {tag}">{tag}</span>' for tag in words.figure_tags(figure))
    return f"<figure>{drawing}<figcaption>{html.escape(figure.title)}{marks}</figcaption></figure>"


def unique_ids(drawing: str, name: str) -> str:
    """The SVG with ids that begin with a name: two on one page would otherwise share clip paths."""
    return re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", drawing)
