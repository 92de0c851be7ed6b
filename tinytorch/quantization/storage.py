"""Quantized models in files: integers and scales as they are, in the safetensors format."""

from __future__ import annotations

import copy
import dataclasses
import os
from typing import Any

import numpy as np

from tinytorch import acceleration, kernels
from tinytorch.acceleration import POINTWISE, InferenceModel, Pointwise
from tinytorch.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from tinytorch.kernels.reference.quantize import dequantize_int4, quantize_int4
from tinytorch.module import Module

from . import stages, weights
from .layers import QuantizedLinear, replace_modules
from .scales import Array, Scale

# Every class that a file may name.
KINDS: dict[str, type] = {
    kind.__name__: kind
    for room in (acceleration, stages, weights)
    for kind in vars(room).values()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type)
} | {"Scale": Scale}


def save_quantized(
    model: Any, path: str | os.PathLike, described_by: str | os.PathLike | None = None
) -> None:
    """Write a quantized model; `load_quantized` gives one with the same predictions.

    Parameters
    ----------
    model : InferenceModel or Module
        From `quantize`.
    path : path
    described_by : path, optional
        The file of the float32 model, written by `models.save_model`: what it says of the architecture and
        the tokenizer goes along, so that `models.load_model` needs nothing else.

    Raises
    ------
    TypeError
        The model is not quantized, or holds a layer that is known by its code alone.
    """
    arrays: dict[str, Array] = {}
    metadata = {} if described_by is None else read_checkpoint(described_by)[0]
    about: dict[str, Any] = {key: metadata[key] for key in ("model", "tokenizer") if key in metadata}
    if isinstance(model, InferenceModel):
        described = [_describe(stage, str(i), arrays) for i, stage in enumerate(model.stages)]
        write_checkpoint(path, {**about, "quantized": "stages", "stages": described}, arrays)
        return
    found = dict(_quantized_layers(model)) if isinstance(model, Module) else {}
    if not found:
        raise TypeError(
            f"save_quantized: this {type(model).__name__} is not quantized; quantize it first, or save its "
            "float32 weights with Trainer.save_checkpoint"
        )
    layers = {
        name: {
            "features": [layer.in_features, layer.out_features],
            "stages": [_describe(s, f"{name}.{i}", arrays) for i, s in enumerate(layer.stages)],
        }
        for name, layer in found.items()
    }
    rest = {f"float:{name}": array for name, array in model.state_dict().items()}
    about |= {"quantized": type(model).__name__, "layers": layers}
    write_checkpoint(path, about, {**arrays, **rest})


def load_quantized(path: str | os.PathLike, into: Module | None = None) -> Any:
    """The quantized model of a file.

    Parameters
    ----------
    path : path
    into : Module, optional
        For what is no chain of layers: a float32 model of the same architecture, such as
        ``GPT(vocab_size, ...)``, trained or not. It is copied.

    Raises
    ------
    CheckpointError
        The file is damaged or holds no quantized model.
    ValueError
        `into` is missing, or of another architecture.
    """
    metadata, arrays = read_checkpoint(path)
    kind = metadata.get("quantized")
    if kind is None:
        raise CheckpointError(
            f"{os.fspath(path)} holds no quantized model; a float32 checkpoint is loaded by "
            "Trainer.load_checkpoint, and quantized then"
        )
    if kind == "stages":
        return InferenceModel([_restore(stage, arrays) for stage in metadata["stages"]])
    if into is None:
        raise ValueError(
            f"load_quantized: {os.fspath(path)} holds the weights of a {kind}; give a model of that "
            f"architecture to load them into: load_quantized(path, {kind}(...))"
        )
    model = copy.deepcopy(into).eval()
    layers = metadata["layers"]
    _check_features(model, layers, kind)
    names = {id(module): name for name, module in model.named_modules()}

    def quantized(module: Module) -> QuantizedLinear | None:
        entry = layers.get(names.get(id(module)))
        if entry is None:
            return None
        features, held = entry["features"], tuple(_restore(stage, arrays) for stage in entry["stages"])
        return QuantizedLinear.of_stages(features[0], features[1], held)

    replace_modules(model, quantized)
    start = len("float:")
    model.load_state_dict({name[start:]: a for name, a in arrays.items() if name.startswith("float:")})
    return model


def _quantized_layers(model: Module) -> list[tuple[str, QuantizedLinear]]:
    return [(name, m) for name, m in model.named_modules() if isinstance(m, QuantizedLinear)]


def _check_features(model: Module, layers: dict[str, Any], kind: str) -> None:
    modules = dict(model.named_modules())
    for name, entry in layers.items():
        weight = getattr(modules.get(name), "weight", None)
        if weight is None or list(weight.shape) != entry["features"]:
            found = "no layer of that name" if weight is None else f"a weight {weight.shape}"
            raise ValueError(
                f"load_quantized: the file's {kind} has a layer {name} {tuple(entry['features'])}, and this "
                f"{type(model).__name__} has {found}; make the model with the sizes it was saved with"
            )


def _describe(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """What JSON can hold of a stage; its arrays go to `arrays`."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, tuple):
        return [_describe(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, kernels.PackedInt8):
        arrays[name], arrays[f"{name}.scale"] = value.unpack(), value.scale
        return {"int8": name, "groups": value.groups}
    if isinstance(value, kernels.PackedInt4):
        q, arrays[f"{name}.scale"] = quantize_int4(value.unpack(), value.group_size)
        arrays[name] = _as_nibbles(q)
        return {"int4": name, "shape": list(value.shape), "group_size": value.group_size}
    if isinstance(value, Pointwise):
        if value.name not in POINTWISE:
            raise TypeError(
                f"save_quantized: {value.name} is known by its code alone, which no file can hold"
            )
        return {"pointwise": value.name}
    if type(value).__name__ in KINDS:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {
            "kind": type(value).__name__,
            "fields": {key: _describe(item, f"{name}.{key}", arrays) for key, item in fields.items()},
        }
    raise TypeError(
        f"save_quantized: a {type(value).__name__} has no place in the file; save quantized models only"
    )


def _restore(value: Any, arrays: dict[str, Array]) -> Any:
    """What `_describe` described."""
    if isinstance(value, list):
        return tuple(_restore(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "int8" in value:
        name = value["int8"]
        return kernels.pack_int8(arrays[name], arrays[f"{name}.scale"], groups=value["groups"])
    if "int4" in value:
        name, shape, group_size = value["int4"], tuple(value["shape"]), value["group_size"]
        q = _from_nibbles(arrays[name], shape)
        return kernels.pack_int4(dequantize_int4(q, arrays[f"{name}.scale"], group_size), group_size)
    if "pointwise" in value:
        function = POINTWISE[value["pointwise"]]
        return Pointwise(value["pointwise"], function, value["pointwise"] != "Softmax")
    if value.get("kind") not in KINDS:
        raise CheckpointError(
            f"load_quantized: the file names a stage {value.get('kind')!r}, which is unknown"
        )
    fields = {name: _restore(item, arrays) for name, item in value["fields"].items()}
    return KINDS[value["kind"]](**fields)


def _as_nibbles(q: Array) -> Array:
    """int8 -8 ... 7 as bytes of two, the earlier in the low half."""
    flat = (q.ravel() & 0xF).astype(np.uint8)
    flat = np.pad(flat, (0, flat.size % 2))
    return flat[::2] | (flat[1::2] << 4)


def _from_nibbles(packed: Array, shape: tuple[int, ...]) -> Array:
    flat = np.stack([packed & 0xF, packed >> 4], axis=1).ravel()[: int(np.prod(shape))]
    return np.where(flat > 7, flat.astype(np.int8) - 16, flat.astype(np.int8)).astype(np.int8).reshape(shape)
