"""Pruning on plain arrays of weights, (out, in) or (O, I, kh, kw): what goes, what is left, what it brings.

The lecture's names. A model of layers is pruned by `prune`, `remove_units` and `sparsify`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _text, kernels, timing
from .masks import check_sparsity, smallest
from .pruner import MagnitudePruner, checked_weights

Array = np.ndarray

NEAR_ZERO = 0.1  # of the mean magnitude: below that, a weight counts as near zero
IMAGE_SIDE = 16  # of the images that convolutions are raced on


def analyze_weight_redundancy(weights: Any, title: str = "Weight Analysis") -> dict[str, Any]:
    """Print and return how many weights are small.

    Parameters
    ----------
    weights : array of any shape
    title : str

    Returns
    -------
    dict
        ``total_params``, ``mean_abs``, ``std`` (of the magnitudes), ``natural_sparsity`` (the percentage that
        is within a tenth of the mean magnitude), ``percentiles`` of the magnitudes, by percentage.
    """
    magnitudes = np.abs(checked_weights("analyze_weight_redundancy", weights)).ravel()
    mean = float(magnitudes.mean())
    shares = (50, 70, 80, 90, 95, 99)
    percentiles = dict(zip(shares, map(float, np.percentile(magnitudes, shares)), strict=True))
    natural = 100 * float((magnitudes <= NEAR_ZERO * mean).mean())
    rows = [(f"{share} % of the weights are up to", f"{value:.6f}") for share, value in percentiles.items()]
    print(_text.table((title, f"{magnitudes.size:,} weights"), [("mean magnitude", f"{mean:.6f}"), *rows]))
    print(f"{natural:.1f} % are within a tenth of the mean")
    return {
        "total_params": magnitudes.size,
        "mean_abs": mean,
        "std": float(magnitudes.std()),
        "natural_sparsity": natural,
        "percentiles": percentiles,
    }


# --- a convolution ------------------------------------------------------------------------------------------


def prune_conv_filters(conv_weights: Any, sparsity: float = 0.5) -> tuple[Array, list[int], dict[str, Any]]:
    """The weights of a convolution without its weakest filters.

    Parameters
    ----------
    conv_weights : array (O, I, kh, kw)
    sparsity : float
        The share of the filters that goes, those of least L2 norm; one stays in any case. What reads them
        loses as many input channels: `remove_units` sees to that in a model.

    Returns
    -------
    pruned : array (O - removed, I, kh, kw)
    kept : list of int
        Which filters stayed, ascending.
    stats : dict
        ``original_filters``, ``remaining_filters``, ``pruned_filters``, ``target_sparsity``,
        ``actual_sparsity``, ``compression_ratio``, ``filter_norms``, ``kept_filter_indices``.
    """
    weights = _conv_weights("prune_conv_filters", conv_weights)
    check_sparsity("prune_conv_filters", sparsity)
    filters = len(weights)
    norms = np.linalg.norm(weights.reshape(filters, -1), axis=1)
    removed = smallest(norms, min(round(sparsity * filters), filters - 1))
    kept = np.flatnonzero(~removed).tolist()
    stats = {
        "original_filters": filters,
        "remaining_filters": len(kept),
        "pruned_filters": filters - len(kept),
        "target_sparsity": sparsity,
        "actual_sparsity": 1 - len(kept) / filters,
        "compression_ratio": filters / len(kept),
        "filter_norms": norms,
        "kept_filter_indices": kept,
    }
    return weights[kept], kept, stats


def compare_structured_vs_unstructured(
    conv_weights: Any, sparsity: float = 0.5, *, seconds: float = 0.3
) -> dict[str, tuple[Array, dict[str, Any]]]:
    """Zeros anywhere against whole filters gone, both raced against the dense convolution; prints a table.

    Parameters
    ----------
    conv_weights : array (O, I, kh, kw)
    sparsity : float
        The share that goes, of the weights and of the filters.

    Returns
    -------
    dict
        ``unstructured`` and ``structured``: the pruned weights, and the statistics of `MagnitudePruner.prune`
        or `prune_conv_filters` with, measured on one image of 16 x 16 pixels, ``time_ms``, ``speedup`` and
        ``verdict``, and ``bytes`` of what is stored.
    """
    weights = _conv_weights("compare_structured_vs_unstructured", conv_weights)
    zeros, _, zeros_stats = MagnitudePruner().prune(weights, sparsity)
    fewer, _, fewer_stats = prune_conv_filters(weights, sparsity)
    _, channels, *size = weights.shape
    padding = (size[0] // 2, size[1] // 2)
    x = np.random.default_rng(0).standard_normal((1, channels, IMAGE_SIDE, IMAGE_SIDE)).astype(np.float32)
    sparse, dense, small = _as_sparse(zeros), kernels.pack(weights), kernels.pack(fewer)
    runs: dict[str, Callable[[], Array]] = {
        "dense": lambda: kernels.conv2d(x, dense, padding=padding),
        "unstructured": lambda: kernels.sparse_conv2d(x, sparse, (size[0], size[1]), padding=padding),
        "structured": lambda: kernels.conv2d(x, small, padding=padding),
    }
    races = timing.race_many(runs, seconds=seconds, claims=2, compare=False)
    found: dict[str, tuple[Array, dict[str, Any]]] = {}
    for name, pruned, stats, held in (
        ("unstructured", zeros, zeros_stats, sparse.nbytes),
        ("structured", fewer, fewer_stats, fewer.nbytes),
    ):
        race = races.between("dense", name)
        measured = {"time_ms": races.time(name).value * 1e3, "speedup": race.ratio.value, "bytes": held}
        found[name] = pruned, stats | measured | {"verdict": race.verdict}
    print(
        _text.table(
            (f"dense {weights.shape}", "shape", "removed", "kB", "time, dense / it (measured)"),
            [
                (name, pruned.shape, f"{100 * s['actual_sparsity']:.1f} %", f"{s['bytes'] / 1e3:.1f}",
                 f"{s['speedup']:.2f}× {s['verdict']}")
                for name, (pruned, s) in found.items()
            ],
        )
    )  # fmt: skip
    return found


def _conv_weights(operation: str, weights: Any) -> Array:
    array = checked_weights(operation, weights)
    if array.ndim != 4:
        raise ValueError(
            f"{operation}: conv_weights must be (filters, channels, height, width), got {array.shape}"
        )
    return array


def _as_sparse(weights: Array) -> kernels.SparseMatrix:
    return kernels.SparseMatrix.from_dense(weights.reshape(len(weights), -1))


# --- a linear layer -----------------------------------------------------------------------------------------


class SparseLinear:
    """One linear layer, x @ weights.T + bias, dense and sparse side by side.

    Attributes
    ----------
    dense_weights, sparse_weights : array (out_features, in_features), or None
        Before and after pruning; the second has its zeros in place.
    mask : bool array of that shape, or None
        True where a weight is kept.
    bias : array (out_features,), or None
    sparsity : float
        The share that is gone.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.dense_weights: Array | None = None
        self.sparse_weights: Array | None = None
        self.mask: Array | None = None
        self.bias: Array | None = None
        self.sparsity = 0.0
        self._stored: kernels.SparseMatrix | None = None

    def load_dense_weights(self, weights: Any, bias: Any = None) -> None:
        """Take weights (out_features, in_features) and a bias (out_features,), zeros unless given."""
        array = checked_weights("SparseLinear.load_dense_weights", weights)
        expected = (self.out_features, self.in_features)
        if array.shape != expected:
            cure = "; transpose them: weights.T" if array.shape == expected[::-1] else ""
            raise ValueError(
                f"SparseLinear.load_dense_weights: weights must be (out_features, in_features) = {expected}, "
                f"got {array.shape}{cure}"
            )
        held = np.zeros(self.out_features, np.float32) if bias is None else np.array(bias, np.float32)
        if held.shape != (self.out_features,):
            raise ValueError(
                f"SparseLinear.load_dense_weights: bias must be ({self.out_features},), got {held.shape}"
            )
        self.dense_weights, self.bias = array.copy(), held
        self.sparse_weights, self.mask, self._stored, self.sparsity = None, None, None, 0.0

    def prune_weights(self, sparsity: float = 0.7) -> None:
        """Remove the share `sparsity` of the weights, the smallest; prints what is left."""
        self.sparse_weights, self.mask, stats = MagnitudePruner().prune(self._dense(), sparsity)
        self._stored = _as_sparse(self.sparse_weights)
        self.sparsity = stats["actual_sparsity"]
        print(
            f"Pruned {100 * self.sparsity:.1f} % of {self.mask.size:,} weights: "
            f"{self.sparse_weights.nbytes:,} bytes dense, {self._stored.nbytes:,} sparse"
        )

    def forward_dense(self, x: Any) -> Array:
        """(..., in_features) to (..., out_features), by all weights as they were loaded."""
        return kernels.linear(x, self._dense().T, self.bias)

    def forward_sparse_naive(self, x: Any) -> Array:
        """By the pruned weights, with each zero multiplied like any other number: no faster than dense."""
        self._pruned()
        assert self.sparse_weights is not None
        return kernels.linear(x, self.sparse_weights.T, self.bias)

    def forward_sparse_optimized(self, x: Any) -> Array:
        """By the weights that are left: the sparse kernel neither stores nor multiplies the others."""
        return kernels.sparse_linear(x, self._pruned(), self.bias)

    def benchmark_speedup(self, batch_size: int = 32, iterations: int = 100) -> dict[str, Any]:
        """Race the sparse kernel against the dense one.

        Parameters
        ----------
        batch_size : int
            Rows. Fewer favour the sparse kernel.
        iterations : int
            Rounds of the race.

        Returns
        -------
        dict
            Measured, for one call: ``dense_time_ms`` (the faster of weights as they lie and packed ones),
            ``sparse_time_ms``, ``actual_speedup``, ``verdict``. Counted, for one row: ``dense_ops`` and
            ``sparse_ops``, multiplications; ``theoretical_speedup``, their ratio. ``efficiency`` is the
            measured over the counted, ``sparsity`` the share that is gone.
        """
        sparse, weights = self._pruned(), np.ascontiguousarray(self._dense().T)
        if batch_size < 1:
            raise ValueError(
                f"SparseLinear.benchmark_speedup: batch_size counts rows, it can't be {batch_size}"
            )
        packed = kernels.pack(weights)
        x = np.random.default_rng(0).standard_normal((batch_size, self.in_features)).astype(np.float32)
        runs: dict[str, Callable[[], Array]] = {
            "plain": lambda: kernels.linear(x, weights, self.bias),
            "packed": lambda: kernels.linear(x, packed, self.bias),
            "sparse": lambda: kernels.sparse_linear(x, sparse, self.bias),
        }
        races = timing.race_many(runs, rounds=iterations, compare=False)
        fastest = min(("plain", "packed"), key=lambda name: races.time(name).value)
        race = races.between(fastest, "sparse")
        dense_ops, sparse_ops = weights.size, int(np.count_nonzero(sparse.values))
        theoretical = dense_ops / sparse_ops if sparse_ops else float("inf")
        return {
            "dense_time_ms": races.time(fastest).value * 1e3,
            "sparse_time_ms": races.time("sparse").value * 1e3,
            "dense_ops": dense_ops,
            "sparse_ops": sparse_ops,
            "theoretical_speedup": theoretical,
            "actual_speedup": race.ratio.value,
            "verdict": race.verdict,
            "sparsity": self.sparsity,
            "efficiency": race.ratio.value / theoretical,
        }

    def _dense(self) -> Array:
        if self.dense_weights is None:
            raise ValueError("SparseLinear: it has no weights yet; call load_dense_weights(weights) first")
        return self.dense_weights

    def _pruned(self) -> kernels.SparseMatrix:
        self._dense()
        if self._stored is None:
            raise ValueError("SparseLinear: its weights are not pruned yet; call prune_weights(0.7) first")
        return self._stored


SPEEDUP_CASES = ((256, 512, 0.5), (512, 1024, 0.7), (1024, 2048, 0.8), (2048, 4096, 0.9))


def benchmark_sparse_inference_speedup(
    cases: Sequence[tuple[int, int, float]] = SPEEDUP_CASES, *, batch_size: int = 16, iterations: int = 20
) -> list[dict[str, Any]]:
    """Race sparse layers of some sizes, (in, out, sparsity), against dense ones; prints a table.

    Returns
    -------
    list of dict
        ``size`` (in, out) and what `SparseLinear.benchmark_speedup` returns.
    """
    rng, rows = np.random.default_rng(0), []
    for inputs, outputs, sparsity in cases:
        layer = SparseLinear(inputs, outputs)
        layer.load_dense_weights(rng.normal(0, 0.1, (outputs, inputs)))
        layer.prune_weights(sparsity)
        rows.append({"size": (inputs, outputs), **layer.benchmark_speedup(batch_size, iterations)})
    print(
        _text.table(
            ("size", "zeros", "fewer products", "measured gain", "of what is possible"),
            [
                (f"{r['size'][0]} x {r['size'][1]}", f"{100 * r['sparsity']:.0f} %",
                 f"{r['theoretical_speedup']:.1f}×", f"{r['actual_speedup']:.2f}× {r['verdict']}",
                 f"{100 * r['efficiency']:.0f} %")
                for r in rows
            ],
        )
    )  # fmt: skip
    return rows
