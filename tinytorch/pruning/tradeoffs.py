"""What pruning costs and brings on a trained network, measured on images that it has not seen.

The network is a `DenseMLP` trained on the shipped digits; accuracies are those of the 450 held-out images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from .. import _text, timing
from ..acceleration import InferenceModel, optimize
from ..dataloader import DataLoader, TensorDataset
from ..datasets import load_digits
from ..losses import CrossEntropyLoss
from ..optimizers import Adam
from ..quantization import quantize
from ..replacing import copy_model
from ..tensor import Tensor
from ..training import Trainer, manual_seed
from .masks import prune
from .pruner import DenseMLP, MagnitudePruner
from .sparse import sparsify
from .structured import remove_units

Array = np.ndarray

SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
ROWS = 32  # that the races run on


def analyze_pruning_accuracy_tradeoffs(
    sparsities: Sequence[float] = SPARSITIES, *, seconds: float = 0.2
) -> list[dict[str, Any]]:
    """Prune a trained network further and further, without training on; prints a table and returns its rows.

    Parameters
    ----------
    sparsities : sequence of float
        Shares of all weights that go.
    seconds : float
        For each race.

    Returns
    -------
    list of dict
        ``sparsity``, ``accuracy``, ``accuracy_drop`` (against the dense model), and what
        `MagnitudePruner.measure_inference_speedup` returns, all measured.
    """
    model, pruner = trained_digits(), MagnitudePruner()
    images, labels = _held_out()
    baseline = _accuracy(model, images, labels)
    rows = []
    for sparsity in sparsities:
        pruned = pruner.prune_by_magnitude(model, sparsity)
        accuracy = _accuracy(pruned, images, labels)
        measured = pruner.measure_inference_speedup(model, pruned, images[:ROWS], seconds=seconds)
        rows.append(
            measured | {"sparsity": sparsity, "accuracy": accuracy, "accuracy_drop": baseline - accuracy}
        )
    print(f"Dense: {100 * baseline:.1f} % of {len(labels)} held-out digits right (measured)")
    print(
        _text.table(
            ("zeros", "accuracy", "time, dense / sparse", "bytes, dense / sparse"),
            [
                (f"{100 * r['sparsity']:g} %", f"{100 * r['accuracy']:.1f} %",
                 f"{r['speedup']:.2f}× {r['verdict']}", f"{r['memory_reduction']:.2f}×")
                for r in rows
            ],
        )
    )  # fmt: skip
    return rows


def analyze_pruning_vs_quantization(
    sparsity: float = 0.8, *, seconds: float = 0.3
) -> dict[str, dict[str, Any]]:
    """Zeros against eight bits, and both: what each does to one network; prints a table and returns it.

    There is no sparse INT8 kernel: what is pruned and quantized is as large, and as fast, as what is
    quantized.

    Returns
    -------
    dict
        For ``dense``, ``pruned``, ``quantized`` and ``pruned and quantized``: ``accuracy``, ``bytes``,
        ``time_ms``, ``speedup`` and ``verdict`` against the dense one, all measured.
    """
    model = trained_digits()
    pruned = MagnitudePruner().prune_by_magnitude(model, sparsity)
    calibration = _features("train")[0][:100]
    runs = {
        "dense": optimize(model),
        "pruned": sparsify(pruned, measure=False),
        "quantized": quantize(model, calibration),
        "pruned and quantized": quantize(pruned, calibration),
    }
    return _compared(f"{100 * sparsity:g} % zeros against INT8", runs, seconds)


def explore_production_pruning(sparsity: float = 0.75, *, seconds: float = 0.3) -> dict[str, dict[str, Any]]:
    """The patterns that zeros may lie in, and what they bring here; prints a table and returns it.

    Returns
    -------
    dict
        For ``dense``, ``single weights``, ``blocks of 4``, ``2:4`` (which is half zeros whatever `sparsity`
        says) and ``whole neurons``, as `analyze_pruning_vs_quantization` has it.
    """
    model = trained_digits()

    def sparse(share: float | str, block: int = 1) -> InferenceModel:
        pruned = copy_model("explore_production_pruning", model)
        prune(pruned, share, block=block)
        return sparsify(pruned, block=block, measure=False)

    runs = {
        "dense": optimize(model),
        "single weights": sparse(sparsity),
        "blocks of 4": sparse(sparsity, block=4),
        "2:4": sparse("2:4"),
        "whole neurons": optimize(remove_units(model, sparsity)),
    }
    return _compared(f"{100 * sparsity:g} % pruned, in four patterns", runs, seconds)


def _compared(title: str, runs: dict[str, InferenceModel], seconds: float) -> dict[str, dict[str, Any]]:
    """Race models against the first of them; prints and returns what came of it."""
    images, labels = _held_out()
    races = timing.race_many(
        {name: partial(run, images[:ROWS]) for name, run in runs.items()},
        seconds=seconds, claims=len(runs) - 1, compare=False,
    )  # fmt: skip
    first = next(iter(runs))
    found: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        race = races.between(first, name)
        found[name] = {
            "accuracy": _accuracy(run, images, labels),
            "bytes": run.nbytes,
            "time_ms": races.time(name).value * 1e3,
            "speedup": race.ratio.value,
            "verdict": "" if name == first else race.verdict,
        }
    print(f"{title}: batches of {ROWS}, {len(labels)} held-out digits (measured)")
    print(
        _text.table(
            ("", "accuracy", "kB", "ms", f"time, {first} / it"),
            [
                (name, f"{100 * r['accuracy']:.1f} %", f"{r['bytes'] / 1e3:.0f}", f"{r['time_ms']:.3f}",
                 f"{r['speedup']:.2f}× {r['verdict']}".strip())
                for name, r in found.items()
            ],
        )
    )  # fmt: skip
    return found


@cache
def trained_digits() -> DenseMLP:
    """A network (64, 512, 256, 10) that has learned the digits; always the same one. Copy it to change it."""
    manual_seed(0)
    model = DenseMLP(64, (512, 256), 10)
    images, labels = _features("train")
    loader = DataLoader(TensorDataset(Tensor(images), Tensor(labels)), 64, shuffle=True)
    Trainer(model, Adam(model.parameters(), lr=1e-3), CrossEntropyLoss(), progress=False).fit(loader, 12)
    model.eval()
    return model


def _features(split: str) -> tuple[Array, Array]:
    """Images as rows of 64 pixels, and their labels."""
    images, labels = load_digits(split=split)
    return images.reshape(len(images), -1), labels


def _held_out() -> tuple[Array, Array]:
    return _features("test")


def _accuracy(model: Any, images: Array, labels: Array) -> float:
    return float(np.mean(model.predict(images) == labels))
