"""Models in files: what kind, what sizes, the weights, and the tokenizer of one that writes text.

A file is a checkpoint in the safetensors format, so other tools can read its arrays by their names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from tinytorch.byte_pairs import Tokenizer
from tinytorch.byte_tokenizer import ByteBPETokenizer
from tinytorch.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from tinytorch.layers import Linear
from tinytorch.models.cnn import DigitsCNN
from tinytorch.models.llama import Llama
from tinytorch.models.mlp import MLPClassifier
from tinytorch.models.resnet import ResNet
from tinytorch.module import Module
from tinytorch.quantization import load_quantized
from tinytorch.spatial import Conv2d
from tinytorch.tokenization import BPETokenizer, CharTokenizer
from tinytorch.transformers import GPT


class Kind(NamedTuple):
    """A class, and how to find what it was made with."""

    make: type
    sizes_of: Callable[[Any], dict[str, Any]]


def _attributes(*names: str) -> Callable[[Any], dict[str, Any]]:
    return lambda model: {name: getattr(model, name) for name in names}


def _llama_sizes(model: Llama) -> dict[str, Any]:
    names = ("vocab_size", "embed_dim", "num_layers", "num_heads", "num_kv_heads", "max_seq_len")
    block: Any = model.blocks[0]
    return {
        **_attributes(*names)(model),
        "hidden_dim": block.mlp.gate.weight.shape[1],
        "rope_base": block.attention.rotary.base,
        "eps": block.ln1.eps,
    }


def _cnn_sizes(model: DigitsCNN) -> dict[str, Any]:
    linears = [layer for layer in model.layers if isinstance(layer, Linear)]
    return {
        "channels": [layer.weight.shape[0] for layer in model.layers if isinstance(layer, Conv2d)],
        "hidden": linears[0].weight.shape[1],
        "num_classes": linears[-1].weight.shape[1],
    }


def _mlp_sizes(model: MLPClassifier) -> dict[str, Any]:
    linears = [layer for layer in model.layers if isinstance(layer, Linear)]
    return {"sizes": [linears[0].weight.shape[0], *(layer.weight.shape[1] for layer in linears)]}


KINDS = {
    "gpt": Kind(GPT, _attributes("vocab_size", "embed_dim", "num_layers", "num_heads", "max_seq_len")),
    "llama": Kind(Llama, _llama_sizes),
    "cnn": Kind(DigitsCNN, _cnn_sizes),
    "mlp": Kind(MLPClassifier, _mlp_sizes),
    "resnet": Kind(ResNet, _attributes("channels", "blocks", "in_channels", "num_classes")),
}


def save_model(path: str | os.PathLike, model: Module, tokenizer: Tokenizer | None = None) -> None:
    """Write a model so that `load_model` can make it again from nothing else.

    Parameters
    ----------
    path : path
        Replaced whole, or not at all.
    model : GPT, Llama, DigitsCNN, MLPClassifier or ResNet
        Of these classes as they are: its layers must not have been exchanged for others.
    tokenizer : CharTokenizer, BPETokenizer or ByteBPETokenizer, optional
        Stored whole, for a model that writes text.

    Raises
    ------
    TypeError
        A model or tokenizer of another class.
    FileNotFoundError
        There is no such folder.
    """
    kind = next((name for name, kind in KINDS.items() if type(model) is kind.make), None)
    if kind is None:
        known = ", ".join(kind.make.__name__ for kind in KINDS.values())
        raise TypeError(
            f"save_model: load_model could not make a {type(model).__name__} again; it knows {known}. "
            "interop.safetensors.save_file(model.state_dict(), path) stores any model's arrays."
        )
    sizes = KINDS[kind].sizes_of(model)
    metadata = {"model": {"kind": kind, "sizes": sizes}, "tokenizer": _describe_tokenizer(tokenizer)}
    write_checkpoint(path, metadata, model.state_dict())


def load_model(path: str | os.PathLike) -> tuple[Any, Any]:
    """Read what `save_model` wrote, or `tinytorch quantize` made of it.

    Returns
    -------
    model : Module or InferenceModel
        In eval mode.
    tokenizer : Tokenizer or None

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        It is damaged, or holds something else.
    """
    metadata, arrays = read_checkpoint(path)
    name = os.fspath(path)
    described = metadata.get("model")
    if not isinstance(described, dict):
        raise CheckpointError(
            f"{name} holds no model that can be made from it alone: perhaps a Trainer's state, which "
            "Trainer.load_checkpoint reads into the model it was made for. save_model writes whole models."
        )
    if described.get("kind") not in KINDS:
        raise CheckpointError(
            f"{name} holds a model of kind {described.get('kind')!r}; this release knows {', '.join(KINDS)}."
        )
    try:
        model = KINDS[described["kind"]].make(**described["sizes"]).eval()
        if "quantized" in metadata:
            model = load_quantized(path, into=model)
        else:
            model.load_state_dict(arrays)
        tokenizer = _make_tokenizer(metadata.get("tokenizer"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: its weights and its description disagree: {error}") from None
    return model, tokenizer


def _describe_tokenizer(tokenizer: Tokenizer | None) -> dict[str, Any] | None:
    if tokenizer is None:
        return None
    if type(tokenizer) is CharTokenizer:
        return {"kind": "characters", "vocab": tokenizer.vocab}
    if type(tokenizer) is BPETokenizer:
        size = tokenizer.vocab_size
        return {"kind": "words", "vocab_size": size, "vocab": tokenizer.vocab, "merges": tokenizer.merges}
    if type(tokenizer) is ByteBPETokenizer:
        special = tokenizer.special_tokens
        return {"kind": "bytes", "vocab": tokenizer.vocab, "merges": tokenizer.merges, "special": special}
    raise TypeError(
        f"save_model: a tokenizer must be a CharTokenizer, BPETokenizer or ByteBPETokenizer to be stored, "
        f"got {type(tokenizer).__name__}"
    )


def _make_tokenizer(described: dict[str, Any] | None) -> Tokenizer | None:
    if described is None:
        return None
    kind, vocab = described["kind"], list(described["vocab"])
    merges = [(a, b) for a, b in described.get("merges", [])]
    if kind == "characters":
        return CharTokenizer(vocab)
    if kind == "words":
        words = BPETokenizer(described["vocab_size"])
        words.vocab, words.merges = vocab, merges
        words._build_mappings()
        return words
    if kind == "bytes":
        tokenizer = ByteBPETokenizer()
        tokenizer._set(vocab, merges, list(described["special"]))
        return tokenizer
    raise ValueError(f"it has a tokenizer of kind {kind!r}")
