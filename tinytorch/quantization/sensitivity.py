"""Which layer suffers: one layer at a time is rounded, and the whole model is asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.autograd import no_grad
from tinytorch.module import Module
from tinytorch.replacing import copy_model, replace_layers
from tinytorch.tensor import Tensor, from_numpy

from .convert import Batches, batches_of
from .observers import observer_type, quantize_weight
from .scales import Array
from .training import aware_layer

BATCH = 256


@dataclass(frozen=True)
class LayerSensitivity:
    """What rounding one layer does to the model.

    Attributes
    ----------
    name : str
        The layer's dotted name in the model.
    shape : tuple of int
        Of its weight.
    error : float
        Root mean square of the change of the outputs, over that of the outputs.
    score : float or None
        What `score` says of the outputs.
    """

    name: str
    shape: tuple[int, ...]
    error: float
    score: float | None


@no_grad()
def sensitivity(
    model: Module,
    inputs: Any,
    calibration: Batches | None = None,
    *,
    weight_bits: int = 8,
    activation_bits: int | None = 8,
    observer: Any = "minmax",
    score: Callable[[Array], float] | None = None,
) -> list[LayerSensitivity]:
    """Quantize each Linear and Conv2d alone, and measure what the model's outputs lose.

    Parameters
    ----------
    model : Module
        A trained float32 model; it is left alone.
    inputs : array or Tensor (N, ...)
        What to judge by: held-out samples.
    calibration : array, or batches, optional
        What the layers' input ranges are found on; `inputs` unless given.
    weight_bits : int
        2 to 8; with 4 a scale for each group of 32 inputs, else for each output.
    activation_bits : int or None
        None leaves the layers' inputs in float32.
    observer : str or class
        As for `quantize`.
    score : function of the outputs (N, ...) to a number, optional
        Such as the accuracy.

    Returns
    -------
    list of LayerSensitivity
        In the order of the model; sort by `error` to see which layers to leave in float32.
    """
    model = copy_model("sensitivity", model).eval()
    inputs = inputs.data if isinstance(inputs, Tensor) else np.asarray(inputs)
    samples = list(batches_of(inputs if calibration is None else calibration))
    expected = _outputs(model, inputs)
    rows = []
    for name, layer in list(model.named_modules()):
        rounded = aware_layer(layer, weight_bits, activation_bits, observer_type(observer))
        if rounded is None or layer is model:
            continue
        replace_layers(model, {id(layer): rounded})
        _watch(model, rounded.input_rounding, samples)
        outputs = _outputs(model, inputs)
        replace_layers(model, {id(rounded): layer})
        error = float(np.sqrt(np.mean((outputs - expected) ** 2) / np.mean(expected**2)))
        rows.append(LayerSensitivity(name, rounded.weight.shape, error, score(outputs) if score else None))
    return rows


def _watch(model: Module, rounding: Module | None, samples: list[Array]) -> None:
    """Let one layer's input rounding find its range; everything else stays in eval mode."""
    if rounding is not None:
        rounding.train()
        for batch in samples:
            model(from_numpy(batch))
        rounding.eval()


def _outputs(model: Module, inputs: Array) -> Array:
    parts = [model(from_numpy(inputs[i : i + BATCH])).data for i in range(0, len(inputs), BATCH)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class RoundingErrors:
    """How far a weight's numbers moved, and the scales that decided it; `viz.rounding_errors` draws it.

    Attributes
    ----------
    edges : array (bins + 1,)
        Of the bins, in steps: an error of 0.5 is as far as rounding can move a number.
    counts : array (bins,)
        Weights whose error lies in each bin.
    scales : array (channels,)
        The real size of a step, one for each output or one for all.
    signal_to_noise : float
        In decibels: the power of the weights over that of their errors.
    """

    edges: Array
    counts: Array
    scales: Array
    signal_to_noise: float


def rounding_errors(
    weight: Array | Tensor, axis: int | None, *, bits: int = 8, observer: Any = "minmax", bins: int = 41
) -> RoundingErrors:
    """The rounding errors of a weight with a scale for each index of `axis`, or one for all (None)."""
    w = weight.data if isinstance(weight, Tensor) else np.asarray(weight, np.float32)
    q, scales = quantize_weight(w, axis, bits=bits, observer=observer)
    shape = [-1 if axis is not None and i == axis % w.ndim else 1 for i in range(w.ndim)]
    steps = scales.reshape(shape)
    errors = q * steps - w
    limit = max(0.5, float(np.abs(errors / steps).max(initial=0)))
    counts, edges = np.histogram(errors / steps, bins, (-limit, limit))
    noise = float(np.mean(errors.astype(np.float64) ** 2))
    power = float(np.mean(w.astype(np.float64) ** 2))
    ratio = np.inf if noise == 0 else 10 * np.log10(power / noise) if power else -np.inf
    return RoundingErrors(edges, counts, scales, float(ratio))
