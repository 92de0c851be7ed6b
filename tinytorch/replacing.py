"""Other layers in the place of a model's own, as quantizing and pruning put them, and what it then weighs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .module import Module

__all__ = ["replace_layers", "stored_bytes"]


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
    if not isinstance(model, Module):
        return model.nbytes
    arrays = [p.data for p in model.parameters()] + [
        np.asarray(buffer) for _, buffer in model.named_buffers()
    ]
    return sum(part.nbytes for part in (*arrays, *model.modules()) if hasattr(part, "nbytes"))
