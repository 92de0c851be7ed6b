"""Sparse matrices, in blocks and not, against the dense products of others and against their sparse ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels
from tinytorch.pruning import magnitude_mask

PANELS = ((1024, 1024, 256), (512, 512, 512), (256, 1152, 1024))  # rows, depth, columns
PANEL_SPARSITIES = {1: (0.8, 0.9, 0.95, 0.98), 4: (0.5, 0.8, 0.9, 0.95, 0.98)}  # by the rows of a block
VECTORS = ((4096, 1024), (1024, 1024))
VECTOR_SPARSITIES = {1: (0.9, 0.95), 16: (0.5, 0.7, 0.9, 0.95)}
LAYERS = ((64, 1024, 512), (64, 512, 256), (8, 1024, 512))  # batch, inputs, outputs
LAYER_SPARSITIES = {1: (0.9, 0.95), 4: (0.9, 0.95)}


def cases(threads: int) -> Iterator[Case]:
    """Each product at each sparsity; the matrix is random, its blocks the largest of the dense one."""
    for block, sparsities in PANEL_SPARSITIES.items():
        for m, k, n in PANELS:
            for sparsity in sparsities:
                yield _product(m, k, n, sparsity, block, threads)
    for block, sparsities in VECTOR_SPARSITIES.items():
        for m, k in VECTORS:
            for sparsity in sparsities:
                yield _product(m, k, 1, sparsity, block, threads)
    for block, sparsities in LAYER_SPARSITIES.items():
        for batch, inputs, outputs in LAYERS:
            for sparsity in sparsities:
                yield _layer(batch, inputs, outputs, sparsity, block, threads)


def _weight(m: int, k: int, sparsity: float, block: int) -> np.ndarray:
    weight = np.random.default_rng(0).standard_normal((m, k), dtype=np.float32)
    return weight * magnitude_mask(weight.T, sparsity, block).T


def _name(sparsity: float, block: int) -> str:
    return f"{100 * sparsity:g} % zeros in {block}x1 blocks" if block > 1 else f"{100 * sparsity:g} % zeros"


def _product(m: int, k: int, n: int, sparsity: float, block: int, threads: int) -> Case:
    """w @ x: the peers' dense product of the same matrix, and their sparse ones."""
    weight = _weight(m, k, sparsity, block)
    x = np.random.default_rng(1).standard_normal((k, n), dtype=np.float32)
    w, c = kernels.SparseMatrix.from_dense(weight, (block, 1)), np.empty((m, n), np.float32)
    c_dense, c_numpy = np.empty_like(c), np.empty_like(c)
    calls: dict[str, Call] = {"NumPy": lambda: np.matmul(weight, x, out=c_numpy)}
    if peers.torch:
        torch = peers.torch
        w_tensor, x_tensor, c_tensor = torch.from_numpy(weight), torch.from_numpy(x), torch.empty(m, n)
        calls["PyTorch"] = lambda: torch.mm(w_tensor, x_tensor, out=c_tensor)
        rows = w_tensor.to_sparse_csr()
        calls["PyTorch, sparse"] = lambda: torch.mm(rows, x_tensor)
    if peers.onnxruntime:
        calls["ONNX Runtime"] = peers.onnx_call(
            "MatMul", {"w": weight, "x": x}, weights=["w"], threads=threads
        )
    if peers.scipy_sparse:
        scipy_rows = peers.scipy_sparse.csr_array(weight)
        calls["SciPy, sparse"] = lambda: scipy_rows @ x
    return Case(
        "sparse",
        f"{m} x {k} x {n}, {_name(sparsity, block)}",
        lambda: kernels.sparse_matmul(w, x, out=c),
        calls,
        own={"dense": lambda: kernels.matmul(weight, x, out=c_dense)},
        operations=2.0 * w.values.size * n,
        read_bytes=w.nbytes + x.nbytes,
    )


def _layer(batch: int, inputs: int, outputs: int, sparsity: float, block: int, threads: int) -> Case:
    """A fully connected layer with bias and ReLU, against dense ones; ours packs its dense weights too."""
    weight = _weight(outputs, inputs, sparsity, block)
    rng = np.random.default_rng(1)
    x, bias = rng.standard_normal((batch, inputs), dtype=np.float32), np.ones(outputs, np.float32)
    w, y = kernels.SparseMatrix.from_dense(weight, (block, 1)), np.empty((batch, outputs), np.float32)
    packed = kernels.pack(weight.T)
    calls: dict[str, Call] = {}
    if peers.torch:
        torch = peers.torch
        w_tensor, x_tensor, bias_tensor = map(torch.from_numpy, (weight, x, bias))
        calls["PyTorch"] = lambda: torch.relu_(torch.nn.functional.linear(x_tensor, w_tensor, bias_tensor))
    if peers.onnxruntime:
        nodes = [
            peers.onnx.helper.make_node("Gemm", ["x", "w", "bias"], ["sum"], transB=1),
            peers.onnx.helper.make_node("Relu", ["sum"], ["y"]),
        ]
        inputs_of = {"x": x, "w": weight, "bias": bias}
        calls["ONNX Runtime"] = peers.onnx_graph_call(
            nodes, inputs_of, ["y"], threads=threads, weights=["w", "bias"]
        )
    return Case(
        "sparse linear",
        f"{batch} x {inputs} -> {outputs}, {_name(sparsity, block)}",
        lambda: kernels.sparse_linear(x, w, bias, "relu", out=y),
        calls,
        own={"dense": lambda: kernels.linear(x, packed, bias, "relu")},
        operations=2.0 * w.values.size * batch,
        read_bytes=w.nbytes + x.nbytes,
    )
