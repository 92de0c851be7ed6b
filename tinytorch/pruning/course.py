"""The course's functions, which change a model in place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..layers import Linear
from .masks import check_sparsity, named_layers, prunable_layers, prune, smallest


def measure_sparsity(model: Any) -> float:
    """The share of zeros, 0 to 1, among all parameters of the model."""
    parameters = {id(p): p.data for _, layer in named_layers(model) for p in layer.parameters()}.values()
    total = sum(p.size for p in parameters)
    return sum(int(np.count_nonzero(p == 0)) for p in parameters) / total if total else 0.0


def magnitude_prune(model: Any, sparsity: float = 0.5) -> Any:
    """Zeroes the share `sparsity` of each weight, the smallest first, in place; returns the model."""
    prune(model, sparsity, scope="layer")
    return model


def structured_prune(model: Any, prune_ratio: float = 0.5) -> Any:
    """Zeroes the outputs of least L2 norm of each Linear, column and bias, in place; returns the model.

    `remove_units` takes them out, and leaves the answer's outputs alone.
    """
    check_sparsity("structured_prune", prune_ratio)
    for layer in prunable_layers(model).values():
        if isinstance(layer, Linear):
            removed = smallest(
                np.linalg.norm(layer.weight.data, axis=0), int(layer.weight.shape[1] * prune_ratio)
            )
            layer.weight.data[:, removed] = 0
            if layer.bias is not None:
                layer.bias.data[removed] = 0
    return model


def compress_model(model: Any, compression_config: dict[str, float]) -> tuple[Any, dict[str, float]]:
    """Applies `magnitude_sparsity` and `structured_prune_ratio`, whichever are given, in place."""
    unknown = set(compression_config) - {"magnitude_sparsity", "structured_prune_ratio"}
    if unknown:
        raise ValueError(
            f"compress_model: unknown {sorted(unknown)}; it knows magnitude_sparsity, structured_prune_ratio"
        )
    original = measure_sparsity(model)
    if "magnitude_sparsity" in compression_config:
        magnitude_prune(model, compression_config["magnitude_sparsity"])
    if "structured_prune_ratio" in compression_config:
        structured_prune(model, compression_config["structured_prune_ratio"])
    final = measure_sparsity(model)
    ratio = (1 - original) / (1 - final) if final < 1 else math.inf
    return model, {"original_sparsity": original, "final_sparsity": final, "compression_ratio": ratio}


class Compressor:
    """The functions above under one name."""

    measure_sparsity = staticmethod(measure_sparsity)
    magnitude_prune = staticmethod(magnitude_prune)
    structured_prune = staticmethod(structured_prune)
    compress_model = staticmethod(compress_model)
