"""matmul_int8: c = a b of bytes, summed in int32."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinytorch import kernels
from tinytorch.kernels import lessons, reference

from . import matmul
from .operation import Arguments, Call, Case, Mistake, Operation, Opponent, named


def _bytes(m: int, k: int, n: int) -> Arguments:
    random = np.random.default_rng([m, k, n])
    a, b = random.integers(0, 256, (m, k)), random.integers(-128, 128, (k, n))
    return a.astype(np.uint8), b.astype(np.int8)


def arguments(a: np.ndarray, b: np.ndarray) -> Arguments:
    matmul.check_matrices("matmul_int8", a, b)
    return a, b, np.empty((a.shape[0], b.shape[1]), np.int32), *matmul.shape_of(a, b).values()


def cases() -> Iterator[Case]:
    for m, k, n in matmul.SHAPES:
        yield Case(named(m=m, k=k, n=n), _bytes(m, k, n))
    for extreme in (-128, 127):
        a, b = np.full((5, 301), 255, np.uint8), np.full((301, 9), extreme, np.int8)
        yield Case(f"m=5, k=301, n=9, all of a 255, all of b {extreme}", (a, b))


def expected(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return reference.matmul_int8(a, b).astype(np.int64)


def _saturated(a: np.ndarray, b: np.ndarray, **_: object) -> np.ndarray:
    """Pairs of products added with 16-bit saturation, as _mm256_maddubs_epi16 adds them."""
    products = a.astype(np.int64)[:, :, None] * b[None]
    if products.shape[1] % 2:
        products = np.concatenate([products, np.zeros_like(products[:, :1])], axis=1)
    return np.clip(products[:, ::2] + products[:, 1::2], -32768, 32767).sum(axis=1)


def _narrow(dtype: type) -> Callable[..., np.ndarray]:
    return lambda a, b, expected, **_: expected.astype(dtype).astype(np.int64)


MISTAKES = (
    *matmul.MISTAKES,
    Mistake(
        "a is read as signed bytes: it holds 0 ... 255, so its type is uint8_t",
        lambda a, b, **_: reference.matmul_int8(a.view(np.int8), b),
    ),
    Mistake(
        "b is read as unsigned bytes: it holds -128 ... 127, so its type is int8_t (char may be either)",
        lambda a, b, **_: reference.matmul_int8(a, b.view(np.uint8)),
    ),
    Mistake("the sum overflows 16 bits: sum in int32_t", _narrow(np.int16)),
    Mistake("the sum overflows 8 bits: sum in int32_t", _narrow(np.int8)),
    Mistake(
        "pairs of products saturate at 16 bits, as _mm256_maddubs_epi16 does: widen to 16 bits first "
        "and use _mm256_madd_epi16",
        _saturated,
    ),
)


def race_operands(m: int, k: int, n: int) -> Arguments:
    return _bytes(m, k, n)


def work(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    m, k, n = matmul.shape_of(a, b).values()
    return 2.0 * m * k * n, m * k + k * n + 4.0 * m * n


def opponents(a: np.ndarray, b: np.ndarray) -> list[Opponent]:
    c = np.empty((a.shape[0], b.shape[1]), np.int32)
    return [
        Opponent("plain loop", lambda: lessons.matmul_int8[0](a, b, out=c)),
        Opponent("TinyTorch", lambda: kernels.matmul_int8(a, b)),
    ]


def replacement(call: Call) -> Callable[..., np.ndarray]:
    def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype == np.uint8:
            return call(a, b)
        # a + 128 is unsigned, and adds 128 times the sum of each column of b.
        shifted = (a.astype(np.int16) + 128).astype(np.uint8)
        return call(shifted, b) - 128 * b.sum(axis=0, dtype=np.int32)

    return multiply


MATMUL_INT8 = Operation(
    name="matmul_int8",
    prototype="void matmul_int8(const uint8_t *a, const int8_t *b, int32_t *c, int m, int k, int n)",
    about=(
        "matmul_int8: c = a b. a is (m, k) of 0 ... 255, b is (k, n) of -128 ... 127, c is (m, n); rows lie\n"
        "one after the other. Sums are exact, with k at most 65536. c holds anything at first; any size may\n"
        "be 0."
    ),
    stub=matmul.MATMUL.stub,
    arguments=arguments,
    cases=cases,
    expected=expected,
    tolerance=lambda a, b: np.zeros((a.shape[0], b.shape[1])),
    mistakes=MISTAKES,
    replacement=replacement,
    race_sizes={"m": 256, "k": 256, "n": 256},
    race_operands=race_operands,
    work=work,
    opponents=opponents,
)
