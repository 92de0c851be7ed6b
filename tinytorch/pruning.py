"""Module 18: cut the weakest connections.

Magnitude pruning sets the weights of least absolute value to zero. Scattered zeros save bytes; to save time
as well, a kernel must skip them. `prune` chooses the weights, alone or in blocks of r outputs by one input,
which a sparse kernel likes better; `Masks` keeps them at zero while the rest is trained on; `sparsify`
replaces the dense products by sparse ones.

Method: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015; blocks: Elsen
et al., "Fast Sparse ConvNets", 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kernels
from .acceleration import Convolution, Dense, InferenceModel, Stage, flat_layers, lower, pack_stage
from .layers import Layer, Linear
from .spatial import Conv2d
from .tensor import Tensor

Array = np.ndarray

# --- which weights go --------------------------------------------------------------------------------------


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
    _check_sparsity("magnitude_mask", sparsity)
    rows = as_rows(weight)
    scores = block_scores(rows, block)
    return _mask_of_blocks(smallest(scores, round(sparsity * scores.size)), weight, block)


def _mask_of_blocks(removed: Array, weight: Array, block: int) -> Array:
    rows = as_rows(weight)
    keep = ~np.repeat(removed, block, axis=0)[: len(rows)]
    return np.ascontiguousarray(keep.T) if weight.ndim == 2 else keep.reshape(weight.shape)


def prunable(model: Layer) -> list[Tensor]:
    """The weights that pruning considers: those of the linear and convolution layers, not their biases."""
    return [layer.weight for layer in flat_layers(model) if isinstance(layer, Linear | Conv2d)]


class Masks:
    """Which weights of a model are kept. `apply` zeroes the others; call it after every optimizer step."""

    def __init__(self, weights: list[Tensor], masks: list[Array]) -> None:
        self.weights, self.masks = weights, masks

    def apply(self) -> None:
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.data *= mask

    def wrap(self, optimizer: Any) -> MaskedOptimizer:
        return MaskedOptimizer(optimizer, self)

    @property
    def sparsity(self) -> float:
        kept, total = sum(int(m.sum()) for m in self.masks), sum(m.size for m in self.masks)
        return 1 - kept / total if total else 0.0


class MaskedOptimizer:
    """Another optimizer whose steps leave pruned weights at zero; all else is that optimizer's own."""

    def __init__(self, optimizer: Any, masks: Masks) -> None:
        self._optimizer, self._masks = optimizer, masks

    def step(self) -> None:
        self._optimizer.step()
        self._masks.apply()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_optimizer", "_masks"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._optimizer, name, value)  # a schedule sets lr


def prune(model: Layer, sparsity: float, *, block: int = 1, scope: str = "adaptive") -> Masks:
    """Zeroes the smallest weights of a model, in place.

    Parameters
    ----------
    sparsity : float
        The share of weights that goes, 0 to 1.
    block : int
        Consecutive outputs that stand or fall together; 1 prunes single weights, 4 suits the sparse kernels.
    scope : "adaptive", "global" or "layer"
        Compare all weights of the model with each other, each as its share of what its layer would have left
        ("adaptive"; Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021) or as it is
        ("global", which may empty a whole layer); or the weights of each layer alone.

    Returns
    -------
    Masks
        What is kept, for fine-tuning.
    """
    _check_sparsity("prune", sparsity)
    weights = prunable(model)
    if not weights:
        raise ValueError(
            f"prune: {type(model).__name__} has no Linear or Conv2d layer in a Sequential or `layers`"
        )
    if scope == "layer":
        masks = [magnitude_mask(w.data, sparsity, block) for w in weights]
    elif scope in ("adaptive", "global"):
        masks = _joint_masks([w.data for w in weights], sparsity, block, adaptive=scope == "adaptive")
    else:
        raise ValueError(f'prune: scope is {scope!r}, must be "adaptive", "global" or "layer"')
    result = Masks(weights, masks)
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


def _check_sparsity(operation: str, sparsity: float) -> None:
    if not 0 <= sparsity <= 1:
        raise ValueError(
            f"{operation}: sparsity is {sparsity}, must be from 0 to 1"
            + (f"; did you mean {sparsity / 100:g}?" if 1 < sparsity <= 100 else "")
        )


# --- a pruned model that is faster --------------------------------------------------------------------------


@dataclass(frozen=True)
class SparseDense:
    """A linear layer that multiplies by its non-zero weights only."""

    weight: kernels.SparseMatrix
    bias: Array | None
    activation: str | None

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: Array) -> Array:
        return kernels.sparse_linear(x, self.weight, self.bias, activation=self.activation)


@dataclass(frozen=True)
class SparseConvolution:
    """A convolution that multiplies by its non-zero weights only."""

    weight: kernels.SparseMatrix
    bias: Array | None
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    activation: str | None

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: Array) -> Array:
        return kernels.sparse_conv2d(
            x, self.weight, self.kernel_size, self.bias,
            stride=self.stride, padding=self.padding, activation=self.activation,
        )  # fmt: skip


def sparsify(model: Layer, *, block: int = 1, least_sparsity: float = 0.0) -> InferenceModel:
    """The model for inference, with sparse products for every layer at least `least_sparsity` sparse.

    The other layers stay dense and packed. `experiments.pruning` measures from which sparsity on a sparse
    product is the faster one on a machine.
    """

    def stage_of(stage: Stage) -> Stage:
        if not isinstance(stage, Convolution | Dense):
            return stage
        rows = as_rows(np.asarray(stage.weight))
        if np.mean(rows == 0) < least_sparsity:
            return pack_stage(stage)
        sparse = kernels.SparseMatrix.from_dense(np.ascontiguousarray(rows), block=(block, 1))
        if isinstance(stage, Dense):
            return SparseDense(sparse, stage.bias, stage.activation)
        kernel_size = (stage.weight.shape[2], stage.weight.shape[3])
        return SparseConvolution(
            sparse, stage.bias, kernel_size, stage.stride, stage.padding, stage.activation
        )

    return InferenceModel([stage_of(stage) for stage in lower(model)])


# --- the course's functions --------------------------------------------------------------------------------


def measure_sparsity(model: Layer) -> float:
    """The share of zeros, 0 to 1, among all parameters of the model."""
    parameters = [p.data for layer in flat_layers(model) for p in layer.parameters()]
    total = sum(p.size for p in parameters)
    return sum(int(np.count_nonzero(p == 0)) for p in parameters) / total if total else 0.0


def magnitude_prune(model: Layer, sparsity: float = 0.5) -> Layer:
    """Zeroes the share `sparsity` of each weight, the smallest first, in place; returns the model."""
    prune(model, sparsity, scope="layer")
    return model


def structured_prune(model: Layer, prune_ratio: float = 0.5) -> Layer:
    """Zeroes the outputs of least L2 norm of each Linear, column and bias, in place; returns the model."""
    _check_sparsity("structured_prune", prune_ratio)
    for layer in flat_layers(model):
        if isinstance(layer, Linear):
            removed = smallest(
                np.linalg.norm(layer.weight.data, axis=0), int(layer.weight.shape[1] * prune_ratio)
            )
            layer.weight.data[:, removed] = 0
            if layer.bias is not None:
                layer.bias.data[removed] = 0
    return model


def low_rank_approximate(
    weight_matrix: Array | Tensor, rank_ratio: float = 0.5
) -> tuple[Array, Array, Array]:
    """U (M, r), S (r,), V (r, N) of the truncated SVD, r = rank_ratio · min(M, N), at least 1."""
    matrix = weight_matrix.data if isinstance(weight_matrix, Tensor) else np.asarray(weight_matrix)
    if matrix.ndim != 2 or not 0 < rank_ratio <= 1:
        raise ValueError(
            f"low_rank_approximate: needs a matrix and 0 < rank_ratio ≤ 1, got {matrix.shape}, {rank_ratio}"
        )
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    rank = max(1, int(rank_ratio * len(s)))
    return u[:, :rank], s[:rank], v[:rank]


class KnowledgeDistillation:
    """Trains a small student on what a large teacher says as well as on the labels.

    loss = alpha · T² · KL(teacher ‖ student, both at temperature T) + (1 - alpha) · cross-entropy (labels)
    (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
    """

    def __init__(
        self, teacher_model: Layer, student_model: Layer, temperature: float = 3.0, alpha: float = 0.7
    ) -> None:
        if temperature <= 0 or not 0 <= alpha <= 1:
            raise ValueError(
                f"KnowledgeDistillation: temperature {temperature} must be > 0, alpha {alpha} from 0 to 1"
            )
        self.teacher_model, self.student_model = teacher_model, student_model
        self.temperature, self.alpha = temperature, alpha

    def distillation_loss(self, student_logits: Any, teacher_logits: Any, true_labels: Any) -> np.floating:
        """The loss of a batch: logits (N, C), labels (N,)."""
        student, teacher = (
            np.asarray(getattr(x, "data", x), np.float32) for x in (student_logits, teacher_logits)
        )
        labels = np.asarray(getattr(true_labels, "data", true_labels)).astype(np.int64)
        log_p = kernels.log_softmax(teacher / self.temperature)
        log_q = kernels.log_softmax(student / self.temperature)
        soft = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean() * self.temperature**2
        return np.float32(self.alpha * soft + (1 - self.alpha) * kernels.cross_entropy(student, labels))


def compress_model(model: Layer, compression_config: dict[str, float]) -> tuple[Layer, dict[str, float]]:
    """Applies `magnitude_sparsity` and `structured_prune_ratio`, whichever are given, in place."""
    unknown = set(compression_config) - {"magnitude_sparsity", "structured_prune_ratio"}
    if unknown:
        raise ValueError(
            f"compress_model: unknown {sorted(unknown)}; it knows magnitude_sparsity, structured_prune_ratio"
        )
    original = measure_sparsity(model)
    if "magnitude_sparsity" in compression_config:
        magnitude_prune(model, compression_config["magnitude_sparsity"])
    if "structured_prune_ratio" in compression_config:
        structured_prune(model, compression_config["structured_prune_ratio"])
    final = measure_sparsity(model)
    ratio = (1 - original) / (1 - final) if final < 1 else math.inf
    return model, {"original_sparsity": original, "final_sparsity": final, "compression_ratio": ratio}


class Compressor:
    """The functions above under one name."""

    measure_sparsity = staticmethod(measure_sparsity)
    magnitude_prune = staticmethod(magnitude_prune)
    structured_prune = staticmethod(structured_prune)
    compress_model = staticmethod(compress_model)
