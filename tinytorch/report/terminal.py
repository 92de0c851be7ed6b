"""The record in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytorch.experiments.records import Cell, Record, Section, Statement, Table
from tinytorch.report import words

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"measured": "", "modelled": " (modelled)", "quoted": " (quoted)"}


def show(record: Record, console: Console) -> None:
    """Print every section's findings and the closing table."""
    from rich.text import Text

    for section in record.sections:
        _show_section(section, console)
    console.print()
    _show_table(words.summary_table(record), console)
    if record.noise is not None:
        console.print(Text(f"Noise floor of this run: {cell(record.noise)}."))
    for name, ceiling in record.ceilings.items():
        console.print(Text(f"Ceiling ({name}): {cell(ceiling)}."))
    console.print(
        Text("Every number is measured in this run unless marked. " + words.method_line(record), style="dim")
    )
    console.print(Text(words.machine_line(record), style="dim"))
    if record.status != "complete":
        console.print(Text(words.STATUS[record.status], style="bold red"))


def _show_section(section: Section, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print()
    console.rule(Text(section.title, style="bold"), align="left")
    for paragraph in section.introduction:
        console.print(Padding(Text(paragraph), (0, 0, 1, 0)))
    for table in section.tables:
        _show_table(table, console)
    for statement in section.statements:
        console.print(Text("• " + sentence(statement)))
    if section.status != "complete":
        console.print(Text(f"{section.status} {section.error}".strip(), style="bold red"))


def _show_table(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(table.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for index, column in enumerate(table.columns):
        numeric = any(not isinstance(row[index], (str, type(None))) for row in table.rows)
        shown.add_column(Text(column), justify="right" if numeric else "left")
    for row in table.rows:
        shown.add_row(*(Text(cell(entry)) for entry in row))
    console.print(shown)
    if table.note:
        console.print(Text(table.note, style="dim"))


def cell(entry: Cell) -> str:
    """A cell's text; modelled and quoted numbers say so."""
    if entry is None:
        return "–"
    if isinstance(entry, str):
        return entry
    return str(entry) + MARKS[entry.tag]


def sentence(statement: Statement) -> str:
    """A statement with its numbers in place."""
    return statement.text.format(**{name: cell(quantity) for name, quantity in statement.quantities.items()})
