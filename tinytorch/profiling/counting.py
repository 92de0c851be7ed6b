"""Operations, bytes and parameters of a model, counted on its layers as they run.

Operations follow the usual convention: two for each multiply-add.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.attention import MultiHeadAttention
from tinytorch.autograd.engine import no_grad
from tinytorch.embeddings import Embedding
from tinytorch.module import Module
from tinytorch.profiling.watching import LayerCall, watch
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor


def layer_flops(call: LayerCall) -> int:
    """Operations of one layer's run, two for each multiply-add; one for each output of any other layer."""
    outputs = math.prod(call.output.shape)
    module = call.module
    if hasattr(module, "in_features"):  # a Linear, or what stands in its place, such as a quantized one
        return 2 * outputs * module.in_features
    if isinstance(module, Conv2d):
        return 2 * outputs * math.prod(module.weight.shape[1:])
    if isinstance(module, MultiHeadAttention):
        batch, length, width = call.input_shape
        # Scores, then the weighted sum; projections count themselves.
        return 4 * batch * length * length * width
    if next(module.named_children(), None) is not None:
        return 0
    return outputs


def example_input(model: Module, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape: as token ids where the model starts with an embedding, else as float32."""
    reads_ids = any(isinstance(module, Embedding) for module in model.modules())
    return np.zeros(shape, np.int64) if reads_ids else Tensor(np.zeros(shape, np.float32))


def run_watched(model: Module, x: Any) -> list[LayerCall]:
    """What each layer was given and gave in one pass without a graph, inner layers first."""
    calls: list[LayerCall] = []
    with no_grad(), watch(model, calls.append):
        model(x)
    return calls


@dataclass(frozen=True)
class Traced:
    """What a call gave back, and the bytes held before it, at the most, and after it."""

    result: Any
    before: int
    peak: int
    after: int


def traced(call: Callable[[], Any]) -> Traced:
    """Call with Python's and NumPy's allocations counted; whoever counts them already goes on doing so."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        if not running:
            tracemalloc.stop()
    return Traced(result, before, peak, after)


def traced_peak(call: Callable[[], Any]) -> int:
    """Most bytes that `call` held at once, beyond what was held before."""
    found = traced(call)
    return found.peak - found.before


def own_parameters(module: Module) -> list[Tensor]:
    """A layer's parameters without those of the layers inside it."""
    inside = {id(parameter) for _, child in module.named_children() for parameter in child.parameters()}
    return [parameter for parameter in module.parameters() if id(parameter) not in inside]


def parameter_bytes(model: Any) -> int:
    return sum(parameter.data.nbytes for parameter in model.parameters())


def gflops(flops: float, latency_ms: float) -> float:
    return flops / 1e9 / (latency_ms / 1e3) if latency_ms else 0.0
