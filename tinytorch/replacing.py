"""Other layers in the place of a model's own, as quantizing and pruning put them, and what it then weighs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from .module import Module

__all__ = ["copy_model", "replace_layers", "stored_bytes"]


def copy_model(operation: str, model: Any) -> Any:
    """A copy of a model, whose layers may be replaced.

    Raises
    ------
    ValueError
        While the model generates or has a KV cache switched on: what then runs its layers holds the
        original's, so a copy would go on using those.
    """
    if getattr(model, "_cache_enabled", False) or getattr(model, "_described", None):
        raise ValueError(
            f"{operation}: a copy of this model would go on using the original's layers, since it is "
            "generating or has a KV cache switched on; call caching.disable_kv_cache(model) first"
        )
    return copy.deepcopy(model)


def replace_layers(model: Any, others: Mapping[int, Module]) -> Any:
    """Put other layers in the place of those with these ids, in attributes, lists and dicts alike."""
    if id(model) in others:
        return others[id(model)]
    for holder in list(model.modules()):
        vars(holder).update({name: _swapped(value, others) for name, value in vars(holder).items()})
    return model


def _swapped(value: Any, others: Mapping[int, Module]) -> Any:
    if id(value) in others:
        return others[id(value)]
    if type(value) in (list, tuple):
        return type(value)(_swapped(item, others) for item in value)
    if type(value) is dict:
        return {key: _swapped(item, others) for key, item in value.items()}
    return value


def stored_bytes(model: Any) -> int:
    """Bytes that a model holds for inference: parameters, buffers, and what layers hold besides.

    Parameters
    ----------
    model : Module, or an `InferenceModel`
    """
    if hasattr(model, "nbytes"):  # an InferenceModel, or one layer that knows
        return model.nbytes
    arrays = [p.data for p in model.parameters()] + [
        np.asarray(buffer) for _, buffer in model.named_buffers()
    ]
    return sum(part.nbytes for part in (*arrays, *model.modules()) if hasattr(part, "nbytes"))
