"""The wording that the terminal and the page share."""

from __future__ import annotations

from tinytorch.experiments.records import Chart, Figure, Record, Table
from tinytorch.quantities import Measured, Modelled, Quantity

SUMMARY_COLUMNS = ["optimization", "speed-up", "compression", "accuracy loss", "pays from", "hurts when"]
STATUS = {
    "complete": "complete",
    "partial": "interrupted: what was measured until then",
    "failed": "an experiment broke; the others ran",
}


def origin(quantity: Quantity) -> str:
    """Where a number comes from, in full."""
    if isinstance(quantity, Measured):
        return f"measured, n = {quantity.n}"
    if isinstance(quantity, Modelled):
        return f"modelled: {quantity.formula}"
    return f"quoted: {quantity.source}"


def figure_tags(figure: Figure) -> list[str]:
    """What the numbers in a figure are: measured, modelled or quoted."""
    return sorted({line.tag for line in figure.series}) if isinstance(figure, Chart) else [figure.tag]


def machine_line(record: Record) -> str:
    """The machine and the versions, on one line."""
    about = record.machine
    parts = [
        about.get("cpu") or about.get("architecture", ""),
        f"level {about.get('level')}",
        f"{about.get('threads')} of {about.get('cores')} cores in use",
        f"TinyTorch {about.get('tinytorch')}",
        f"Python {about.get('python')}",
        f"NumPy {about.get('numpy')}",
    ]
    return " · ".join(part for part in parts if part)


def method_line(record: Record) -> str:
    """How sure the intervals are."""
    percent = f"{100 * record.confidence:g}"
    return (
        f"Intervals hold together with {percent} % confidence over {record.claims} claims. "
        "A gain is claimed only when its whole interval lies beyond the noise floor."
    )


def summary_table(record: Record) -> Table:
    """The closing table."""
    table = Table("What each optimization is worth on this machine", SUMMARY_COLUMNS)
    for line in record.summaries:
        table.add(
            line.optimization,
            line.speedup,
            line.compression,
            line.accuracy_loss,
            line.pays_from,
            line.hurts_when,
        )
    return table
