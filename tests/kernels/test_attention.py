"""attention, its gradient and decoding against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import as_double, assert_close, randn

pytestmark = pytest.mark.kernel


def inputs(batch, heads, shared, queries, keys, dim, value_dim=None):
    q = randn(batch, heads, queries, dim)
    k = randn(batch, shared, keys, dim, seed=1)
    v = randn(batch, shared, keys, value_dim or dim, seed=2)
    return q, k, v


def make_mask(kind, shape):
    rng = np.random.default_rng(3)
    if kind == "bool":
        return rng.random(shape) < 0.7
    mask = rng.standard_normal(shape).astype(np.float32)
    mask[rng.random(shape) < 0.2] = -np.inf
    return mask


@st.composite
def cases(draw):
    batch, shared = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    heads = shared * draw(st.integers(1, 3))
    queries, keys = draw(st.integers(0, 40)), draw(st.integers(0, 40))
    q, k, v = inputs(batch, heads, shared, queries, keys, draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    kind = draw(st.sampled_from([None, "bool", "float"]))
    mask = None
    if kind:
        full = (batch, heads, queries, keys)
        shape = tuple(draw(st.sampled_from([1, n])) for n in full)
        mask = make_mask(kind, shape[draw(st.integers(0, 2)) :])
    return q, k, v, dict(causal=draw(st.booleans()), mask=mask, scale=draw(st.sampled_from([None, 0.2])))


@given(cases())
def test_attention_is_the_reference(case):
    q, k, v, options = case
    y, lse = kernels.attention(q, k, v, **options, return_lse=True)
    mask = options["mask"]
    exact_mask = None if mask is None else np.broadcast_to(mask, (*q.shape[:3], k.shape[2]))
    exact = {**options, "mask": exact_mask}
    expected = reference.attention(*as_double(q, k, v), **exact, return_lse=True)
    assert_close((y, lse), expected, atol=2e-5)
    assert_close(kernels.attention(q, k, v, **options), expected[0], atol=2e-5)
    dy = randn(*y.shape)
    assert_close(
        kernels.attention_backward(dy, q, k, v, **options, y=y, lse=lse),
        reference.attention_backward(*as_double(dy, q, k, v), **exact),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("queries, keys, dim", [(200, 200, 64), (1, 700, 32), (130, 65, 128), (65, 130, 8)])
@pytest.mark.parametrize("causal", [False, True])
def test_long_sequences(queries, keys, dim, causal):
    q, k, v = inputs(1, 2, 1, queries, keys, dim)
    y, lse = kernels.attention(q, k, v, causal=causal, return_lse=True)
    assert_close((y, lse), reference.attention(*as_double(q, k, v), causal, return_lse=True), atol=2e-5)
    dy = randn(*y.shape)
    assert_close(
        kernels.attention_backward(dy, q, k, v, causal=causal),
        reference.attention_backward(*as_double(dy, q, k, v), causal),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_position_that_sees_nothing_yields_zero_and_has_no_gradient():
    q, k, v = inputs(1, 2, 2, 5, 5, 8)
    mask = np.ones((5, 5), bool)
    mask[3] = False
    y, lse = kernels.attention(q, k, v, mask=mask, return_lse=True)
    assert not y[:, :, 3].any() and (lse[:, :, 3] == -np.inf).all()
    dq, dk, dv = kernels.attention_backward(np.ones_like(y), q, k, v, mask=mask)
    assert not dq[:, :, 3].any() and dq[:, :, 2].any()
    assert np.isfinite(dk).all() and np.isfinite(dv).all()


def test_masked_values_do_not_matter():
    q, k, v = inputs(1, 1, 1, 4, 20, 8)
    mask = np.arange(20) < 12
    expected = kernels.attention(q, k, v, mask=mask)
    k[:, :, 12:], v[:, :, 12:] = 1e30, 1e30
    assert_close(kernels.attention(q, k, v, mask=mask), expected)


def test_large_scores_do_not_overflow():
    q, k, v = inputs(1, 1, 1, 6, 9, 4)
    y = kernels.attention(1e4 * q, k, v)
    assert_close(y, reference.attention(*as_double(1e4 * q, k, v)), atol=1e-4)


def test_a_float64_mask_does_not_change_the_dtype():
    q, k, v = inputs(1, 1, 1, 3, 3, 4)
    mask = np.triu(np.full((3, 3), -np.inf), 1)
    y = kernels.attention(q, k, v, mask=mask)
    assert y.dtype == np.float32
    assert_close(y, kernels.attention(q, k, v, causal=True))


def test_views_and_float64():
    q, k, v = (randn(2, 5, 3, 8, seed=i).swapaxes(1, 2) for i in range(3))
    assert_close(kernels.attention(q, k, v), reference.attention(q, k, v), atol=1e-5)
    assert kernels.attention(q.astype(np.float64), k, v).dtype == np.float64


class TestDecode:
    @pytest.mark.parametrize("dim", [8, 33, 64])
    @pytest.mark.parametrize("shared", [1, 2, 4])
    def test_continues_causal_attention(self, shared, dim):
        q, k, v = inputs(2, 4, shared, 9, 9, dim)
        whole = reference.attention(*as_double(q, k, v), causal=True)
        cache = kernels.KVCache(2, 9, 2, shared, dim)
        cache.append(1, k[:, :, :4], v[:, :, :4])
        cache.advance(4)
        for t in range(4, 9):
            now = slice(t, t + 1)
            y = kernels.attention_decode(q[:, :, now], k[:, :, now], v[:, :, now], cache, 1)
            assert_close(y, whole[:, :, now], atol=1e-5)
            cache.advance()
        assert_close(cache.keys[1], k)
        assert not cache.keys[0].any()

    def test_sequences_may_differ_in_length(self):
        q, k, v = inputs(2, 2, 2, 7, 7, 16)
        cache = kernels.KVCache(2, 7, 1, 2, 16)
        cache.append(0, k[:, :, :6], v[:, :, :6])
        cache.lengths[:] = [2, 6]
        y = kernels.attention_decode(q[:, :, 6:], k[:, :, 6:], v[:, :, 6:], cache, 0)
        for b, seen in ((0, [0, 1, 6]), (1, range(7))):
            one = slice(b, b + 1)
            expected = reference.attention(*as_double(q[one, :, 6:], k[one][:, :, seen], v[one][:, :, seen]))
            assert_close(y[one], expected, atol=1e-5)

    @pytest.mark.parametrize("length", [1, 5, 600])
    def test_int8_is_the_reference_of_the_stored_integers(self, length):
        q, k, v = inputs(1, 4, 2, length, length, 32)
        cache = kernels.KVCache(1, length, 1, 2, 32, dtype="int8")
        cache.append(0, k[:, :, :-1], v[:, :, :-1])
        cache.advance(length - 1)
        y = kernels.attention_decode(q[:, :, -1:], k[:, :, -1:], v[:, :, -1:], cache, 0)
        keys = cache.keys[0] * cache.key_scales[0][..., None].astype(np.float64)
        values = cache.values[0] * cache.value_scales[0][..., None].astype(np.float64)
        assert np.abs(keys - k).max() <= 0.51 * cache.key_scales.max()
        assert np.abs(values - v).max() <= 0.51 * cache.value_scales.max()
        # The kernel may round q to int8 as well; a score is then off by up to |q| |k| sqrt(D) / 254.
        assert_close(y, reference.attention(q[:, :, -1:].astype(np.float64), keys, values), atol=3e-2)

    def test_int8_of_zeros(self):
        cache = kernels.KVCache(1, 2, 1, 1, 4, dtype="int8")
        zero = np.zeros((1, 1, 1, 4), np.float32)
        assert not kernels.attention_decode(zero, zero, zero, cache, 0).any()

    def test_a_full_cache_is_an_error_and_stays_as_it_is(self):
        q, k, v = inputs(1, 1, 1, 1, 1, 4)
        cache = kernels.KVCache(1, 2, 1, 1, 4)
        cache.advance(2)
        with pytest.raises(ValueError, match="the cache is full: 2 positions are stored"):
            kernels.attention_decode(q, k, v, cache, 0)
        assert not cache.keys.any()


Q, K, V = inputs(2, 4, 2, 5, 6, 8)
CACHE = kernels.KVCache(2, 6, 1, 2, 8)
ONE = slice(0, 1)
MISTAKES = [
    (lambda: kernels.attention(Q[0], K, V), ValueError, r"q must have 4 axes \(B, heads, positions, D\)"),
    (lambda: kernels.attention(Q, K[:1], V), ValueError, "q and k must have the same batch, and 2 is not 1"),
    (lambda: kernels.attention(Q, K[..., :7], V), ValueError, "same head dimension, and 8 is not 7"),
    (lambda: kernels.attention(Q, K, V[:, :, :5]), ValueError, "same number of positions, and 6 is not 5"),
    (lambda: kernels.attention(Q, K[:, :1], V), ValueError, "same number of heads, and 1 is not 2"),
    (lambda: kernels.attention(Q[:, :3], K, V), ValueError, "3 query heads do not divide among 2 key heads"),
    (
        lambda: kernels.attention(Q, K, V, mask=np.ones((5, 5), bool)),
        ValueError,
        r"scores  \(2, 4, 5, 6\)\n  mask    \(5, 5\)",
    ),
    (lambda: kernels.attention(Q, K, V, mask=np.ones((1, 2, 4, 5, 6), bool)), ValueError, "must broadcast"),
    (lambda: kernels.attention(Q, K, V, mask=np.ones((5, 6), int)), TypeError, r"pass mask.astype\(bool\)"),
    (lambda: kernels.attention(Q, K, V, scale=float("nan")), ValueError, "scale must be finite"),
    (lambda: kernels.attention_backward(Q[:, :, :4], Q, K, V), ValueError, "dy must have the shape"),
    (
        lambda: kernels.attention_backward(Q, Q, K, V, y=Q, lse=Q),
        ValueError,
        "y and lse must be what attention",
    ),
    (
        lambda: kernels.attention_decode(Q, K, V, CACHE, 0),
        ValueError,
        "the cache is full|takes one position",
    ),
    (
        lambda: kernels.attention_decode(Q[:, :, ONE], K[:, :, ONE], V[:, :, ONE], {}, 0),
        TypeError,
        "must be a KVCache",
    ),
    (
        lambda: kernels.attention_decode(Q[:, :, ONE], K[:, :, ONE], V[:, :, ONE], CACHE, 1),
        IndexError,
        "layer 1 of a cache with layers 0 ... 0",
    ),
    (
        lambda: kernels.attention_decode(Q[:, :, ONE], K[:, :, ONE], V[:, :, ONE], CACHE, -1),
        IndexError,
        "layer -1 of a cache",
    ),
    (
        lambda: kernels.attention_decode(Q[:, :, ONE], Q[:, :, ONE], Q[:, :, ONE], CACHE, 0),
        ValueError,
        "k does not fit the cache",
    ),
    (
        lambda: kernels.attention_decode(Q[:, :, :2], K[:, :, :2], V[:, :, :2], CACHE, 0),
        ValueError,
        "takes one position for each sequence",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
