"""A model as a dictionary of named arrays: which layers bear pruning, and what pruning took from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _text, kernels
from .arrays import NEAR_ZERO
from .pruner import MagnitudePruner, checked_weights

Array = np.ndarray

KINDS = {4: "Conv2D", 2: "Dense"}
NORM_KEPT = 0.9  # what the recommended sparsity leaves of a layer's norm


class ModelCompressor:
    """Prunes a model that is given as a dictionary of weights, layer by layer.

    Attributes
    ----------
    compressed_model : dict
        What `compress_model` returned last.
    compression_stats : dict
        ``total_original_params``, ``total_remaining_params``, ``overall_sparsity``, ``overall_compression``,
        ``layer_sparsities``, ``original_bytes`` and ``compressed_bytes``: each layer sparse where that is
        smaller, with the places of its weights counted.
    """

    def __init__(self) -> None:
        self.compressed_model: dict[str, dict[str, Any]] = {}
        self.compression_stats: dict[str, Any] = {}

    def analyze_model_for_compression(self, model_weights: Mapping[str, Any]) -> dict[str, Any]:
        """Print and return what each layer's weights look like, and how many may go.

        Parameters
        ----------
        model_weights : name to array
            (out, in) of a linear layer, (O, I, kh, kw) of a convolution; others, such as biases, stay whole.

        Returns
        -------
        dict
            ``layers``, by name: ``type``, ``shape``, ``parameters``, ``natural_sparsity`` (the percentage
            within a tenth of the mean magnitude), ``recommended_sparsity`` (the share whose removal
            leaves 90 % of the layer's norm: a guess without data, where
            `sensitivity` measures).
            ``total_params``, ``compressible_params``, ``compression_potential`` (their ratio).
        """
        arrays = _arrays("ModelCompressor.analyze_model_for_compression", model_weights)
        layers = {name: _described(array) for name, array in arrays.items()}
        total = sum(array.size for array in arrays.values())
        compressible = sum(d["parameters"] for d in layers.values() if d["type"] != "Other")
        print(
            _text.table(
                ("layer", "type", "weights", "near zero", "may go"),
                [
                    (name, d["type"], f"{d['parameters']:,}", f"{d['natural_sparsity']:.1f} %",
                     f"{100 * d['recommended_sparsity']:.0f} %")
                    for name, d in layers.items()
                ],
            )
        )  # fmt: skip
        return {
            "layers": layers,
            "total_params": total,
            "compressible_params": compressible,
            "compression_potential": compressible / total,
        }

    def compress_model(
        self, model_weights: Mapping[str, Any], layer_sparsities: Mapping[str, float] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Prune each layer by magnitude; prints a table.

        Parameters
        ----------
        model_weights : name to array
            They stay as they are.
        layer_sparsities : name to share, optional
            Layers that it does not name stay whole. What `analyze_model_for_compression` recommends, unless
            given.

        Returns
        -------
        dict
            By name: ``weights``, ``mask``, ``original_shape``, ``stats`` of `MagnitudePruner.prune`.
        """
        operation = "ModelCompressor.compress_model"
        arrays = _arrays(operation, model_weights)
        if layer_sparsities is None:
            layers = self.analyze_model_for_compression(arrays)["layers"]
            layer_sparsities = {name: layer["recommended_sparsity"] for name, layer in layers.items()}
        if unknown := [name for name in layer_sparsities if name not in arrays]:
            raise ValueError(f"{operation}: there is no layer {unknown[0]!r}; there are {', '.join(arrays)}")
        compressed: dict[str, dict[str, Any]] = {}
        rows, stored = [], 0
        for name, array in arrays.items():
            pruned, mask, stats = MagnitudePruner().prune(array, layer_sparsities.get(name, 0.0))
            compressed[name] = {
                "weights": pruned, "mask": mask, "original_shape": array.shape, "stats": stats,
            }  # fmt: skip
            held = min(array.nbytes, kernels.SparseMatrix.from_dense(_rows(pruned)).nbytes)
            stored += held
            share = f"{100 * stats['actual_sparsity']:.1f} %"
            rows.append((name, share, f"{array.nbytes / 1e3:.1f}", f"{held / 1e3:.1f}"))
        original = sum(array.size for array in arrays.values())
        remaining = sum(layer["stats"]["remaining_params"] for layer in compressed.values())
        self.compressed_model = compressed
        self.compression_stats = {
            "total_original_params": original,
            "total_remaining_params": remaining,
            "overall_sparsity": 1 - remaining / original,
            "overall_compression": original / remaining if remaining else float("inf"),
            "layer_sparsities": dict(layer_sparsities),
            "original_bytes": sum(array.nbytes for array in arrays.values()),
            "compressed_bytes": stored,
        }
        print(_text.table(("layer", "zeros", "kB before", "kB after"), rows))
        return compressed

    def validate_compression_quality(
        self, original_weights: Mapping[str, Any], compressed_model: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Print and return how near the pruned weights are to the original ones.

        It looks at weights only. How often the model is right is another matter, and needs data.

        Returns
        -------
        dict
            ``layer_quality``, by name: ``mean_error``, ``max_error``, ``norm_preservation``,
            ``quality_score`` (what is left of the norm times what is left of the sum of magnitudes, 0 to 1).
            ``overall_quality``: ``mean_quality_score``, ``quality_std``, ``min_quality``, ``max_quality``.
            ``quality_score``: their mean again.
        """
        operation = "ModelCompressor.validate_compression_quality"
        arrays = _arrays(operation, original_weights)
        if missing := [name for name in arrays if name not in compressed_model]:
            raise ValueError(f"{operation}: the compressed model has no layer {missing[0]!r}")
        quality = {name: _quality(w, compressed_model[name]["weights"]) for name, w in arrays.items()}
        scores = np.array([layer["quality_score"] for layer in quality.values()])
        print(
            _text.table(
                ("layer", "mean error", "norm left", "score"),
                [
                    (
                        name,
                        f"{q['mean_error']:.6f}",
                        f"{q['norm_preservation']:.3f}",
                        f"{q['quality_score']:.3f}",
                    )
                    for name, q in quality.items()
                ],
            )
        )
        return {
            "layer_quality": quality,
            "overall_quality": {
                "mean_quality_score": float(scores.mean()),
                "quality_std": float(scores.std()),
                "min_quality": float(scores.min()),
                "max_quality": float(scores.max()),
            },
            "quality_score": float(scores.mean()),
        }


def _arrays(operation: str, model_weights: Mapping[str, Any]) -> dict[str, Array]:
    if not isinstance(model_weights, Mapping):
        raise TypeError(
            f"{operation}: model_weights must be a dictionary of arrays by name, such as a model's "
            f"state_dict(), got {type(model_weights).__name__}"
        )
    if not model_weights:
        raise ValueError(f"{operation}: model_weights is empty; there is nothing to compress")
    return {name: checked_weights(f"{operation}, {name}", weights) for name, weights in model_weights.items()}


def _rows(weights: Array) -> Array:
    return weights.reshape(len(weights), -1)


def _described(weights: Array) -> dict[str, Any]:
    magnitudes = np.sort(np.abs(weights), axis=None)
    kind = KINDS.get(weights.ndim, "Other")
    energy = np.cumsum(magnitudes.astype(np.float64) ** 2)
    may_go = np.searchsorted(energy, (1 - NORM_KEPT**2) * energy[-1], side="right")
    return {
        "type": kind,
        "shape": weights.shape,
        "parameters": weights.size,
        "natural_sparsity": 100 * float((magnitudes <= NEAR_ZERO * magnitudes.mean()).mean()),
        "recommended_sparsity": 0.0 if kind == "Other" else float(may_go / weights.size),
    }


def _quality(before: Array, after: Array) -> dict[str, float]:
    impact = MagnitudePruner().measure_accuracy_impact(before, after)
    mean, norm = float(np.abs(before).mean()), impact["weight_norm_preservation"]
    left = 1 - impact["mean_absolute_error"] / mean if mean else 1.0
    return {
        "mean_error": impact["mean_absolute_error"],
        "max_error": impact["max_absolute_error"],
        "norm_preservation": norm,
        "quality_score": min(max(norm * left, 0.0), 1.0),
    }
