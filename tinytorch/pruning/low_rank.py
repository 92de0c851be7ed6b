"""Low rank: one wide linear layer becomes two thin ones, the best of their size.

The truncated singular value decomposition is the matrix of its rank nearest to W (Eckart and Young, 1936):
the error, as a Frobenius norm, is the root of the sum of the squares of the singular values left out. With
rank r, in · out weights become r · (in + out), and the products fall likewise.

Source: Denton et al., "Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation",
2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import is_number
from ..layers import Linear, Sequential
from ..replacing import copy_model, replace_layers
from ..tensor import Tensor
from .masks import checked_layers

Array = np.ndarray


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


def rank_for(singular_values: Array, energy: float) -> int:
    """The smallest rank that keeps the share `energy` of the sum of squared singular values (descending)."""
    if not is_number(energy) or not 0 < energy <= 1:
        raise ValueError(
            f"low_rank: energy is {energy!r}, the share of the squared singular values that is kept; it must "
            "be above 0 and at most 1, e.g. 0.95"
        )
    kept = np.cumsum(np.asarray(singular_values, np.float64) ** 2)
    return int(np.searchsorted(kept, energy * kept[-1] * (1 - 1e-12))) + 1


@dataclass(frozen=True)
class Factors:
    """Two layers for one, and what that loses.

    Attributes
    ----------
    layers : Sequential of Linear (in, rank), without bias, and Linear (rank, out)
    rank : int
    error : Frobenius norm of the difference of the two layers' product and the weight
    energy : share of the squared singular values that is kept
    """

    layers: Sequential
    rank: int
    error: float
    energy: float


def factorize(layer: Linear, *, rank: int | None = None, energy: float | None = None) -> Factors:
    """Two linear layers with, between them, a given rank or the smallest that keeps a share of the energy.

    The singular values are shared between the two as square roots, so that neither trains faster.

    Raises
    ------
    ValueError
        Unless one of rank and energy is given; for a rank that the matrix doesn't have.
    """
    if not isinstance(layer, Linear):
        raise TypeError(f"factorize: expected a Linear layer, got {type(layer).__name__}")
    if (rank is None) == (energy is None):
        raise ValueError("factorize: give either rank, such as 32, or energy, such as 0.95")
    u, s, v = np.linalg.svd(layer.weight.data.astype(np.float64), full_matrices=False)
    if energy is not None:
        rank = rank_for(s, energy)
    if not isinstance(rank, int | np.integer) or not 1 <= rank <= len(s):
        raise ValueError(
            f"factorize: rank is {rank!r}; a weight {layer.weight.shape} has whole ranks from 1 to {len(s)}"
        )
    inputs, outputs = layer.weight.shape
    first, second = Linear(inputs, int(rank), bias=False), Linear(int(rank), outputs, layer.bias is not None)
    root = np.sqrt(s[:rank])
    first.weight.data = (u[:, :rank] * root).astype(layer.weight.dtype)
    second.weight.data = (root[:, None] * v[:rank]).astype(layer.weight.dtype)
    if layer.bias is not None and second.bias is not None:
        second.bias.data = layer.bias.data.copy()
    squares = s**2
    total = squares.sum()
    error = float(np.sqrt(squares[rank:].sum()))
    return Factors(
        Sequential(first, second), int(rank), error, float(squares[:rank].sum() / total) if total else 1.0
    )


def low_rank(model: Any, energy: float = 0.9) -> tuple[Any, dict[str, Factors]]:
    """A copy of the model with each linear layer factorized, where that makes it smaller.

    Parameters
    ----------
    model
        Stays as it is. Convolutions are left alone.
    energy : float
        The share of each layer's squared singular values that is kept.

    Returns
    -------
    model
    factors : dict
        What became of each layer that was replaced, by name. The others would not have become smaller: below
        r = in · out / (in + out) two layers hold less than one.
    """
    result = copy_model("low_rank", model)
    factors, others = {}, {}
    for name, layer in checked_layers("low_rank", result).items():
        if isinstance(layer, Linear):
            found = factorize(layer, energy=energy)
            if found.rank * sum(layer.weight.shape) < layer.weight.size:
                factors[name] = found
                others[id(layer)] = found.layers.train(layer.training)
    return replace_layers(result, others), factors
