"""Attention through a cache equals attention over the whole sequence, however it is cut into calls."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import KVCache, reference

from .common import as_double, assert_close, randn

pytestmark = pytest.mark.kernel

STEPS, HEADS, DIM = 23, 4, 6
CUTS = [[1] * STEPS, [STEPS], [9, *[1] * 14], [1, 4, 1, 10, 7], [22, 1]]


def whole(kv_heads, batch=2):
    q = randn(batch, HEADS, STEPS, DIM)
    return q, randn(batch, kv_heads, STEPS, DIM, seed=1), randn(batch, kv_heads, STEPS, DIM, seed=2)


def band(window):
    """Position t sees the last `window` positions up to itself."""
    return np.tri(STEPS, dtype=bool) & ~np.tri(STEPS, k=-window, dtype=bool)


def in_pieces(q, k, v, cache, cuts):
    pieces, start = [], 0
    for n in cuts:
        part = np.s_[:, :, start : start + n]
        pieces.append(kernels.attention_cached(q[part], k[part], v[part], cache, 0))
        cache.advance(n)
        start += n
    return np.concatenate(pieces, axis=2)


@pytest.mark.parametrize("window", [None, 1, 2, 5, 16, STEPS])
@pytest.mark.parametrize("kv_heads", [1, 2, HEADS])
@pytest.mark.parametrize("cuts", CUTS)
def test_every_position_equals_the_uncached_one(cuts, kv_heads, window):
    q, k, v = whole(kv_heads)
    expected = reference.attention(*as_double(q, k, v), mask=band(window or STEPS))
    cache = KVCache(2, STEPS, 1, kv_heads, DIM, window=window)
    assert_close(in_pieces(q, k, v, cache, cuts), expected, rtol=1e-5, atol=1e-6)
    assert cache.lengths.tolist() == [STEPS, STEPS] and cache.slots == (window or STEPS)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("cuts", CUTS)
def test_int8_stays_within_its_rounding(cuts, window):
    """A stored number is off by at most half a step, max|x| / 254; scores and values move by little more."""
    q, k, v = whole(2)
    expected = reference.attention(*as_double(q, k, v), mask=band(window or STEPS))
    got = in_pieces(q, k, v, KVCache(2, STEPS, 1, 2, DIM, "int8", window), cuts)
    assert np.abs(got - expected).max() < 0.02 * np.abs(v).max()


@pytest.mark.parametrize("dtype, bound", [("float32", 2e-6), ("int8", 0.06)])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("pieces", [[1] * 6, [6], [2, 3, 1]])
def test_sequences_of_different_lengths_do_not_mix(pieces, window, dtype, bound):
    starts = [0, 7, 12]
    q, k, v = whole(2, batch=3)
    cache = KVCache(3, STEPS, 1, 2, DIM, dtype, window)
    for b, start in enumerate(starts):
        row = cache.row(b)
        row.append(0, k[b : b + 1, :, :start], v[b : b + 1, :, :start])
        row.advance(start)
    assert cache.lengths.tolist() == starts
    q, new_k, new_v = (np.stack([x[b, :, s : s + 6] for b, s in enumerate(starts)]) for x in (q, k, v))
    got = in_pieces(q, new_k, new_v, cache, pieces)
    for b, start in enumerate(starts):
        seen = np.s_[b : b + 1, :, : start + 6]
        mask = band(window or STEPS)[start : start + 6, : start + 6]
        expected = reference.attention(*as_double(q[b : b + 1], k[seen], v[seen]), mask=mask)
        assert_close(got[b : b + 1], expected, rtol=1e-5, atol=bound)


def test_what_is_left_from_before_a_reset_does_not_matter():
    q, k, v = whole(2)
    cache = KVCache(2, STEPS, 1, 2, DIM)
    cache.append(0, np.full_like(k, np.nan), np.full_like(v, np.nan))
    cache.advance(STEPS)
    cache.reset()
    cache.lengths[:] = 0
    cache.row(1).append(0, k[1:, :, :5], v[1:, :, :5])
    cache.lengths[1] = 5
    part = np.s_[:, :, 5:8]
    got = kernels.attention_cached(q[part], k[part], v[part], cache, 0)
    assert_close(got[:1], reference.attention(*as_double(q[part], k[part], v[part]), causal=True)[:1])
    assert np.isfinite(got).all()


def test_float64_and_replaced_kernels_take_their_own_way():
    q, k, v = whole(2)
    cache = KVCache(2, STEPS, 1, 2, DIM)
    got = in_pieces(*as_double(q, k, v), cache, [9, 1, 13])
    assert got.dtype == np.float64
    assert_close(got, reference.attention(*as_double(q, k, v), causal=True), atol=1e-5)
    calls = []

    def mine(a, b):
        calls.append(None)
        return a @ b

    with kernels.use(matmul=mine):
        assert_close(in_pieces(q, k, v, KVCache(2, STEPS, 1, 2, DIM), [9, 1, 13]), got, atol=1e-5)
    assert calls


CACHE = KVCache(2, 6, 1, 2, DIM)
Q, K, V = (x[:, :, :3] for x in whole(2))
MISTAKES = [
    (lambda: kernels.attention_cached(Q, K, V, None, 0), TypeError, "cache must be a KVCache, got NoneType"),
    (lambda: kernels.attention_cached(Q[:, :, :2], K, V, CACHE, 0), ValueError, "each new position needs"),
    (lambda: kernels.attention_cached(Q[:, :3], K, V, CACHE, 0), ValueError, "3 query heads do not divide"),
    (lambda: kernels.attention_cached(Q, K[:, :1], V[:, :1], CACHE, 0), ValueError, "k does not fit the"),
    (lambda: kernels.attention_cached(Q, K, V, CACHE, 1), IndexError, "layer 1 of a cache with layers 0"),
    (
        lambda: kernels.attention_cached(*whole(2), CACHE, 0),
        ValueError,
        "is full: 0 positions .* 23 more do",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained_and_change_nothing(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not CACHE.keys.any() and not CACHE.lengths.any()
