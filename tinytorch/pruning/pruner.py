"""Magnitude pruning held in the hand: a network of arrays in and out, and a pruner for models and for arrays.

The course's names for what `masks.py`, `structured.py` and `sparse.py` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from .. import timing
from ..acceleration import InferenceModel, lower, optimize
from ..activations import GELU, ReLU, Sigmoid, Tanh
from ..autograd.engine import no_grad
from ..layers import Linear, Sequential
from ..replacing import copy_model
from ..tensor import MB_TO_BYTES, Tensor, as_tensor
from .masks import check_sparsity, checked_layers, magnitude_mask, prune
from .sparse import sparsify
from .structured import remove_units

Array = np.ndarray

ACTIVATIONS = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "gelu": GELU}


class DenseMLP(Sequential):
    """Linear layers with an activation between them: rows of features to logits.

    Arrays give arrays, without a graph; a Tensor gives a Tensor, so it trains like any other model.

    Parameters
    ----------
    input_size : int
    hidden_sizes : sequence of int
    output_size : int
        Classes.
    activation : "relu", "tanh", "sigmoid" or "gelu"
    """

    def __init__(
        self,
        input_size: int = 784,
        hidden_sizes: Sequence[int] = (512, 256, 128),
        output_size: int = 10,
        activation: str = "relu",
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"DenseMLP: activation is {activation!r}, must be one of {', '.join(ACTIVATIONS)}"
            )
        layers: list[Any] = []
        for fan_in, fan_out in pairwise((input_size, *hidden_sizes, output_size)):
            layers += [Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
        super().__init__(*layers[:-1])  # no activation after the logits

    def forward(self, x: Any) -> Any:
        """Logits (N, output_size) of features (N, input_size), of the kind that x is."""
        if isinstance(x, Tensor):
            return super().forward(x)
        with no_grad():
            return super().forward(as_tensor(np.asarray(x, np.float32))).data

    def predict(self, x: Any) -> Array:
        """The class of each row, (N,)."""
        return as_tensor(self.forward(x)).data.argmax(axis=-1)

    def count_parameters(self) -> int:
        """Weights and biases."""
        return sum(p.size for p in self.parameters())

    def count_nonzero_parameters(self) -> int:
        """Those that are not zero."""
        return sum(int(np.count_nonzero(p.data)) for p in self.parameters())

    def get_memory_usage_mb(self) -> float:
        """Megabytes of the arrays as they are held. Zeros take as many as other numbers do."""
        return sum(p.data.nbytes for p in self.parameters()) / MB_TO_BYTES


class MagnitudePruner:
    """Removes the smallest weights, of a model or of one array, and measures what came of it."""

    # --- a model --------------------------------------------------------------------------------------------

    def analyze_weight_distribution(self, model: Any) -> dict[str, dict[str, float]]:
        """How large the weights of each layer are; ``overall`` has all layers together.

        Returns
        -------
        dict
            By layer: ``total_weights``, ``mean``, ``std``, ``min``, ``max`` and, of the magnitudes,
            ``percentile_10`` ... ``percentile_90``.
        """
        layers = checked_layers("MagnitudePruner.analyze_weight_distribution", model)
        weights = {name: layer.weight.data.ravel() for name, layer in layers.items()}
        weights["overall"] = np.concatenate(list(weights.values()))
        return {name: _distribution(w) for name, w in weights.items()}

    def prune_by_magnitude(self, model: Any, sparsity: float, structured: bool = False) -> Any:
        """A pruned copy; the model stays as it is.

        Parameters
        ----------
        sparsity : float
            The share that goes, from 0 to below 1.
        structured : bool
            False zeroes the smallest of all the model's weights, under one threshold. True takes the weakest
            neurons out of each hidden layer, so that the copy is a smaller ordinary model.
        """
        if structured:
            return remove_units(model, sparsity)
        pruned = copy_model("MagnitudePruner.prune_by_magnitude", model)
        prune(pruned, sparsity, scope="global")
        return pruned

    def measure_inference_speedup(
        self, dense: Any, sparse: Any, x: Any, *, seconds: float = 0.3
    ) -> dict[str, Any]:
        """Race a model against its pruned copy, whose zeros are neither stored nor multiplied.

        Each product that holds zeros runs on the sparse kernel, whether that pays or not; `sparsify` takes it
        only where it does. The dense model is the faster of two: its weights as they lie, or packed.

        Parameters
        ----------
        dense, sparse
            Models that apply layers one after the other.
        x : array (N, ...)
            What both run on. Fewer rows favour the sparse kernel.
        seconds : float
            For the race.

        Returns
        -------
        dict
            ``dense_time_ms``, ``sparse_time_ms``, ``speedup`` with ``speedup_interval`` and ``verdict``, all
            measured; ``sparsity``, the share of the dense model's weights and biases that is gone;
            ``memory_reduction``, bytes held by the dense over bytes held by the sparse; ``dense_params`` and
            ``sparse_params``, those that are not zero.
        """
        rows = as_tensor(x).data
        runs = {"plain": InferenceModel(lower(dense)), "packed": optimize(dense), "sparse": _running(sparse)}
        races = timing.race_many(
            {name: partial(run, rows) for name, run in runs.items()}, seconds=seconds, compare=False
        )
        fastest = min(("plain", "packed"), key=lambda name: races.time(name).value)
        race = races.between(fastest, "sparse")
        dense_params, sparse_params = (
            sum(int(np.count_nonzero(p.data)) for p in model.parameters()) for model in (dense, sparse)
        )
        return {
            "dense_time_ms": races.time(fastest).value * 1e3,
            "sparse_time_ms": races.time("sparse").value * 1e3,
            "speedup": race.ratio.value,
            "speedup_interval": [race.ratio.low, race.ratio.high],
            "verdict": race.verdict,
            "sparsity": 1 - sparse_params / sum(p.size for p in dense.parameters()),
            "memory_reduction": runs["plain"].nbytes / runs["sparse"].nbytes,
            "dense_params": dense_params,
            "sparse_params": sparse_params,
        }

    # --- one array ------------------------------------------------------------------------------------------

    def calculate_threshold(self, weights: Any, sparsity: float) -> float:
        """The largest magnitude among the share `sparsity` of the weights that are smallest; 0 for none."""
        check_sparsity("MagnitudePruner.calculate_threshold", sparsity)
        magnitudes = np.abs(checked_weights("MagnitudePruner.calculate_threshold", weights)).ravel()
        count = round(sparsity * magnitudes.size)
        return float(np.partition(magnitudes, count - 1)[count - 1]) if count else 0.0

    def create_mask(self, weights: Any, threshold: float) -> Array:
        """True where a weight is larger than the threshold by magnitude, in the shape of the weights."""
        return np.abs(checked_weights("MagnitudePruner.create_mask", weights)) > threshold

    def prune(self, weights: Any, sparsity: float = 0.7) -> tuple[Array, Array, dict[str, float]]:
        """The weights without the smallest.

        Parameters
        ----------
        weights : array of any shape
        sparsity : float
            The share that goes, exact to one weight, also where many have one magnitude.

        Returns
        -------
        pruned : array of the same shape
        mask : bool array, True where a weight is kept
        stats : dict
            ``target_sparsity``, ``actual_sparsity``, ``threshold``, ``original_params``, ``pruned_params``
            (those left), ``compression_ratio`` (the first over the second).
        """
        array = checked_weights("MagnitudePruner.prune", weights)
        mask = magnitude_mask(array, sparsity)
        kept = int(mask.sum())
        stats = {
            "target_sparsity": sparsity,
            "actual_sparsity": 1 - kept / array.size,
            "threshold": self.calculate_threshold(array, sparsity),
            "original_params": array.size,
            "pruned_params": kept,
            "compression_ratio": array.size / kept if kept else float("inf"),
        }
        return array * mask, mask, stats

    def measure_accuracy_impact(self, original_weights: Any, pruned_weights: Any) -> dict[str, float]:
        """How far pruned weights are from the original ones: what can be said without data.

        Returns
        -------
        dict
            ``mse``, ``max_error``, ``relative_error`` (the norm of the difference over the original's),
            ``energy_kept`` (the share of the sum of squares).
        """
        operation = "MagnitudePruner.measure_accuracy_impact"
        before = checked_weights(operation, original_weights)
        after = checked_weights(operation, pruned_weights)
        if before.shape != after.shape:
            raise ValueError(
                f"{operation}: weights before and after pruning must have one shape.\n"
                f"  original {before.shape}\n  pruned   {after.shape}"
            )
        error, norm = before - after, float(np.linalg.norm(before))
        return {
            "mse": float(np.mean(error**2)),
            "max_error": float(np.abs(error).max()),
            "relative_error": float(np.linalg.norm(error)) / norm if norm else 0.0,
            "energy_kept": (float(np.linalg.norm(after)) / norm) ** 2 if norm else 1.0,
        }


def checked_weights(operation: str, weights: Any) -> Array:
    """The weights as a float32 array, or the error that there are none, or that one is NaN."""
    array = np.asarray(weights.data if isinstance(weights, Tensor) else weights, np.float32)
    if array.ndim == 0 or not array.size:
        raise ValueError(f"{operation}: weights have shape {array.shape}; there is nothing to prune")
    if not np.isfinite(array).all():
        raise ValueError(f"{operation}: the weights hold NaN or infinity, which have no magnitude")
    return array


def _distribution(weights: Array) -> dict[str, float]:
    found: dict[str, float] = {"total_weights": weights.size}
    found |= {name: float(getattr(weights, name)()) for name in ("mean", "std", "min", "max")}
    shares = (10, 25, 50, 75, 90)
    return found | {
        f"percentile_{p}": float(value)
        for p, value in zip(shares, np.percentile(np.abs(weights), shares), strict=True)
    }


def _running(model: Any) -> InferenceModel:
    """The model for inference, with sparse kernels wherever a weight is zero."""
    any_zero = np.finfo(np.float32).tiny
    return sparsify(model, measure=False, least_sparsity=any_zero)
