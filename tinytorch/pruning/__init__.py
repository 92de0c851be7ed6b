"""Module 18: cut the weakest connections.

Most weights of a trained network are small, and it does nearly as well without them. What that saves depends
on how they go:

- scattered zeros (`prune`) save bytes, and time only where a kernel skips them. Blocks of r outputs by one
  input are what a sparse kernel likes better; n of every m is what some GPUs have an instruction for;
- whole channels and neurons (`remove_units`) leave a smaller ordinary model, at more cost in accuracy;
- `low_rank` makes two thin layers of a wide one, `KnowledgeDistillation` a small model of a large one.

`Masks` holds the zeros while the rest is trained on, `PruneGradually` cuts on a schedule; `sensitivity` shows
which layers bear it, `find_ticket` where a sparse network comes from. `sparsify` puts sparse products in the
place of dense ones where a race says that they pay.

Pruning and quantization combine: zeros stay zeros in INT8, whose scales are symmetric. There is no sparse
INT8 kernel, so what is quantized after pruning is stored and multiplied like any other INT8 layer.
"""

from .course import Compressor, compress_model, magnitude_prune, measure_sparsity, structured_prune
from .distillation import KnowledgeDistillation
from .gradual import CubicSparsity, IterativeSparsity, PruneGradually
from .low_rank import Factors, factorize, low_rank, low_rank_approximate
from .masks import MaskedOptimizer, Masks, magnitude_mask, n_m_mask, prunable, prunable_layers, prune
from .pruner import DenseMLP, MagnitudePruner
from .sparse import (
    Decision,
    SparseConvolution,
    SparseDense,
    SparseLayer,
    SparseModel,
    decisions_table,
    sparsify,
)
from .structured import remove_units, zero_units
from .studies import Sensitivity, Ticket, find_ticket, sensitivity
from .tradeoffs import (
    analyze_pruning_accuracy_tradeoffs,
    analyze_pruning_vs_quantization,
    explore_production_pruning,
)

__all__ = [
    "Compressor",
    "CubicSparsity",
    "Decision",
    "DenseMLP",
    "Factors",
    "IterativeSparsity",
    "KnowledgeDistillation",
    "MagnitudePruner",
    "MaskedOptimizer",
    "Masks",
    "PruneGradually",
    "Sensitivity",
    "SparseConvolution",
    "SparseDense",
    "SparseLayer",
    "SparseModel",
    "Ticket",
    "analyze_pruning_accuracy_tradeoffs",
    "analyze_pruning_vs_quantization",
    "compress_model",
    "decisions_table",
    "explore_production_pruning",
    "factorize",
    "find_ticket",
    "low_rank",
    "low_rank_approximate",
    "magnitude_mask",
    "magnitude_prune",
    "measure_sparsity",
    "n_m_mask",
    "prunable",
    "prunable_layers",
    "prune",
    "remove_units",
    "sensitivity",
    "sparsify",
    "structured_prune",
    "zero_units",
]
