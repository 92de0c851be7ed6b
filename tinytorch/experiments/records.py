"""What experiments return: plain records that keep every sample and say of every number where it comes from.

An experiment fills a `Section`; a run collects sections in a `Record`. `to_json` and `from_json` carry a
record to a file and back. Numbers stand in a record as `Measured`, `Modelled` or `Quoted`, never bare:
`Table`, `Statement` and `Summary` refuse anything else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import string
from dataclasses import dataclass, field
from typing import Any

from tinytorch.quantities import Measured, Modelled, Quantity, Quoted
from tinytorch.timing import Breakeven, Race, Races

SCHEMA_VERSION = 1

Cell = str | Measured | Modelled | Quoted | None


def _check_cell(cell: object, where: str) -> None:
    if cell is not None and not isinstance(cell, (str, Measured, Modelled, Quoted)):
        raise TypeError(
            f"{where}: a cell is text, None or a tagged number, got {type(cell).__name__} {cell!r}; "
            "wrap it, e.g. Measured(value, unit, low, high, n), so that readers see where it comes from"
        )


@dataclass(frozen=True)
class Source:
    """Where a claim in a section's opening can be checked."""

    title: str
    url: str


@dataclass(frozen=True)
class Statement:
    """A sentence with tagged numbers in it: ``Statement("{gain} faster than loops.", gain=Measured(…))``."""

    text: str
    quantities: dict[str, Quantity] = field(default_factory=dict)

    def __init__(self, text: str, quantities: dict[str, Quantity] | None = None, **named: Quantity) -> None:
        quantities = {**(quantities or {}), **named}
        wanted = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        if wanted != set(quantities):
            raise ValueError(
                f"Statement: the text names {sorted(wanted)} but the numbers given are {sorted(quantities)}"
            )
        for name, quantity in quantities.items():
            if not isinstance(quantity, (Measured, Modelled, Quoted)):
                raise TypeError(f"Statement: {name} must be Measured, Modelled or Quoted, got {quantity!r}")
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "quantities", quantities)


@dataclass
class Table:
    """Rows of text and tagged numbers under a title."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""

    def __post_init__(self) -> None:
        rows, self.rows = self.rows, []
        for row in rows:
            self.add(*row)

    def add(self, *cells: Cell) -> None:
        """Append a row, one cell for each column."""
        if len(cells) != len(self.columns):
            raise ValueError(
                f"Table {self.title!r}: {len(cells)} cells for {len(self.columns)} columns {self.columns}"
            )
        for column, cell in zip(self.columns, cells, strict=True):
            _check_cell(cell, f"Table {self.title!r}, column {column!r}")
        self.rows.append(list(cells))


@dataclass
class Series:
    """One line or one set of bars. `x` may be names; all of `y` has one origin (`tag`)."""

    name: str
    x: list[float] | list[str]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    tag: str = "measured"

    def __post_init__(self) -> None:
        if self.tag not in ("measured", "modelled", "quoted"):
            raise ValueError(
                f"Series {self.name!r}: tag must be measured, modelled or quoted, got {self.tag!r}"
            )
        lengths = {len(values) for values in (self.x, self.y, self.low, self.high) if values is not None}
        if len(lengths) != 1:
            raise ValueError(f"Series {self.name!r}: x, y, low and high differ in length: {sorted(lengths)}")

    @classmethod
    def of(cls, name: str, x: list[Any], quantities: list[Any]) -> Series:
        """From tagged numbers; their intervals become the error band."""
        tags = {quantity.tag for quantity in quantities}
        if len(tags) != 1:
            raise ValueError(f"Series {name!r}: one origin for a line, got {sorted(tags)}; make two series")
        tag = tags.pop()
        y = [quantity.value for quantity in quantities]
        if tag != "measured" or any(quantity.low is None for quantity in quantities):
            return cls(name, x, y, tag=tag)
        return cls(name, x, y, [q.low for q in quantities], [q.high for q in quantities], tag)


@dataclass
class Chart:
    """Lines or bars. `marks` are vertical lines, break-even points for instance: (x, label)."""

    title: str
    x_label: str
    y_label: str
    series: list[Series]
    kind: str = "line"
    x_scale: str = "linear"
    y_scale: str = "linear"
    marks: list[tuple[float, str]] = field(default_factory=list)
    level: float | None = None


@dataclass
class HeatMap:
    """A matrix as colours: `values` is a list of rows; `removed` cells are grey, blocks of columns framed."""

    title: str
    values: list[list[float]]
    x_label: str = ""
    y_label: str = ""
    color_label: str = ""
    color_scale: str = "linear"
    removed: list[list[bool]] | None = None
    block: int = 1
    tag: str = "measured"


@dataclass
class Connections:
    """A small network: one (inputs × outputs) matrix between each pair of layers; 0 is no connection."""

    title: str
    weights: list[list[list[float]]]
    tag: str = "measured"


Figure = Chart | HeatMap | Connections


@dataclass
class Summary:
    """One line of the closing table: what an optimization gains, what it costs, and when it hurts."""

    optimization: str
    speedup: Cell = None
    compression: Cell = None
    accuracy_loss: Cell = None
    pays_from: Cell = None
    hurts_when: str = ""

    def __post_init__(self) -> None:
        for name in ("speedup", "compression", "accuracy_loss", "pays_from"):
            _check_cell(getattr(self, name), f"Summary {self.optimization!r}, {name}")


@dataclass
class Section:
    """One experiment: what the technique is, what was found, and every sample behind it.

    `status` is ``"running"``, then ``"complete"``, ``"partial"`` (interrupted) or ``"failed"`` (with
    `error`).
    """

    name: str
    title: str
    introduction: list[str]
    sources: list[Source] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    samples: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    error: str = ""
    seconds: float = 0.0

    def say(self, text: str, **quantities: Quantity) -> None:
        """Add a finding."""
        self.statements.append(Statement(text, quantities))


@dataclass
class Record:
    """One run of the report."""

    effort: str
    machine: dict[str, Any]
    confidence: float
    claims: int
    sections: list[Section] = field(default_factory=list)
    noise: Quantity | None = None
    ceilings: dict[str, Quantity] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    seconds: float = 0.0
    schema: int = SCHEMA_VERSION

    @property
    def summaries(self) -> list[Summary]:
        """The closing table, from every section."""
        return [summary for section in self.sections for summary in section.summaries]


_TYPES = {
    kind.__name__: kind
    for kind in (
        Measured,
        Modelled,
        Quoted,
        Source,
        Statement,
        Table,
        Series,
        Chart,
        HeatMap,
        Connections,
        Summary,
        Section,
        Record,
        Race,
        Races,
        Breakeven,
    )
}


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and type(value).__name__ in _TYPES:
        fields = {item.name: _encode(getattr(value, item.name)) for item in dataclasses.fields(value)}
        tag = getattr(value, "tag", None)
        return {"type": type(value).__name__, **({"tag": tag} if tag else {}), **fields}
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "tolist"):
        return _encode(value.tolist())
    if isinstance(value, float):
        # JSON knows no NaN and no infinity, and a file that only some readers accept is no record.
        return value if math.isfinite(value) else {"type": "float", "value": str(value)}
    raise TypeError(
        f"to_json: cannot store a {type(value).__name__} in a record; "
        "use numbers, text, lists, dicts or records"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind == "float":
        return float(value["value"])
    if kind not in _TYPES:
        return {key: _decode(item) for key, item in value.items()}
    names = {item.name: item for item in dataclasses.fields(_TYPES[kind])}
    fields = {}
    for name, item in value.items():
        if name in names:
            decoded = _decode(item)
            # JSON has no tuples; a field annotated as one gets its own kind back.
            fields[name] = _tuples(decoded) if str(names[name].type).startswith("tuple") else decoded
    if kind == "Races":
        fields["seconds"] = {name: tuple(times) for name, times in fields["seconds"].items()}
    if kind == "Chart":
        fields["marks"] = [tuple(mark) for mark in fields["marks"]]
    return _TYPES[kind](**fields)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def to_json(record: Record) -> str:
    """The record as JSON, readable by any JSON reader."""
    return json.dumps(_encode(record), indent=1, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> Record:
    """The record back from `to_json`.

    Raises
    ------
    ValueError
        If the text is not a record, or one of another schema version.
    """
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"from_json: not JSON, or cut short ({error}); run `tinytorch report` again"
        ) from None
    if not isinstance(raw, dict) or raw.get("type") != "Record":
        raise ValueError("from_json: this JSON is not a TinyTorch record (its top level is no Record)")
    if raw.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"from_json: the record has schema {raw.get('schema')}, this TinyTorch reads {SCHEMA_VERSION}; "
            "read it with the version that wrote it (see its machine.tinytorch)"
        )
    try:
        return _decode(raw)
    except (TypeError, KeyError) as error:
        raise ValueError(f"from_json: the record is damaged ({error})") from None
