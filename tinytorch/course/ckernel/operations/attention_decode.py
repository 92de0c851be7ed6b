"""attention_decode: the attention of one new position over those stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.kernels import KVCache, lessons, reference
from tinytorch.kernels.reference.quantize import quantize_positions

from .operation import Arguments, Call, Case, Mistake, Operation, Opponent, doubled, named, normal

SHAPES = [  # (heads, length, capacity, d)
    (1, 1, 1, 1), (1, 2, 2, 3), (1, 1, 4, 2), (2, 3, 3, 4), (2, 5, 9, 3), (3, 17, 20, 16), (4, 33, 64, 7),
    (1, 130, 130, 64), (0, 2, 3, 4),
]  # fmt: skip


def _stored(heads: int, length: int, capacity: int, d: int, seed: int) -> np.ndarray:
    """Keys or values of `length` positions; what lies behind them is not to be read, so it is NaN."""
    x = np.full((heads, capacity, d), np.nan, np.float32)
    x[:, :length] = normal(heads, length, d, seed=seed)
    return x


def _operands(heads: int, length: int, capacity: int, d: int) -> Arguments:
    keys, values = (_stored(heads, length, capacity, d, seed) for seed in (1, 2))
    return normal(heads, d), keys, values, length


def arguments(q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int) -> Arguments:
    heads, capacity, d = keys.shape
    if q.shape != (heads, d) or values.shape != keys.shape or not 1 <= length <= capacity:
        raise ValueError(
            "attention_decode: q must be (heads, d), keys and values (heads, capacity, d), and length from 1 "
            f"to capacity\n  q       {q.shape}\n  keys    {keys.shape}\n  values  {values.shape}\n"
            f"  length  {length}\n  fix: kernels.use(attention_decode=mine) brings them into this form"
        )
    return q, keys, values, np.empty((heads, d), np.float32), heads, length, capacity, d


def cases() -> Iterator[Case]:
    for heads, length, capacity, d in SHAPES:
        name = named(heads=heads, length=length, capacity=capacity, d=d)
        yield Case(name, _operands(heads, length, capacity, d), exact=False)
    q, keys, values, length = _operands(2, 6, 8, 16)
    yield Case(
        "heads=2, length=6, capacity=8, d=16, scores of hundreds", (q * 300, keys, values, length), False
    )


def expected(
    q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int, scale: float | None = None
) -> np.ndarray:
    q, k, v = doubled(q[None, :, None], keys[None, :, :length], values[None, :, :length])
    return reference.attention(q, k, v, scale=scale)[0, :, 0]


def tolerance(q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    # A score is off by some roundings of its terms, its exponential by that share, and y is a mean of values.
    scores = np.abs(q).astype(np.float64)[:, None] * np.abs(keys[:, :length])
    largest = (scores.sum(axis=2).max(axis=1, initial=0) * q.shape[1] ** -0.5)[:, None]
    spread = np.abs(values[:, :length]).max(axis=1, initial=0)
    return (1e-6 * (q.shape[1] + 8) * (1 + largest) + 1e-7 * length) * spread + 1e-30


def _not_divided(q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int, **_: Any) -> np.ndarray:
    scores = np.einsum("hd,htd->ht", *doubled(q, keys[:, :length])) * q.shape[1] ** -0.5
    weights = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    return np.einsum("ht,htd->hd", weights, values[:, :length])


def _overflowed(
    q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int, expected: np.ndarray, **_: Any
) -> np.ndarray:
    scores = np.einsum("hd,htd->ht", *doubled(q, keys[:, :length])) * q.shape[1] ** -0.5
    too_large = scores.max(axis=1, keepdims=True, initial=0) > 88.7  # e^88.8 is no float32 any more
    return np.where(too_large, np.nan, expected)


MISTAKES = (
    Mistake(
        "the scores are not divided by sqrt(d)",
        lambda q, keys, values, length, **_: expected(q, keys, values, length, scale=1.0),
    ),
    Mistake("the weights do not add up to 1: divide by the sum of the exponentials", _not_divided),
    Mistake(
        "the last position is left out: t runs from 0 to length - 1, so `t < length`",
        lambda q, keys, values, length, **_: expected(q, keys, values, max(length - 1, 0)),
    ),
    Mistake(
        "all `capacity` positions are read, though only the first `length` are filled",
        lambda q, keys, values, length, expected, **_: (
            expected if length == keys.shape[1] else np.full_like(expected, np.nan)
        ),
    ),
    Mistake(
        "the exponential of a large score is infinite: subtract the largest score first",
        _overflowed,
    ),
)


def race_operands(heads: int, length: int, d: int) -> Arguments:
    return _operands(heads, length, length, d)


def work(q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int) -> tuple[float, float]:
    heads, _, d = keys.shape
    return 4.0 * heads * length * d, 4.0 * heads * d * (2 * length + 2)


def opponents(q: np.ndarray, keys: np.ndarray, values: np.ndarray, length: int) -> list[Opponent]:
    heads, _, d = keys.shape
    cache = KVCache(1, length, 1, heads, d)
    cache.append(0, keys[None, :, : length - 1], values[None, :, : length - 1])
    cache.advance(length - 1)
    new_k, new_v = (np.ascontiguousarray(x[None, :, length - 1 : length]) for x in (keys, values))
    query, y = q[None, :, None], np.empty((heads, 1, d), np.float32)
    return [
        Opponent("plain loop", lambda: lessons.attention[0](query[0], keys, values, out=y)),
        Opponent("TinyTorch", lambda: kernels.attention_decode(query, new_k, new_v, cache, 0)),
    ]


def replacement(call: Call) -> Callable[..., np.ndarray]:
    def attention_decode(
        q: np.ndarray, k: np.ndarray, v: np.ndarray, keys: np.ndarray, values: np.ndarray,
        key_scales: np.ndarray | None, value_scales: np.ndarray | None, lengths: np.ndarray,
        scale: float | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Stores k and v as the reference does; then the C function attends, one sequence after the other."""
        _, heads, _, d = q.shape
        groups = keys.shape[1]
        if scale is not None:
            q = q * np.float32(scale * d**0.5)  # the C function divides by sqrt(d) itself
        y = np.empty_like(q)
        for i, length in enumerate(lengths):
            stored = []
            for new, old, scales in ((k, keys, key_scales), (v, values, value_scales)):
                if scales is None:
                    old[i, :, length] = new[i, :, 0]
                    stored.append(old[i])
                else:
                    old[i, :, length], scales[i, :, length] = quantize_positions(new[i, :, 0])
                    seen = slice(0, length + 1)
                    stored.append(old[i, :, seen] * scales[i, :, seen, None])
            if heads != groups:  # queries share keys and values; the C function takes a set for each
                stored = [np.repeat(x, heads // groups, axis=0) for x in stored]
            y[i, :, 0] = call(q[i, :, 0], *stored, int(length) + 1)
        return y

    return attention_decode


ATTENTION_DECODE = Operation(
    name="attention_decode",
    prototype=(
        "void attention_decode(const float *q, const float *keys, const float *values, float *y, "
        "int heads, int length, int capacity, int d)"
    ),
    about=(
        "attention_decode: for each head, y = softmax(q keysᵀ / sqrt(d)) values. q and y are (heads, d);\n"
        "keys and values are (heads, capacity, d), and only the first `length` positions of each head are\n"
        "filled: position t of head h starts at keys[(h * capacity + t) * d]. length is at least 1."
    ),
    stub=(
        "for (int h = 0; h < heads; h++)\n"
        "    for (int i = 0; i < d; i++)\n"
        "        y[h * d + i] = 0;  /* the sum over t of weight[t] * values[(h * capacity + t) * d + i] */"
    ),
    arguments=arguments,
    cases=cases,
    expected=expected,
    tolerance=tolerance,
    mistakes=MISTAKES,
    replacement=replacement,
    race_sizes={"heads": 8, "length": 512, "d": 64},
    race_operands=race_operands,
    work=work,
    opponents=opponents,
)
