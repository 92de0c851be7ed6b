"""Lab 18, pruning: what the student's masks, compressed rows, sparse product and fine-tuning have to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import kernels, pruning
from tinytorch.course.checks import Lab, choice, close, expect, same
from tinytorch.course.subject import Subject

lab = Lab(18, "Pruning: cut the weakest connections")

SHARE_HINT = "sparsity is the share that goes: round(sparsity * w.size) are False, and all others True"
CSR_HINT = "row i owns the entries from row_pointers[i] up to row_pointers[i + 1], which is not included"


@lab.add("magnitude_mask", points=2)
def check_magnitude_mask(magnitude_mask: Subject, *, rng: np.random.Generator) -> None:
    """A mask keeps the largest weights of all, whatever their sign."""
    for shape, sparsity in (((7, 9), 0.5), ((6, 4, 3, 3), 0.7), ((10, 10), 0.9), ((3, 5), 0.0)):
        w = _uneven(rng, shape)
        name = f"the mask of weights {shape} with sparsity {sparsity}"
        keep = magnitude_mask(w, sparsity)
        _check_count(name, keep, w.shape, round(sparsity * w.size))
        sizes = np.abs(w)
        dropped, kept = sizes[~keep].max(initial=0.0), sizes[keep].min(initial=np.inf)
        expect(
            dropped <= kept,
            f"{name} drops a weight of size {dropped:.3g} and keeps one of size {kept:.3g}",
            "compare |w|: -3 is a large weight; and compare all weights of the array, not row by row",
        )
    equal = np.full((4, 5), -0.5, np.float32)
    _check_count("the mask of 20 equal weights with sparsity 0.5", magnitude_mask(equal, 0.5), (4, 5), 10)


def _uneven(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Weights whose rows differ in size, so that it shows who competes with whom."""
    w = rng.standard_normal(shape).astype(np.float32)
    return w * np.geomspace(0.1, 3, shape[0]).astype(np.float32).reshape(-1, *[1] * (len(shape) - 1))


def _check_count(name: str, keep: Any, shape: tuple[int, ...], gone: int) -> None:
    same(f"the shape of {name}", np.shape(keep), shape, "keep.reshape(w.shape)")
    dtype = np.asarray(keep).dtype
    expect(dtype.kind == "b", f"{name} should be bool, and is {dtype}", "True keeps a weight, False drops it")
    false = int((~keep).sum())
    hint = SHARE_HINT
    if false != gone and abs(false - gone) <= 1:
        hint += ". A threshold can miss by one, and by many where weights are equal: count with np.argsort"
    expect(false == gone, f"{name} should drop {gone} weights, and drops {false}", hint)


@lab.add("block_mask", points=2)
def check_block_mask(block_mask: Subject, *, rng: np.random.Generator) -> None:
    """Blocks of consecutive outputs stand or fall together, by their mean size."""
    for shape, sparsity, block in (((6, 8), 0.5, 4), ((10, 12), 0.8, 4), ((5, 6), 0.6, 2)):
        w = _uneven(rng, shape)
        name = f"the mask of weights (in, out) = {shape} in blocks of {block}"
        keep = block_mask(w, sparsity, block)
        blocks = shape[0] * shape[1] // block
        _check_count(name, keep, shape, block * round(sparsity * blocks))
        together = np.asarray(keep).reshape(shape[0], -1, block)
        expect(
            (together.all(axis=2) | ~together.any(axis=2)).all(),
            f"{name} keeps a part of a block and drops the other",
            "a block is `block` neighbours in one row of w: outputs are along axis 1",
        )
        wanted = pruning.magnitude_mask(w, sparsity, block)
        same(name, keep, wanted, "a block counts by the mean of its |w|, and all blocks of w compete")


@lab.add("to_csr", points=2)
def check_to_csr(to_csr: Subject, *, rng: np.random.Generator) -> None:
    """Compressed rows hold what is not zero, with its column, and where each row begins."""
    for rows, columns, empty in ((4, 6, []), (5, 3, [0]), (6, 4, [2, 3]), (3, 7, [2]), (2, 5, [0, 1])):
        matrix = _sparse(rng, rows, columns)
        matrix[empty] = 0
        _check_csr(to_csr(matrix), matrix, f"({rows}, {columns})" + (" with rows of zeros" if empty else ""))


def _sparse(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    kept = rng.random((rows, columns)) < 0.5
    kept[:, 0] = True  # no row is empty by chance
    return np.where(kept, rng.standard_normal((rows, columns)), 0).astype(np.float32)


def _check_csr(result: Any, matrix: np.ndarray, name: str) -> None:
    expect(
        isinstance(result, tuple) and len(result) == 3,
        f"to_csr should give (values, indices, row_pointers), and gives {type(result).__name__}",
    )
    values, indices, row_pointers = result
    wanted = kernels.SparseMatrix.from_dense(matrix)
    name = f"of a matrix {name}"
    hint = (
        "one more than there are rows, from 0 to the number of values; a row of zeros adds none. " + CSR_HINT
    )
    same(f"row_pointers {name}", row_pointers, wanted.row_pointers, hint)
    hint = "what is not 0, row after row, and in a row from left to right"
    same(f"values {name}", values, wanted.values[:, 0], hint)
    same(f"indices {name}", indices, wanted.indices.astype(np.int32), "the column of each value, as int32")


@lab.add("sparse_matmul", points=2)
def check_sparse_matmul(sparse_matmul: Subject, *, rng: np.random.Generator) -> None:
    """The sparse product is that of the dense matrix, from the stored weights alone."""
    for rows, columns, n, empty in ((1, 1, 1, []), (4, 6, 3, []), (6, 5, 1, [0, 3]), (3, 8, 5, [2])):
        matrix = _sparse(rng, rows, columns)
        matrix[empty] = 0
        w = kernels.SparseMatrix.from_dense(matrix)
        x = rng.standard_normal((columns, n)).astype(np.float32)
        got = sparse_matmul(w.values[:, 0].copy(), w.indices.astype(np.int32), w.row_pointers.copy(), x)
        hint = "y[i] is the sum over row i's entries e of values[e] times row indices[e] of x. " + CSR_HINT
        if empty:
            hint = "a row of w without entries makes a row of zeros. " + hint
        close(
            f"the product of ({rows}, {columns}) and ({columns}, {n})", got, kernels.sparse_matmul(w, x), hint
        )


@lab.add("fine_tune", points=2)
def check_fine_tune(fine_tune: Subject, *, rng: np.random.Generator) -> None:
    """Pruned weights are 0 before each step and at the end; the others learn."""
    shapes = ((4, 5), (3, 2))
    start = [rng.standard_normal(shape).astype(np.float32) + 3 for shape in shapes]
    goals = [rng.standard_normal(shape).astype(np.float32) - 3 for shape in shapes]
    masks = [np.arange(w.size).reshape(w.shape) % 3 > 0 for w in start]
    regrown: list[bool] = []

    def step(weights: list[np.ndarray]) -> list[np.ndarray]:
        """Half of the way to the goals, for each weight, pruned or not."""
        regrown.append(any((w[~mask] != 0).any() for w, mask in zip(weights, masks, strict=True)))
        return [(w + goal) / 2 for w, goal in zip(weights, goals, strict=True)]

    for steps in (0, 1, 4):
        regrown.clear()
        tuned = fine_tune(step, start, masks, steps)
        expect(
            isinstance(tuned, (list, tuple)) and len(tuned) == len(start),
            f"fine_tune should give a list of {len(start)} arrays, and gives {type(tuned).__name__}",
        )
        name = f"after {steps} steps"
        expect(len(regrown) == steps, f"with steps={steps}, step was called {len(regrown)} times")
        for w, mask in zip(tuned, masks, strict=True):
            same(f"the shape of a weight {name}", np.shape(w), mask.shape)
            hint = "multiply by the mask after every step, the last one, too; True keeps, False drops"
            expect((w[~mask] == 0).all(), f"{name}, pruned weights are not 0", hint)
        expect(
            not any(regrown),
            f"step {regrown.index(True) + 1 if any(regrown) else 0} was given pruned weights that are not 0",
            "the optimizer moves every weight, so apply the mask before the first step and after each",
        )
        for w, first, goal, mask in zip(tuned, start, goals, masks, strict=True):
            learned = goal + (first - goal) / 2**steps
            hint = "each step goes on from what the one before returned"
            close(f"a kept weight {name}", w[mask], learned[mask], hint)


@lab.add("gap", points=1)
def check_gap(gap: str) -> None:
    """Where the rest of a sparse product's gain goes."""
    hint = (
        "blocks and single weights do equally many products in one call: what do they not do equally often?"
    )
    choice(gap, "b", hint)
