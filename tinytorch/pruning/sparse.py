"""A pruned model that is faster: sparse products in the place of dense ones, where a race says so."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import kernels, timing
from ..acceleration import (
    Convolution,
    Dense,
    InferenceModel,
    Residual,
    Stage,
    Weighted,
    flat_layers,
    lower,
    pack_stage,
)
from ..autograd.engine import is_grad_enabled, no_grad
from ..layers import Linear, Module, Sequential
from ..quantities import Measured
from ..replacing import copy_model, replace_layers
from ..spatial import Conv2d
from ..tensor import Tensor, array_of, as_tensor, from_numpy
from .masks import as_rows, check_block, checked_layers, named_layers, prunable_layers

Array = np.ndarray
TOKENS = 16  # that a language model writes in the race of the whole

# --- what runs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SparseDense(Weighted):
    """A linear layer that multiplies by its non-zero weights only."""

    weight: kernels.SparseMatrix
    bias: Array | None
    activation: str | None

    def __call__(self, x: Array) -> Array:
        return kernels.sparse_linear(x, self.weight, self.bias, activation=self.activation)


@dataclass(frozen=True)
class SparseConvolution(Weighted):
    """A convolution that multiplies by its non-zero weights only."""

    weight: kernels.SparseMatrix
    bias: Array | None
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: str | None

    def __call__(self, x: Array) -> Array:
        return kernels.sparse_conv2d(
            x, self.weight, self.kernel_size, self.bias,
            stride=self.stride, padding=self.padding, activation=self.activation,
        )  # fmt: skip


class SparseLayer(Module):
    """A sparse product in the place of a Linear or Conv2d inside a model. It can't be trained."""

    def __init__(self, stage: SparseDense | SparseConvolution) -> None:
        self.stage = stage

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and is_grad_enabled():
            raise RuntimeError(
                "SparseLayer: a sparse layer computes no gradients. Train the pruned model, with its zeros "
                "held by masks.wrap(optimizer), and sparsify it afterwards"
            )
        return from_numpy(self.stage(array_of("SparseLayer", x)))

    def infer(self, x: Array) -> Array:
        """The same on an array, without a graph."""
        return self.stage(x)

    @property
    def nbytes(self) -> int:
        """Bytes held: values, their places, bias."""
        return self.stage.nbytes

    def extra_repr(self) -> str:
        return repr(self.stage.weight)


# --- whether it pays ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """Whether a layer became sparse.

    Attributes
    ----------
    layer : name of the layer
    sparsity : share of its weights that are zero
    block : outputs in a block
    ratio : time of the dense layer over that of the sparse one, None where they were not raced
    sparse : whether it became sparse
    why : the reason
    """

    layer: str
    sparsity: float
    block: int
    ratio: Measured | None
    sparse: bool
    why: str


class SparseModel(InferenceModel):
    """An `InferenceModel` that knows how each of its layers was chosen, in `decisions`."""

    def __init__(self, stages: list[Stage], decisions: list[Decision]) -> None:
        super().__init__(stages)
        self.decisions = decisions


@dataclass(frozen=True)
class _Choice:
    """How to choose; called with a layer's name, its stage and what goes into it."""

    block: int
    least_sparsity: float
    measure: bool
    seconds: float
    claims: int

    def __call__(self, name: str, stage: Dense | Convolution, x: Array | None) -> tuple[Stage, Decision]:
        rows = as_rows(np.asarray(stage.weight))
        sparsity = float(np.mean(rows == 0))
        decision = partial(Decision, name, sparsity, self.block)
        if sparsity < self.least_sparsity:
            why = f"fewer than {100 * self.least_sparsity:g} % of its weights are zero"
            return pack_stage(stage), decision(None, False, why)
        sparse = sparse_stage(stage, self.block)
        if not self.measure:
            return sparse, decision(None, True, "not raced")
        assert x is not None
        # At one row a matrix is read as it lies; packing pays from a few rows on.
        contenders = {"plain": stage, "packed": pack_stage(stage), "sparse": sparse}
        races = timing.race_many(
            {key: partial(contender, x) for key, contender in contenders.items()},
            seconds=self.seconds,
            claims=self.claims,
        )
        dense = min(("plain", "packed"), key=lambda key: races.time(key).value)
        race = races.between(dense, "sparse")
        if race.verdict == "faster":
            return sparse, decision(race.ratio, True, "the sparse kernel is faster")
        why = "the dense kernel is faster" if race.verdict == "slower" else "the race is undecided"
        return contenders[dense], decision(race.ratio, False, why)


def sparse_stage(stage: Dense | Convolution, block: int) -> SparseDense | SparseConvolution:
    """The stage with its zeros neither stored nor multiplied."""
    rows = np.ascontiguousarray(as_rows(np.asarray(stage.weight)))
    weight = kernels.SparseMatrix.from_dense(rows, block=(block, 1))
    if isinstance(stage, Dense):
        return SparseDense(weight, stage.bias, stage.activation)
    kernel_size = (stage.weight.shape[2], stage.weight.shape[3])
    return SparseConvolution(weight, stage.bias, kernel_size, stage.stride, stage.padding, stage.activation)


def sparsify(
    model: Any,
    x: Any = None,
    *,
    block: int = 1,
    measure: bool = True,
    least_sparsity: float = 0.0,
    seconds: float = 0.2,
) -> Any:
    """The pruned model for inference, with sparse products where they pay.

    Parameters
    ----------
    model
        Pruned in blocks of `block`. It stays as it is.
    x : array or Tensor
        A batch as inference will see it: images (N, C, H, W), features (N, in), token ids (N, T), where
        decoding with a cache is T = 1. What pays depends on how many rows a layer gets at once.
    block : int
        Outputs in a block: 1, 2, 4, 8 or 16.
    measure : bool
        Race each layer's dense kernel against its sparse one, on what it gets when the model reads x, and
        take the sparse one where the whole interval of their ratio is above 1. False takes it everywhere.
        A model that is copied is raced as a whole, too, and stays dense unless it gains.
    least_sparsity : float
        Layers with a smaller share of zeros stay dense without a race.
    seconds : float
        For each race.

    Returns
    -------
    SparseModel, or a model of the same class
        An `InferenceModel` for one that applies its layers one after the other; any other, such as a GPT, is
        copied with a `SparseLayer` in each place that pays. `decisions` of either has a `Decision` for each
        layer, and for a copied model as a whole; `decisions_table` prints them.

    Raises
    ------
    ValueError
        Without x, when there is something to measure; for a block that no kernel has.
    """
    layers = checked_layers("sparsify", model)
    check_block("sparsify", block)
    if measure and x is None:
        raise ValueError(
            "sparsify: which kernel is faster depends on the batch, so give an example of what the model "
            "will be run on, sparsify(model, x). Or take sparse kernels everywhere with measure=False"
        )
    choice = _Choice(block, least_sparsity, measure, seconds, len(layers))
    dense = _lowered(model)
    if dense is None:
        return _sparse_copy(model, x, choice)
    decisions: list[Decision] = []
    images = None if x is None else as_tensor(x).data
    stages = _sparse_stages(dense, _names_of_products(model), images, choice, decisions)
    return SparseModel(stages, decisions)


def _lowered(model: Any) -> list[Stage] | None:
    """The stages of a model that applies its layers one after the other; None for any other."""
    if not isinstance(model, Sequential) and not hasattr(model, "layers"):
        return None
    try:
        return lower(model)
    except TypeError:  # a layer that no inference stage knows
        return None


def _sparse_stages(
    dense: Iterable[Stage], names: Iterator[str], x: Any, choice: _Choice, decisions: list[Decision]
) -> list[Stage]:
    """The stages with those products sparse that pay when x comes in; each decision is noted."""
    stages: list[Stage] = []
    for stage in dense:
        if isinstance(stage, Dense | Convolution):
            stage, decision = choice(next(names), stage, x)
            decisions.append(decision)
        elif isinstance(stage, Residual):
            main = tuple(_sparse_stages(stage.main, names, x, choice, decisions))
            shortcut = tuple(_sparse_stages(stage.shortcut, names, x, choice, decisions))
            stage = replace(stage, main=main, shortcut=shortcut)
        stages.append(stage)
        if choice.measure:
            x = stage(x)
    return stages


def _names_of_products(model: Any) -> Iterator[str]:
    """The names of the linear and convolution layers in the order in which `lower` gives their stages."""
    names = {id(layer): name for name, layer in named_layers(model)}
    for layer in flat_layers(model):
        parts = layer.modules() if isinstance(layer, Module) else [layer]
        yield from (names[id(part)] for part in parts if isinstance(part, Linear | Conv2d))


def _sparse_copy(model: Module, x: Any, choice: _Choice) -> Module:
    """A copy of the model with sparse layers inside, frozen and in eval mode."""
    dense = copy_model("sparsify", model).eval().requires_grad_(False)
    seen = _inputs_of_layers(dense, x) if choice.measure else {}
    decisions, sparse = [], {}
    for name, layer in prunable_layers(dense).items():
        try:
            (stage,) = lower(layer)
        except TypeError as error:  # a convolution in groups, for one
            sparsity = float(np.mean(layer.weight.data == 0))
            decisions.append(Decision(name, sparsity, choice.block, None, False, str(error)))
            continue
        assert isinstance(stage, Dense | Convolution)
        chosen, decision = choice(name, stage, seen.get(name))
        decisions.append(decision)
        if isinstance(chosen, SparseDense | SparseConvolution):
            sparse[name] = SparseLayer(chosen)
    result = copy.deepcopy(dense)
    inside = dict(result.named_modules())
    result = replace_layers(result, {id(inside[name]): layer for name, layer in sparse.items()})
    if choice.measure and sparse:
        whole = _whole_decision(dense, result, x, choice)
        decisions = [*_undone_unless(whole.sparse, decisions), whole]
        result = result if whole.sparse else dense
    vars(result)["decisions"] = decisions
    return result


def _whole_decision(dense: Module, sparse: Module, x: Any, choice: _Choice) -> Decision:
    """Whether the model gains: its dense layers may run together, in one call, which sparse ones don't."""
    weights = [layer.weight.data for layer in prunable_layers(dense).values()]
    sparsity = 1 - sum(map(np.count_nonzero, weights)) / sum(w.size for w in weights)
    calls = {
        name: partial(_use, model, as_tensor(x)) for name, model in (("dense", dense), ("sparse", sparse))
    }
    # Texts may part at a rounding, so results are not compared.
    race = timing.race_many(calls, seconds=choice.seconds, compare=False).between("dense", "sparse")
    faster = race.verdict == "faster"
    why = "it is faster as a whole" if faster else "it is not faster as a whole"
    return Decision("the model", sparsity, choice.block, race.ratio, faster, why)


def _use(model: Any, x: Tensor) -> Any:
    """Run the model as x says: one token for each sequence is the beginning of a text."""
    if hasattr(model, "generate") and x.ndim == 2 and x.shape[1] == 1:
        return model.generate(x, min(TOKENS, model.max_seq_len - 1), temperature=0)
    with no_grad():
        return model(x)


def _undone_unless(faster: bool, decisions: list[Decision]) -> list[Decision]:
    why = "sparse would be faster alone, but the model would not"
    return [d if faster or not d.sparse else replace(d, sparse=False, why=why) for d in decisions]


def _inputs_of_layers(model: Module, x: Any) -> dict[str, Array]:
    """What each prunable layer gets when the model reads x."""
    seen: dict[str, Array] = {}
    with ExitStack() as hooks, no_grad():
        for name, layer in prunable_layers(model).items():

            def keep(_: Module, inputs: tuple, name: str = name) -> None:
                seen[name] = inputs[0].data

            hooks.enter_context(layer.register_forward_pre_hook(keep))
        model(as_tensor(x))
    return seen


# --- what came of it ----------------------------------------------------------------------------------------


def decisions_table(decisions: Iterable[Decision]) -> str:
    """The decisions as lines of text, for reading."""
    rows = [("layer", "zeros", "block", "dense time / sparse time", "so it is"), *_rows(decisions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _rows(decisions: Iterable[Decision]) -> Iterator[tuple[str, ...]]:
    for d in decisions:
        ratio = "" if d.ratio is None else f"{d.ratio} (measured)"
        kind = "sparse" if d.sparse else "dense"
        yield d.layer, f"{100 * d.sparsity:.1f} %", f"{d.block}×1", ratio, f"{kind}: {d.why}"
