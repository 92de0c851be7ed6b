"""Lab 16, acceleration: what the student's rungs of the matrix product have to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.course.checks import Lab, choice, close, expect, same
from tinytorch.course.subject import Subject

lab = Lab(16, "Acceleration: one matrix product, from loops to packed tiles")

SHAPES = ((1, 1, 1), (2, 3, 4), (4, 1, 3), (5, 7, 1), (3, 0, 2), (7, 6, 5))
SUM_HINT = "element (i, j) is the sum over all p of a[i, p] · b[p, j], and each sum starts at 0"
ROWS_HINT = "row i of the result is the sum over all p of a[i, p] times row p of b; c starts at 0 (np.zeros)"


def _numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def _check_product(got: Any, a: np.ndarray, b: np.ndarray, hint: str, about: str = "") -> None:
    """The product, to the accuracy of float32 sums."""
    name = f"the product of {a.shape} and {b.shape}{about}"
    close(name, got, kernels.matmul(a, b), hint, atol=1e-6)
    expect(
        np.asarray(got).dtype == np.float32, f"{name} should be float32, and is {np.asarray(got).dtype}",
        "make the result with np.zeros(shape, np.float32)",
    )  # fmt: skip


def _check_matrices(matmul: Subject, rng: np.random.Generator, hint: str) -> None:
    """Small, odd and empty sizes; then one size again and again, in memory that was used before."""
    for m, k, n in SHAPES:
        a, b = _numbers(rng, m, k), _numbers(rng, k, n)
        _check_product(matmul(a, b), a, b, hint)
    for _ in range(8):
        a, b = _numbers(rng, 6, 6), _numbers(rng, 6, 6)
        _check_product(matmul(a, b), a, b, hint)


@lab.add("matmul_loops", points=1)
def check_matmul_loops(matmul_loops: Subject, *, rng: np.random.Generator) -> None:
    """Three loops give the product, whatever the sizes."""
    _check_matrices(matmul_loops, rng, SUM_HINT)


@lab.add("matmul_rows", points=2)
def check_matmul_rows(matmul_rows: Subject, *, rng: np.random.Generator) -> None:
    """Whole rows of b, each times a number of a, add up to the rows of the product."""
    _check_matrices(matmul_rows, rng, ROWS_HINT)


@lab.add("matmul_outer", points=2)
def check_matmul_outer(matmul_outer: Subject, *, rng: np.random.Generator) -> None:
    """A sum of outer products, for one pair of matrices and for batches that broadcast."""
    hint = "for each p: column p of a (M, 1) times row p of b (1, N); the result starts at 0"
    _check_matrices(matmul_outer, rng, hint)
    hint = (
        "the last two axes are the matrix, the leading ones broadcast: a[..., p] is column p of every matrix"
    )
    for shape_a, shape_b in (
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 6)),
        ((4, 4, 4), (4, 4, 4)),
    ):
        a, b = _numbers(rng, *shape_a), _numbers(rng, *shape_b)
        _check_product(matmul_outer(a, b), a, b, hint)


@lab.add("matmul_tiled", points=3)
def check_matmul_tiled(matmul_tiled: Subject, *, rng: np.random.Generator) -> None:
    """Tiles cover every product once, edges included, and none is larger than asked for."""
    for (m, k, n), tile in (
        ((4, 4, 4), 2), ((6, 4, 2), 2), ((5, 7, 3), 2), ((7, 8, 9), 4), ((10, 3, 11), 5), ((3, 2, 4), 8),
        ((3, 3, 3), 1),
    ):  # fmt: skip
        a, b = _numbers(rng, m, k), _numbers(rng, k, n)
        sizes: list[tuple[int, int, int]] = []

        def product(x: np.ndarray, y: np.ndarray, sizes: list = sizes) -> np.ndarray:
            sizes.append((x.shape[0], x.shape[1], y.shape[1]))
            return kernels.matmul(x, y)

        got = matmul_tiled(a, b, tile, product)
        about = f" with tile={tile}"
        hint = (
            "i, j and p each step by tile; a slice that goes past the end is cut off by itself, and each "
            "piece of c adds up over all p"
        )
        expect(sizes, "product was never called", "it multiplies the two pieces: product(a_tile, b_tile)")
        largest = max(max(size) for size in sizes)
        expect(
            largest <= tile,
            f"product got a piece {max(sizes, key=max)} (rows, depth, columns){about}",
            "all three axes are cut, the depth too: a[i : i + tile, p : p + tile]",
        )
        done = sum(rows * depth * columns for rows, depth, columns in sizes)
        expect(
            done == m * k * n,
            f"({m}, {k}) times ({k}, {n}) is {m * k * n} multiplications, and{about} product did {done}",
            "too few: an edge is left out; too many: pieces overlap",
        )
        _check_product(got, a, b, hint, about)


@lab.add("pack", points=3)
def check_pack(pack: Subject, matmul_packed: Subject, *, rng: np.random.Generator) -> None:
    """Panels hold b in the order in which tiles read it, and give its product."""
    for (k, n), width in (((2, 3), 2), ((3, 4), 4), ((4, 8), 2), ((5, 7), 3), ((1, 5), 8), ((6, 1), 4)):
        b = _numbers(rng, k, n)
        about = f"b ({k}, {n}) in panels of {width}"
        packed, panels = pack(b, width), -(-n // width)
        same(
            f"the shape of {about}", np.shape(packed), (panels * k * width,),
            "flat: ⌈N / width⌉ panels of K · width numbers each",
        )  # fmt: skip
        expect(packed.dtype == np.float32, f"{about} should be float32, and is {packed.dtype}")
        for place, number in enumerate(packed.tolist()):
            _check_place(about, b, width, place, number)
        a = _numbers(rng, 4, k)
        _check_product(
            matmul_packed(a, _by_places(b, width), n, width), a, b,
            "panel s gives the columns from s · width on; of the last one, only those that b has",
            f", packed in panels of {width}",
        )  # fmt: skip


def _source(b: np.ndarray, width: int, place: int) -> tuple[int, int]:
    """Row and column of b that belong at a place of the packed array."""
    panel, inside = divmod(place, len(b) * width)
    return inside // width, panel * width + inside % width


def _check_place(about: str, b: np.ndarray, width: int, place: int, number: float) -> None:
    p, j = _source(b, width, place)
    inside = j < b.shape[1]
    wanted = float(b[p, j]) if inside else 0.0
    expect(
        number == wanted,
        f"{about}: number {place} should be {f'b[{p}, {j}] = {wanted:.4g}' if inside else '0'}, "
        f"and is {number:.4g}",
        "within a panel, row after row, `width` numbers of each; then the next panel; zeros for no column",
    )


def _by_places(b: np.ndarray, width: int) -> np.ndarray:
    """b packed, with numbers in the place of the padding that must not come through."""
    places = (_source(b, width, place) for place in range(-(-b.shape[1] // width) * len(b) * width))
    return np.array([b[p, j] if j < b.shape[1] else 100.0 for p, j in places], np.float32)


@lab.add("gap", points=1)
def check_gap(gap: str) -> None:
    """Why the same products in another order are faster."""
    hint = "read what it says of the innermost loop of each: what does one step need from the step before?"
    choice(gap, "b", hint, judge="the compiler says")
