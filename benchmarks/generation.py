"""Text from a GPT, token by token: with a cache against PyTorch with one, and against ours without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch.layers import LayerNorm, Linear
from tinytorch.models.gpt import char_gpt
from tinytorch.transformers import GPT, TransformerBlock

VOCABULARY, WIDTH, LAYERS, HEADS = 96, 256, 4, 4
LENGTHS = (64, 256, 1024)
UNCACHED_LENGTHS = (64, 256)  # without a cache a longer text takes seconds
BATCHES = (1, 4)


def cases(threads: int) -> Iterator[Case]:
    """The most likely text of each length, from one token on."""
    np.random.seed(0)
    model = char_gpt(VOCABULARY, WIDTH, LAYERS, HEADS)
    model.eval()
    for batch in BATCHES:
        for length in LENGTHS:
            yield _generation(model, batch, length)


def _generation(model: GPT, batch: int, length: int) -> Case:
    prompt = np.arange(batch)[:, None] + 1

    def ours(use_cache: bool = True) -> np.ndarray:
        return model.generate(prompt, length, temperature=0, use_cache=use_cache).data

    return Case(
        "generation",
        f"{length} tokens, width {WIDTH}, {LAYERS} layers, batch {batch}",
        ours,
        {"PyTorch": _torch_generation(model, prompt, length)} if peers.torch else {},
        own={"without cache": lambda: ours(False)} if length in UNCACHED_LENGTHS and batch == 1 else {},
    )


def _torch_linear(*layers: Linear) -> Any:
    """One layer that holds these side by side: q, k and v as one product, which is faster."""
    weight = np.concatenate([layer.weight.data for layer in layers], axis=1)
    biases = [layer.bias.data for layer in layers if layer.bias is not None]
    theirs = peers.torch.nn.Linear(*weight.shape, bias=bool(biases))
    theirs.weight.data = peers.torch.from_numpy(np.ascontiguousarray(weight.T))
    if biases:
        theirs.bias.data = peers.torch.from_numpy(np.concatenate(biases))
    return theirs


def _torch_norm(layer: LayerNorm) -> Any:
    theirs = peers.torch.nn.LayerNorm(layer.normalized_shape[0], eps=layer.eps)
    theirs.weight.data = peers.torch.from_numpy(layer.gamma.data)
    theirs.bias.data = peers.torch.from_numpy(layer.beta.data)
    return theirs


def _torch_block(block: TransformerBlock) -> tuple[Any, ...]:
    attention, mlp = block.attention, block.mlp
    qkv = _torch_linear(attention.q_proj, attention.k_proj, attention.v_proj)
    return (
        _torch_norm(block.ln1), qkv, _torch_linear(attention.out_proj),
        _torch_norm(block.ln2), _torch_linear(mlp.linear1), _torch_linear(mlp.linear2),
    )  # fmt: skip


def _torch_generation(model: GPT, prompt: np.ndarray, length: int) -> Call:
    """The same in eager PyTorch: keys and values in memory allocated once, attention over a slice of it."""
    torch = peers.torch
    functional = torch.nn.functional
    blocks = [_torch_block(block) for block in model.blocks]
    last_norm, head = _torch_norm(model.ln_f), _torch_linear(model.lm_head)
    tokens = torch.from_numpy(model.token_embedding.weight.data)
    positions = torch.from_numpy(model.position_embedding.weight.data)
    batch, head_dim = len(prompt), WIDTH // HEADS
    first = torch.from_numpy(prompt[:, 0])
    cache = torch.zeros(LAYERS, 2, batch, HEADS, length, head_dim)

    def call() -> np.ndarray:
        sequence = torch.empty(batch, 1 + length, dtype=torch.int64)
        sequence[:, 0] = first
        with torch.inference_mode():
            for at in range(length):
                x = tokens[sequence[:, at]] + positions[at]
                for (keys, values), (ln1, qkv, out, ln2, linear1, linear2) in zip(cache, blocks, strict=True):
                    q, k, v = qkv(ln1(x)).view(batch, 3, HEADS, 1, head_dim).unbind(1)
                    keys[:, :, at], values[:, :, at] = k[:, :, 0], v[:, :, 0]
                    seen = slice(0, at + 1)
                    y = functional.scaled_dot_product_attention(q, keys[:, :, seen], values[:, :, seen])
                    x = x + out(y.view(batch, WIDTH))
                    x = x + linear2(functional.gelu(linear1(ln2(x))))
                sequence[:, at + 1] = head(last_norm(x)).argmax(-1)
        return sequence.numpy()

    return call
