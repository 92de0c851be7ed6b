"""``tinytorch profile``: where a model's time goes, layer by layer."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import EXIT_OK, positive

if TYPE_CHECKING:
    from tinytorch.profiling import LayerTable, Roofline

LENGTH = 64  # tokens of a text, unless given
FACTOR = 4.0


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    profile = commands.add_parser(
        "profile",
        help="measure a model layer by layer",
        description="Measure a forward pass layer by layer, under this machine's ceilings.",
    )
    profile.add_argument(
        "model", metavar="MODEL", help="mlp, lenet, cnn or gpt, or a file that `tinytorch train` wrote"
    )
    profile.add_argument("--batch", type=positive, default=1, metavar="N", help="samples in the batch (1)")
    profile.add_argument("--length", type=positive, default=LENGTH, metavar="N", help=f"tokens ({LENGTH})")
    profile.add_argument("--trace", type=Path, metavar="FILE", help="write a timeline for ui.perfetto.dev")
    profile.add_argument("--json", action="store_true", help="as JSON")
    profile.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and show; returns the exit code."""
    from tinytorch import profiling

    model = _model(options.model)
    x = _batch(model, options.batch, options.length)
    table = profiling.profile_layers(model, x)
    points = table.rooflines()
    if options.trace:
        profiling.trace(model, x).save(options.trace)
        print(f"wrote {options.trace}; open it in ui.perfetto.dev or chrome://tracing", file=sys.stderr)
    if options.json:
        print(json.dumps(_as_data(table, points), indent=1, ensure_ascii=False))
    else:
        print(f"{table}\n\n{_under_the_ceilings(points)}\n\n{_worth(table)}")
    return EXIT_OK


def _model(name: str) -> Any:
    """One of the shipped models, untrained, for that changes no time; or one from a file."""
    from tinytorch import models

    kinds: dict[str, Callable[[], Any]] = {
        "mlp": models.MLPClassifier,
        "lenet": models.LeNet,
        "cnn": models.DigitsCNN,
        "gpt": lambda: models.char_gpt(vocab_size=96),
    }
    if name not in kinds:
        if Path(name).exists():
            return _watchable(name, models.load_model(name)[0])
        raise ValueError(f"profile: {name!r} is neither a file nor one of {', '.join(kinds)}")
    model = kinds[name]()
    model.eval()
    return model


def _watchable(path: str, model: Any) -> Any:
    """The model, if it has layers that can be watched one by one."""
    from tinytorch.module import Module

    if not isinstance(model, Module):
        raise ValueError(
            f"profile: {path} holds an {type(model).__name__}, whose stages run as one and cannot be watched "
            "one by one; profile the float32 model that it was made of"
        )
    return model


def _batch(model: Any, batch: int, length: int) -> Any:
    """An input of the shape that the model takes; its numbers change no time."""
    import numpy as np

    from tinytorch.layers import Linear
    from tinytorch.spatial import Conv2d
    from tinytorch.tensor import Tensor

    rng = np.random.default_rng(0)
    if hasattr(model, "vocab_size"):
        if length > model.max_seq_len:
            raise ValueError(
                f"profile: --length {length} is more than this model's {model.max_seq_len} tokens"
            )
        return rng.integers(0, model.vocab_size, (batch, length))
    first = next(layer for layer in model.modules() if isinstance(layer, (Conv2d, Linear)))
    if isinstance(first, Conv2d):
        shape = (batch, first.weight.shape[1], 32, 32)
    else:
        shape = (batch, first.weight.shape[0])
    return Tensor(rng.standard_normal(shape, dtype=np.float32))


def _under_the_ceilings(points: list[Roofline]) -> str:
    from tinytorch import _text

    rows = [
        (
            point.name,
            f"{point.intensity:.3g}",
            f"{point.speed.value:.3g}",
            f"{point.ceiling.value:.3g}",
            f"{100 * point.speed.value / point.ceiling.value:.0f} %",
            point.bound,
        )
        for point in points
    ]
    header = ("layer", "operations for each byte", "GFLOP/s", "ceiling", "of it", "bound by")
    note = (
        f"Ceilings measured on this machine: {points[0].peak} and {points[0].bandwidth} from main memory; "
        "what lies in a cache may exceed the second."
        if points
        else ""
    )
    return f"{_text.table(header, rows)}\n{note}"


def _heaviest(table: LayerTable) -> str:
    """The layer without layers inside it that takes most."""
    return max(table.rows[1:] or table.rows, key=lambda row: row.share.value).name


def _worth(table: LayerTable) -> str:
    """What a faster layer would be worth, for the layer that takes most."""
    from tinytorch.profiling import amdahl, what_if

    name = _heaviest(table)
    share = table.share(name)
    most = amdahl(share.value / 100, float("inf"))
    return (
        f"If {name} ({share} of the time) were {FACTOR:g}× faster, the whole would be "
        f"{what_if(table, name, FACTOR)} faster; if it took no time at all, {most:.2f}× (modelled: Amdahl's "
        "law)."
    )


def _as_data(table: LayerTable, points: list[Roofline]) -> dict[str, Any]:
    from tinytorch.profiling import what_if

    name = _heaviest(table)
    return {
        "machine": table.machine,
        "whole": dataclasses.asdict(table.whole),
        "added_up": dataclasses.asdict(table.added_up),
        "peak_bytes": table.peak_bytes.value,
        "layers": [dataclasses.asdict(row) for row in table.rows],
        "rooflines": [dataclasses.asdict(point) for point in points],
        "what_if": {
            "layer": name, "factor": FACTOR, **dataclasses.asdict(what_if(table, name, FACTOR))
        },
    }  # fmt: skip
