"""Results as tables in a terminal, as JSON with every sample, and as plots."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.run import PEAK, Result
from tinytorch import timing, viz
from tinytorch.quantities import Measured

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "tinytorch-benchmarks/1"
STYLES = {"faster": "green", "slower": "red", "undecided": ""}
# Results that differ by more are not of the same computation; INT8 and INT4 differ by a percent or two.
SAME = 0.05


# ---- terminal ----


def show(results: Sequence[Result], console: Console) -> None:
    """A table for each family and number of threads, each with its summary."""
    for group in grouped(results):
        console.print(_table(group))
        for line in [*_doubts(group), summary(group)]:
            console.print(line, highlight=False)
        console.print()


def grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Results of the same family and threads together, in the order of their first appearance."""
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        groups.setdefault((result.family, result.threads), []).append(result)
    return list(groups.values())


def _table(group: Sequence[Result]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rivals = _names(group, "peers")
    forms = _names(group, "own")
    table = Table(title=_title(group), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("shape")
    for heading in ("time", "speed", "limit", "share", "noise", *rivals, *(f"own {name}" for name in forms)):
        table.add_column(heading, justify="right")
    for result in group:
        cells = [
            _short(result.time),
            _short(result.rate),
            _limit(result),
            _short(result.share),
            f"{100 * (result.noise - 1):.1f}%",
        ]
        ratios = [
            Text(_short(result.ratio(name)), style=STYLES[result.verdict(name)])
            if name in (*result.peers, *result.own)
            else Text("–")
            for name in (*rivals, *forms)
        ]
        table.add_row(result.shape, *cells, *ratios)
    return table


def _title(group: Sequence[Result]) -> str:
    threads = group[0].threads
    return f"{group[0].family}, {threads} thread{'s' if threads > 1 else ''}"


def _names(group: Sequence[Result], kind: str) -> list[str]:
    return list(dict.fromkeys(name for result in group for name in getattr(result, kind)))


def _short(quantity: Measured | None) -> str:
    """The value with half its interval's width, which a narrow column has room for."""
    if quantity is None:
        return "–"
    text = str(Measured(quantity.value, quantity.unit))
    if quantity.low is None or quantity.high is None:
        return text
    return f"{text} ±{50 * (quantity.high - quantity.low) / quantity.value:.0f}%"


def _limit(result: Result) -> str:
    if result.bound is None:
        return "–"
    return "arithmetic" if result.bound == PEAK else result.level


def _doubts(group: Sequence[Result]) -> list[str]:
    """Contenders that do not seem to compute the same."""
    return [
        f"[yellow]{result.shape}: the result of {name} differs from ours by {100 * difference:.2g}%[/]"
        for result in group
        for name, difference in result.differences.items()
        if not difference <= SAME
    ]


def summary(group: Sequence[Result]) -> str:
    """The geometric mean of the ratios to the best peer of each shape, and the worst of them."""
    ratios = {(r.shape, r.best_peer): r.ratio(r.best_peer) for r in group if r.best_peer}
    if not ratios:
        return f"{_title(group)}: no peer is installed for it."
    mean = geometric_mean([ratio.value for ratio in ratios.values()])
    (shape, peer), worst = min(ratios.items(), key=lambda entry: entry[1].value)
    return (
        f"{_title(group)}, against the best peer at each shape: geometric mean {mean:.3g}×; "
        f"worst {worst} at {shape} against {peer}."
    )


def geometric_mean(ratios: Sequence[float]) -> float:
    """The n-th root of the product: the mean for which 2 and 1/2 cancel out."""
    return math.exp(math.fsum(math.log(ratio) for ratio in ratios) / len(ratios))


# ---- JSON ----


def write_json(results: Sequence[Result], path: Path, *, seconds: float, complete: bool) -> None:
    """Every sample and what was concluded from it; no host and no user."""
    document = {
        "schema": SCHEMA,
        "complete": complete,
        "machine": timing.machine(),
        "peers": peers.versions(),
        "missing": peers.missing(),
        "seconds_for_each_case": seconds,
        "results": [_as_json(result) for result in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "family": result.family,
        "shape": result.shape,
        "threads": result.threads,
        "operations": result.operations,
        "read_bytes": result.read_bytes,
        "time": _quantity(result.time),
        "rate": _quantity(result.rate),
        "limit": _limit(result),
        "share": _quantity(result.share),
        "noise": result.noise,
        "peers": {name: _comparison(result, name) for name in result.peers},
        "own": {name: _comparison(result, name) for name in result.own},
        "samples": {
            name: {"seconds": list(seconds), "calls": result.races.repeats[name]}
            for name, seconds in result.races.seconds.items()
        },
    }


def _comparison(result: Result, name: str) -> dict[str, Any]:
    return {
        "ratio": _quantity(result.ratio(name)),
        "verdict": result.verdict(name),
        "difference": result.differences.get(name),
    }


def _quantity(quantity: Measured | None) -> dict[str, Any] | None:
    return None if quantity is None else vars(quantity)


# ---- plots ----


def write_plots(results: Sequence[Result], folder: Path) -> None:
    """One picture for each family and number of threads: how many times faster ours is than each peer."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in grouped(results):
        series = [_series(group, name) for name in _names(group, "peers")]
        if not series:
            continue
        figure = viz.bars(
            series,
            title=f"{_title(group)}: times as fast as",
            y_label="time of the peer / time of TinyTorch",
            y_scale="log",
            level=1.0,
        )
        name = f"{group[0].family}-{group[0].threads}.png".replace(", ", "-").replace(" ", "-")
        (folder / name).write_bytes(viz.png(figure))


def _series(group: Sequence[Result], peer: str) -> dict[str, Any]:
    """Ratios to one peer, at the shapes that have such a peer."""
    raced = [result for result in group if peer in result.peers]
    ratios = [result.ratio(peer) for result in raced]
    parts = (("y", "value"), ("low", "low"), ("high", "high"))
    columns = {key: [getattr(ratio, part) for ratio in ratios] for key, part in parts}
    return {"name": peer, "x": [result.shape for result in raced], **columns}
