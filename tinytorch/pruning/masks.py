"""Which weights go: the smallest, one by one, in blocks, or n of every m; and how they stay gone.

Method: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015; blocks: Elsen
et al., "Fast Sparse ConvNets", 2020; n of m: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._arrays import is_number
from ..acceleration import flat_layers
from ..layers import Layer, Linear, Module
from ..spatial import Conv2d
from ..tensor import Tensor

Array = np.ndarray


# --- one weight ---------------------------------------------------------------------------------------------


def as_rows(weight: Array) -> Array:
    """A weight as the matrix (outputs, inputs) that a sparse kernel multiplies by: a view where possible."""
    return weight.T if weight.ndim == 2 else weight.reshape(len(weight), -1)


def block_scores(rows: Array, block: int) -> Array:
    """Mean absolute value of each block of `block` outputs by one input; (ceil(outputs / block), inputs)."""
    outputs, inputs = rows.shape
    padded = np.zeros((math.ceil(outputs / block) * block, inputs), dtype=np.float32)
    padded[:outputs] = np.abs(rows)
    counts = np.full(len(padded) // block, block)
    if outputs % block:
        counts[-1] = outputs % block
    return padded.reshape(-1, block, inputs).sum(axis=1) / counts[:, None]


def smallest(scores: Array, count: int) -> Array:
    """True at the `count` smallest scores; of equals, the first go first."""
    mask = np.zeros(scores.size, dtype=bool)
    mask[np.argsort(scores.ravel(), kind="stable")[:count]] = True
    return mask.reshape(scores.shape)


def magnitude_mask(weight: Array, sparsity: float, block: int = 1) -> Array:
    """Which weights to keep (True) when the share `sparsity` of them, the smallest, goes.

    weight (in, out) of a linear layer or (O, I, kh, kw) of a convolution; block: how many consecutive outputs
    stand or fall together. The share is exact to one block.
    """
    check_sparsity("magnitude_mask", sparsity)
    check_block("magnitude_mask", block)
    scores = block_scores(as_rows(weight), block)
    return _mask_of_blocks(smallest(scores, round(sparsity * scores.size)), weight, block)


def _mask_of_blocks(removed: Array, weight: Array, block: int) -> Array:
    rows = as_rows(weight)
    keep = ~np.repeat(removed, block, axis=0)[: len(rows)]
    return np.ascontiguousarray(keep.T) if weight.ndim == 2 else keep.reshape(weight.shape)


def n_m_mask(weight: Array, n: int, m: int) -> Array:
    """Which weights to keep (True) when each output keeps the n largest of every m consecutive inputs.

    The inputs of a convolution are its input channels, at each place of the kernel separately. 2 of 4 is what
    the sparse tensor cores of GPUs multiply; here it is stored and multiplied like any other sparse weight.

    weight (in, out) or (O, I, kh, kw); its input axis must be a multiple of m long.
    """
    if not 0 < n <= m:
        raise ValueError(f'n_m_mask: "{n}:{m}" keeps {n} of every {m} weights; it needs 0 < n ≤ m, as in 2:4')
    axis = 0 if weight.ndim == 2 else 1
    if weight.shape[axis] % m:
        raise ValueError(
            f'n_m_mask: "{n}:{m}" goes by groups of {m} inputs, but axis {axis} of the weight {weight.shape} '
            f"has {weight.shape[axis]}, no multiple of {m}. Leave this layer out: "
            f'prune(model, {{"another.layer": "{n}:{m}"}}) prunes only the layers it names'
        )
    size = np.moveaxis(np.abs(weight), axis, -1)
    groups = size.reshape(-1, m)
    keep = np.zeros(groups.shape, dtype=bool)
    largest = np.argsort(-groups, axis=1, kind="stable")[:, :n]
    np.put_along_axis(keep, largest, True, axis=1)
    return np.ascontiguousarray(np.moveaxis(keep.reshape(size.shape), -1, axis))


# --- what is asked for --------------------------------------------------------------------------------------


def check_sparsity(operation: str, sparsity: Any) -> None:
    """Refuse what is no share."""
    if not is_number(sparsity) or not 0 <= sparsity <= 1:
        percent = is_number(sparsity) and 1 < sparsity <= 100
        raise ValueError(
            f"{operation}: sparsity is {sparsity!r}, must be a number from 0 to 1, the share of the weights "
            "that goes" + (f"; did you mean {sparsity / 100:g}?" if percent else "")
        )


def check_block(operation: str, block: Any) -> None:
    """Refuse a block of no outputs."""
    if not isinstance(block, int | np.integer) or isinstance(block, bool) or block < 1:
        raise ValueError(
            f"{operation}: block is {block!r}; it counts the consecutive outputs that stand or fall "
            "together, so it is a whole number, 1 for single weights, 4 or 16 for the block kernels"
        )


def _layer_mask(layer: str, weight: Array, sparsity: float | str, block: int) -> Array:
    """The mask of one weight for a share, or for "n:m"."""
    if not isinstance(sparsity, str):
        _check_share("prune", sparsity)
        return magnitude_mask(weight, sparsity, block)
    if not (pattern := re.fullmatch(r"(\d+):(\d+)", sparsity)):
        raise ValueError(
            f'prune: {sparsity!r} is no pattern; "2:4" keeps the 2 largest of every 4 weights, and a share '
            "is a number: 0.9 removes 90 %"
        )
    if block != 1:
        raise ValueError(f'prune: "{sparsity}" chooses single weights, so block must be 1, not {block}')
    try:
        return n_m_mask(weight, int(pattern[1]), int(pattern[2]))
    except ValueError as error:
        raise ValueError(f"prune: layer {layer!r}: {error}") from None


def _check_share(operation: str, sparsity: Any) -> None:
    check_sparsity(operation, sparsity)
    if sparsity == 1:
        raise ValueError(
            f"{operation}: sparsity is 1, which would remove every weight, and with them all that the model "
            "has learned. 0.9 keeps one weight in ten"
        )


# --- a whole model ------------------------------------------------------------------------------------------


def named_layers(model: Any) -> Iterator[tuple[str, Layer]]:
    """All layers of a model, those inside others, too, with dotted names.

    A model need not be a `Module`: one that has its layers in a list `layers` will do.
    """
    if isinstance(model, Module):
        yield from model.named_modules()
    else:
        yield from ((f"layers.{i}", layer) for i, layer in enumerate(flat_layers(model)))


def prunable_layers(model: Any) -> dict[str, Linear | Conv2d]:
    """The layers whose weights pruning considers, linear and convolution, by name, in the order of the model.

    Of layers that share one weight, the first.
    """
    found, seen = {}, set()
    for name, layer in named_layers(model):
        if isinstance(layer, Linear | Conv2d) and id(layer.weight) not in seen:
            seen.add(id(layer.weight))
            found[name] = layer
    return found


def prunable(model: Any) -> list[Tensor]:
    """The weights of `prunable_layers`; biases and embeddings stay as they are."""
    return [layer.weight for layer in prunable_layers(model).values()]


def checked_layers(operation: str, model: Any) -> dict[str, Linear | Conv2d]:
    """`prunable_layers`, or the error that there are none, or that one holds NaN."""
    layers = prunable_layers(model)
    if not layers:
        raise ValueError(
            f"{operation}: {type(model).__name__} has no Linear or Conv2d layer, as an attribute or in a "
            "list of layers. Give it the trained model, not yet optimized, quantized or sparsified"
        )
    for name, layer in layers.items():
        if not np.isfinite(layer.weight.data).all():
            raise ValueError(
                f"{operation}: the weight of layer {name!r} holds NaN or infinity, which have no magnitude; "
                "did its training diverge?"
            )
    return layers


class Masks:
    """Which weights of a model are kept. `apply` zeroes the others; call it after every optimizer step.

    Parameters
    ----------
    weights : sequence of Tensor
    masks : sequence of bool array
        One for each weight, in its shape; True keeps.
    names : iterable of str, optional
        Of the layers.
    """

    def __init__(self, weights: Sequence[Tensor], masks: Sequence[Array], names: Iterable[str] = ()) -> None:
        self.weights, self.masks = list(weights), list(masks)
        self.names = list(names) or [str(i) for i in range(len(weights))]
        if not len(weights) == len(masks) == len(self.names):
            raise ValueError(
                f"Masks: {len(masks)} masks and {len(self.names)} names for {len(weights)} weights; "
                "each weight needs one of each"
            )
        for name, weight, mask in zip(self.names, weights, masks, strict=True):
            if mask.shape != weight.shape:
                raise ValueError(
                    f"Masks: the mask of layer {name!r} has another shape than its weight:\n"
                    f"  mask   {mask.shape}\n  weight {weight.shape}\n"
                    "A mask belongs to the architecture that it was made for"
                )

    @classmethod
    def of_zeros(cls, model: Any) -> Masks:
        """The masks of a model that is pruned already, read off its zeros: for one that was loaded."""
        layers = checked_layers("Masks.of_zeros", model)
        weights = [layer.weight for layer in layers.values()]
        return cls(weights, [weight.data != 0 for weight in weights], layers)

    def onto(self, model: Any) -> Masks:
        """The same masks on another model of this architecture; applied at once."""
        layers = checked_layers("Masks.onto", model)
        if missing := [name for name in self.names if name not in layers]:
            raise ValueError(
                f"Masks.onto: {type(model).__name__} has no layer {missing[0]!r}; it has {', '.join(layers)}"
            )
        masks = Masks([layers[name].weight for name in self.names], self.masks, self.names)
        masks.apply()
        return masks

    def apply(self) -> None:
        """Set the weights that are not kept to zero."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.data *= mask

    def wrap(self, optimizer: Any) -> MaskedOptimizer:
        """The optimizer, with `apply` after each of its steps."""
        return MaskedOptimizer(optimizer, self)

    @property
    def sparsity(self) -> float:
        """The share of all these weights that goes."""
        kept, total = sum(int(m.sum()) for m in self.masks), sum(m.size for m in self.masks)
        return 1 - kept / total if total else 0.0

    @property
    def by_layer(self) -> dict[str, float]:
        """The share of each layer's weights that goes."""
        return {name: 1 - float(mask.mean()) for name, mask in zip(self.names, self.masks, strict=True)}


class MaskedOptimizer:
    """Another optimizer whose steps leave pruned weights at zero; all else is that optimizer's own."""

    def __init__(self, optimizer: Any, masks: Masks) -> None:
        self._optimizer, self._masks = optimizer, masks

    def step(self) -> None:
        self._optimizer.step()
        self._masks.apply()

    def __getattr__(self, name: str) -> Any:
        if name == "_optimizer":  # not there yet, while a copy is being made
            raise AttributeError(name)
        return getattr(self._optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_optimizer", "_masks"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._optimizer, name, value)  # a schedule sets lr


def prune(
    model: Any,
    sparsity: float | str | Mapping[str, float | str],
    *,
    block: int = 1,
    scope: str = "adaptive",
) -> Masks:
    """Zeroes the smallest weights of a model, in place.

    Parameters
    ----------
    sparsity : float, str or dict
        The share of weights that goes, from 0 to below 1. Or ``"2:4"``: each output keeps the 2 largest of
        every 4 weights. Or one of these for each layer that a dict names, ``{"layers.1": 0.9}``; the others
        stay as they are.
    block : int
        Consecutive outputs that stand or fall together; 1 prunes single weights, 4 suits the sparse kernels.
    scope : "adaptive", "global" or "layer"
        For a share: compare all weights of the model with each other, each as its share of what its layer
        would have left ("adaptive"; Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning",
        2021) or as it is ("global", which may empty a whole layer); or the weights of each layer alone.

    Returns
    -------
    Masks
        What is kept, for fine-tuning.

    Raises
    ------
    ValueError
        For a model without such layers, weights that are NaN, a share that is none, a layer that isn't there.
    """
    layers = checked_layers("prune", model)
    check_block("prune", block)
    if scope not in ("adaptive", "global", "layer"):
        raise ValueError(f'prune: scope is {scope!r}, must be "adaptive", "global" or "layer"')
    if isinstance(sparsity, Mapping):
        if unknown := [name for name in sparsity if name not in layers]:
            raise ValueError(
                f"prune: there is no layer {unknown[0]!r} to prune; there are {', '.join(layers)}"
            )
        layers = {name: layers[name] for name in sparsity}
        wanted = dict(sparsity)
    else:
        wanted = dict.fromkeys(layers, sparsity)
    weights = [layer.weight.data for layer in layers.values()]
    if isinstance(sparsity, Mapping | str) or scope == "layer":
        masks = [_layer_mask(name, layers[name].weight.data, s, block) for name, s in wanted.items()]
    else:
        _check_share("prune", sparsity)
        masks = _joint_masks(weights, sparsity, block, adaptive=scope == "adaptive")
    result = Masks([layer.weight for layer in layers.values()], masks, layers)
    result.apply()
    return result


def _joint_masks(weights: list[Array], sparsity: float, block: int, *, adaptive: bool) -> list[Array]:
    """Masks that remove the smallest of all weights together."""
    scores = [block_scores(as_rows(w), block) for w in weights]
    ranked = [_share_of_the_rest(s) for s in scores] if adaptive else scores
    joined = np.concatenate([r.ravel() for r in ranked])
    removed = np.split(
        smallest(joined, round(sparsity * joined.size)), np.cumsum([s.size for s in scores])[:-1]
    )
    return [
        _mask_of_blocks(r.reshape(s.shape), w, block)
        for r, s, w in zip(removed, scores, weights, strict=True)
    ]


def _share_of_the_rest(scores: Array) -> Array:
    """Each squared score over the sum of the squares that are not smaller: the largest of a layer has 1."""
    squares = scores.ravel().astype(np.float64) ** 2
    order = np.argsort(squares, kind="stable")
    rest = np.cumsum(squares[order][::-1])[::-1]
    shares = np.empty_like(squares)
    shares[order] = squares[order] / np.where(rest > 0, rest, 1)
    return shares.reshape(scores.shape)
