"""Module 16: the same product from Python loops to packed kernels, and a trained model at its fastest.

The ladder (`matmul_naive` ... `matmul_numpy`, then `kernels.lessons` and `kernels.matmul`) computes one
thing, ``a @ b``, in ways that differ by four orders of magnitude; `climb` races its rungs, `thread_ladder`
numbers of threads, and `fused_and_separate` gives two ways to compute a layer. `optimize` applies what it
teaches to a whole model: no graph, batch norm folded into the weights, bias and ReLU fused into the product,
weights packed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from . import kernels
from .activations import GELU, ReLU, Sigmoid, Softmax, Tanh
from .ladders import (
    DEFAULT_TIMING_ITERATIONS,
    DEFAULT_WARMUP_ITERATIONS,
    OptimizedBackend,
    ThreadLadder,
    climb,
    fused_and_separate,
    fused_gelu,
    ladder,
    matmul,
    matmul_blocked,
    matmul_lists,
    matmul_naive,
    matmul_numpy,
    matmul_rows,
    thread_ladder,
    tiled_matmul,
    vectorized_matmul,
)
from .layers import Dropout, Flatten, Layer, Linear, Sequential
from .spatial import AvgPool2d, BatchNorm2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from .tensor import Tensor

__all__ = [
    "DEFAULT_TIMING_ITERATIONS",
    "DEFAULT_WARMUP_ITERATIONS",
    "Convolution",
    "Dense",
    "Flattening",
    "InferenceModel",
    "OptimizedBackend",
    "Pointwise",
    "Pooling",
    "Stage",
    "ThreadLadder",
    "climb",
    "flat_layers",
    "fold_batch_norm",
    "fused_and_separate",
    "fused_gelu",
    "ladder",
    "lower",
    "matmul",
    "matmul_blocked",
    "matmul_lists",
    "matmul_naive",
    "matmul_numpy",
    "matmul_rows",
    "optimize",
    "pack_stage",
    "thread_ladder",
    "tiled_matmul",
    "vectorized_matmul",
]

Array = np.ndarray


class Stage(Protocol):
    """One step of an `InferenceModel`: array in, array out."""

    @property
    def nbytes(self) -> int: ...

    def __call__(self, x: Array) -> Array: ...


class Weighted:
    """A stage with a weight, in whatever form, and perhaps a bias."""

    weight: Any
    bias: Array | None

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)


@dataclass(frozen=True)
class Convolution(Weighted):
    """Convolution, bias and activation in one kernel call. weight (O, I, kh, kw), plain or packed."""

    weight: Array | kernels.PackedMatrix
    bias: Array | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: str | None = None

    def __call__(self, x: Array) -> Array:
        return kernels.conv2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, activation=self.activation
        )


@dataclass(frozen=True)
class Dense(Weighted):
    """Linear layer, bias and activation in one kernel call. weight (in, out), plain or packed."""

    weight: Array | kernels.PackedMatrix
    bias: Array | None
    activation: str | None = None

    def __call__(self, x: Array) -> Array:
        return kernels.linear(x, self.weight, self.bias, activation=self.activation)


@dataclass(frozen=True)
class Pooling:
    """Pooling of (N, C, H, W); `kind` is "max" or "avg"."""

    kind: str
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        pool = kernels.max_pool2d if self.kind == "max" else kernels.avg_pool2d
        return pool(x, self.kernel_size, self.stride, self.padding)


@dataclass(frozen=True)
class Flattening:
    """(N, ...) to (N, features)."""

    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return x.reshape(len(x), -1)


@dataclass(frozen=True)
class GlobalAverage:
    """The mean of each channel: (N, C, H, W) to (N, C, 1, 1)."""

    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return x.mean(axis=(2, 3), keepdims=True)


@dataclass(frozen=True)
class Residual:
    """activation(main(x) + shortcut(x)); a shortcut without stages is x itself."""

    main: tuple[Stage, ...]
    shortcut: tuple[Stage, ...] = ()
    activation: str | None = None

    @property
    def nbytes(self) -> int:
        return sum(stage.nbytes for stage in (*self.main, *self.shortcut))

    def __call__(self, x: Array) -> Array:
        return self.join(run_stages(self.main, x), run_stages(self.shortcut, x))

    def join(self, y: Array, x: Array) -> Array:
        """activation(y + x), for what the two ways gave."""
        y = y + x
        if self.activation == "relu":
            return np.maximum(y, 0, out=y)
        return kernels.gelu(y) if self.activation == "gelu" else y


def run_stages(stages: Iterable[Stage], x: Array) -> Array:
    """x through one stage after the other."""
    for stage in stages:
        x = stage(x)
    return x


def map_stages(function: Callable[[Stage], Stage], stages: Iterable[Stage]) -> list[Stage]:
    """The stages with `function` applied to each, also inside residual connections."""

    def apply(stage: Stage) -> Stage:
        if not isinstance(stage, Residual):
            return function(stage)
        main, shortcut = (tuple(map_stages(function, way)) for way in (stage.main, stage.shortcut))
        return replace(stage, main=main, shortcut=shortcut)

    return [apply(stage) for stage in stages]


@dataclass(frozen=True)
class Pointwise:
    """An activation that no kernel has fused."""

    name: str
    function: Callable[[Array], Array]
    is_elementwise: bool = True
    nbytes: int = 0

    def __call__(self, x: Array) -> Array:
        return self.function(x)


class InferenceModel:
    """A trained model as a list of stages: arrays in and out, no graph, nothing to train.

    `nbytes` counts every array that the stages hold: weights with their padding, scales, indices, biases.
    """

    def __init__(self, stages: list[Stage]) -> None:
        self.stages = stages

    def __call__(self, x: Array | Tensor) -> Array:
        return run_stages(self.stages, x.data if isinstance(x, Tensor) else x)

    def predict(self, x: Array | Tensor, batch_size: int = 64) -> Array:
        """The class of each sample, (N,), computed batch by batch."""
        batches = [self(x[i : i + batch_size]).argmax(axis=-1) for i in range(0, len(x), batch_size)]
        return np.concatenate(batches) if batches else np.empty(0, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        return sum(stage.nbytes for stage in self.stages)

    def __repr__(self) -> str:
        names = " → ".join(type(stage).__name__ for stage in self.stages)
        return f"InferenceModel({names}, {self.nbytes} bytes)"


def fold_batch_norm(weight: Array, bias: Array | None, norm: BatchNorm2d) -> tuple[Array, Array]:
    """Weight (O, I, kh, kw) and bias (O,) of the convolution that equals convolution, then `norm` (eval).

    With s = gamma / sqrt(running_var + eps): (x * w + b - mean) s + beta = x * (w s) + (b - mean) s + beta.
    """
    if norm.running_mean is None:
        raise ValueError("BatchNorm2d: without running statistics it can't be folded into a convolution")
    scale = (1 if norm.gamma is None else norm.gamma.data) / np.sqrt(norm.running_var + norm.eps)
    shift = (-norm.running_mean if bias is None else bias - norm.running_mean) * scale
    folded = weight * scale[:, None, None, None], shift if norm.beta is None else shift + norm.beta.data
    return folded[0].astype(np.float32), folded[1].astype(np.float32)


def flat_layers(model: Layer) -> Iterator[Layer]:
    """The layers of a model that applies them one after the other, nested sequences opened."""
    if isinstance(model, Sequential) or hasattr(model, "layers"):
        for layer in model.layers:
            yield from flat_layers(layer)
    else:
        yield model


def lower(model: Layer) -> list[Stage]:
    """The stages of a model in eval mode, with batch norm folded, dropout gone, ReLU and GELU fused.

    The model is a `Sequential`, a single layer, or has its layers in `layers`, in the order they apply in. A
    layer whose parts do not follow one another, such as a residual block, has a method `lower()` that gives
    its stages.
    """
    stages: list[Stage] = []
    for layer in flat_layers(model):
        last = stages[-1] if stages else None
        if hasattr(layer, "lower"):
            stages.extend(layer.lower())
        elif isinstance(layer, BatchNorm2d) and isinstance(last, Convolution) and last.activation is None:
            weight, bias = fold_batch_norm(np.asarray(last.weight), last.bias, layer)
            stages[-1] = replace(last, weight=weight, bias=bias)
        elif _can_fuse(layer) and isinstance(last, Convolution | Dense) and not last.activation:
            stages[-1] = replace(last, activation="relu" if isinstance(layer, ReLU) else "gelu")
        elif not isinstance(layer, Dropout):
            stages.append(_stage_of(layer))
    return stages


def _can_fuse(layer: Layer) -> bool:
    """Whether the kernels have this activation: ReLU, and GELU in its erf form."""
    return isinstance(layer, ReLU) or (isinstance(layer, GELU) and layer.approximate == "none")


def optimize(model: Layer) -> InferenceModel:
    """The model at its fastest in float32: `lower`, with the weights packed once."""
    return InferenceModel(map_stages(pack_stage, lower(model)))


def pack_stage(stage: Stage) -> Stage:
    """The stage with its weights in the order in which the kernel reads them."""
    if isinstance(stage, Convolution | Dense) and isinstance(stage.weight, np.ndarray):
        return replace(stage, weight=kernels.pack(stage.weight))
    return stage


# Options of layers that the stages don't have, as they must be then.
_PLAIN = {"dilation": 1, "groups": 1, "ceil_mode": False, "count_include_pad": True}


def _check_plain(layer: Layer) -> None:
    for name, plain in _PLAIN.items():
        if (value := getattr(layer, name, plain)) not in (plain, (plain, plain)):
            raise TypeError(f"optimize: no inference stage for {type(layer).__name__} with {name}={value}")
    if isinstance(padding := getattr(layer, "padding", 0), str):
        raise TypeError(f"optimize: no inference stage for {type(layer).__name__} with padding={padding!r}")


def _stage_of(layer: Layer) -> Stage:
    _check_plain(layer)
    if isinstance(layer, Conv2d | Linear):
        weight, bias = layer.weight.data.copy(), None if layer.bias is None else layer.bias.data.copy()
        if isinstance(layer, Linear):
            return Dense(weight, bias)
        return Convolution(weight, bias, _pair(layer.stride), _pair(layer.padding))
    if isinstance(layer, MaxPool2d | AvgPool2d):
        kind = "max" if isinstance(layer, MaxPool2d) else "avg"
        return Pooling(kind, _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding))
    if isinstance(layer, GlobalAvgPool2d):
        return GlobalAverage()
    if isinstance(layer, Flatten):
        return Flattening()
    if isinstance(layer, ReLU | GELU | Sigmoid | Tanh | Softmax):
        return _pointwise(layer)
    raise TypeError(
        f"optimize: no inference stage for {type(layer).__name__}; it knows Conv2d, BatchNorm2d after "
        "Conv2d, Linear, MaxPool2d, AvgPool2d, GlobalAvgPool2d, Flatten, Dropout, ReLU, GELU, Sigmoid, Tanh "
        "and Softmax, in a Sequential or in a model's `layers`. Give a layer of your own a method lower() "
        "that returns its stages"
    )


# What can be saved by its name; any other activation keeps its layer.
POINTWISE: dict[str, Callable[[Array], Array]] = {
    "ReLU": kernels.relu, "GELU": kernels.gelu, "GELU (tanh)": partial(kernels.gelu, approximate="tanh"),
    "Sigmoid": kernels.sigmoid, "Tanh": kernels.tanh, "Softmax": kernels.softmax,
}  # fmt: skip


def _pointwise(layer: Layer) -> Pointwise:
    name = type(layer).__name__
    if isinstance(layer, GELU) and layer.approximate != "none":
        name += f" ({layer.approximate})"
    if isinstance(layer, Softmax) and layer.dim != -1:
        name += f" (dim={layer.dim})"
    function = POINTWISE.get(name) or (lambda x: layer(Tensor(x)).data)
    return Pointwise(name, function, not isinstance(layer, Softmax))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
