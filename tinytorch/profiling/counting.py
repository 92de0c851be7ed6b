"""Operations, bytes and parameters of a model, counted on its layers as they run.

Operations follow the usual convention: two for each multiply-add.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.attention import MultiHeadAttention
from tinytorch.autograd.engine import no_grad
from tinytorch.embeddings import Embedding
from tinytorch.layers import Linear
from tinytorch.module import Module
from tinytorch.profiling.watching import LayerCall, watch
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor

MB = 1024 * 1024


def layer_flops(call: LayerCall) -> int:
    """Operations of one layer's run, two for each multiply-add; one for each output of any other layer."""
    outputs = math.prod(call.output.shape)
    module = call.module
    if isinstance(module, Linear):
        return 2 * outputs * module.weight.shape[0]
    if isinstance(module, Conv2d):
        return 2 * outputs * math.prod(module.weight.shape[1:])
    if isinstance(module, MultiHeadAttention):
        batch, length, width = call.input_shape
        return (
            4 * batch * length * length * width
        )  # scores, then the weighted sum; projections count themselves
    if next(module.named_children(), None) is not None:
        return 0
    return outputs


def example_input(model: Module, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape: as token ids where the model starts with an embedding, else as float32."""
    reads_ids = any(isinstance(module, Embedding) for module in model.modules())
    return np.zeros(shape, np.int64) if reads_ids else Tensor(np.zeros(shape, np.float32))


def run_watched(model: Module, x: Any) -> list[LayerCall]:
    calls: list[LayerCall] = []
    with no_grad(), watch(model, calls.append):
        model(x)
    return calls


def traced_peak(call: Callable[[], Any]) -> int:
    """Most bytes that `call` held at once, beyond what was held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def own_parameters(module: Module) -> list[Tensor]:
    """A layer's parameters without those of the layers inside it."""
    inside = {id(parameter) for _, child in module.named_children() for parameter in child.parameters()}
    return [parameter for parameter in module.parameters() if id(parameter) not in inside]


def parameter_bytes(model: Any) -> int:
    return sum(parameter.data.nbytes for parameter in model.parameters())


def gflops(flops: float, latency_ms: float) -> float:
    return flops / 1e9 / (latency_ms / 1e3) if latency_ms else 0.0
