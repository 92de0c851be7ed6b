"""What the attention kernels do at the edges of their tiles, on any thread count and with NaN and Inf."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import as_double, assert_close, randn

pytestmark = pytest.mark.kernel


@pytest.fixture
def threads():
    before = kernels.get_num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


def inputs(heads, shared, queries, keys, dim):
    q = randn(2, heads, queries, dim)
    return q, randn(2, shared, keys, dim, seed=1), randn(2, shared, keys, dim, seed=2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries", [1, 4, 12, 16, 31, 32, 33])
@pytest.mark.parametrize("keys", [1, 95, 96, 97, 193])
def test_every_edge_of_a_tile(queries, keys, causal):
    q, k, v = inputs(2, 1, queries, keys, 20)
    y, lse = kernels.attention(q, k, v, causal=causal, return_lse=True)
    assert_close((y, lse), reference.attention(*as_double(q, k, v), causal, return_lse=True), atol=2e-5)
    dy = randn(*y.shape)
    expected = reference.attention_backward(*as_double(dy, q, k, v), causal)
    assert_close(kernels.attention_backward(dy, q, k, v, causal=causal), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shared", [1, 2, 6])
def test_threads_do_not_change_a_bit(threads, shared):
    q, k, v = inputs(6, shared, 150, 150, 32)
    dy = randn(*q.shape)
    results = []
    for count in (1, 2, 3):
        threads(count)
        y, lse = kernels.attention(q, k, v, causal=True, return_lse=True)
        results.append((y, lse, *kernels.attention_backward(dy, q, k, v, causal=True, y=y, lse=lse)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_key_spoils_the_queries_that_see_it_and_no_other(bad):
    q, k, v = inputs(1, 1, 40, 40, 8)
    k[0, 0, 20, 3] = bad
    y, lse = kernels.attention(np.abs(q), k, v, causal=True, return_lse=True)
    assert np.isnan(y[0, 0, 20:]).all()
    assert np.isfinite(y[0, 0, :20]).all() and np.isfinite(y[1]).all() and np.isfinite(lse[0, 0, :20]).all()


def test_a_hidden_key_does_not_matter_whatever_it_holds():
    q, k, v = inputs(1, 1, 5, 30, 8)
    mask = np.arange(30) != 7
    expected = kernels.attention(q, k, v, mask=mask)
    k[:, :, 7] = np.nan
    np.testing.assert_array_equal(kernels.attention(q, k, v, mask=mask), expected)


def filled_cache(k, v, dtype="float32"):
    """All positions of k and v but the last, which is to come; and some room behind it."""
    batch, heads, positions, dim = k.shape
    cache = kernels.KVCache(batch, positions + 3, 1, heads, dim, dtype=dtype)
    cache.append(0, k[:, :, :-1], v[:, :, :-1])
    cache.advance(positions - 1)
    return cache


def assert_decodes(group, positions, dim, dtype="float32"):
    q, k, v = inputs(2 * group, 2, 1, positions, dim)
    cache, same = filled_cache(k, v, dtype), filled_cache(k, v, dtype)
    last = k[:, :, -1:], v[:, :, -1:]
    y = kernels.attention_decode(q, *last, cache, 0)
    expected = reference.attention_decode(*as_double(q, *last), *same._layers[0], same.lengths)
    assert_close(y, expected, atol=2e-5)
    assert not cache.keys[..., positions:, :].any() and not cache.values[..., positions:, :].any()


@pytest.mark.parametrize("dim", [1, 7, 16, 17, 48, 80, 130, 260])
@pytest.mark.parametrize("group", [1, 2, 3, 4, 7])
def test_decode_takes_every_width_and_group(dim, group):
    assert_decodes(group, 70, dim)
    assert_decodes(group, 70, dim, "int8")


@pytest.mark.parametrize("positions", [1, 2, 3, 4, 5, 8, 15, 16, 17, 63, 64, 65, 131])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_decode_takes_every_length(positions, group, dtype):
    assert_decodes(group, positions, 24, dtype)


def test_decode_gives_whole_numbers_exactly():
    """Equal scores: the mean of the values, whose sum is a whole number."""
    v = np.arange(2 * 64 * 40, dtype=np.float32).reshape(1, 2, 64, 40) % 17
    k, q = np.zeros_like(v), randn(1, 8, 1, 40)
    y = kernels.attention_decode(q, k[:, :, -1:], v[:, :, -1:], filled_cache(k, v), 0)
    np.testing.assert_array_equal(y, np.repeat(v.mean(axis=2, keepdims=True), 4, axis=1))


@pytest.mark.parametrize("group", [1, 4])
def test_decode_does_not_depend_on_threads(threads, group):
    q, k, v = inputs(6 * group, 6, 1, 300, 64)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(kernels.attention_decode(q, k[:, :, -1:], v[:, :, -1:], filled_cache(k, v), 0))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_query_spoils_no_other_of_its_group(bad):
    q, k, v = inputs(4, 1, 1, 40, 20)
    expected = kernels.attention_decode(q, k[:, :, -1:], v[:, :, -1:], filled_cache(k, v), 0)
    q[0, 2, 0, 5] = bad
    y = kernels.attention_decode(q, k[:, :, -1:], v[:, :, -1:], filled_cache(k, v), 0)
    assert np.isnan(y[0, 2]).all()
    y[0, 2] = expected[0, 2]
    np.testing.assert_array_equal(y, expected)


def test_int8_stores_the_same_integers_on_every_level():
    q, k, v = inputs(2, 2, 1, 1, 33)
    k[0, 0, 0, :4] = 0.5, 1.5, 2.5, 127  # halves round to even
    cache = kernels.KVCache(2, 3, 1, 2, 33, dtype="int8")
    kernels.attention_decode(q, k, v, cache, 0)
    for new, stored, scales in ((k, cache.keys, cache.key_scales), (v, cache.values, cache.value_scales)):
        scale = np.abs(new).max(-1) / np.float32(127)
        np.testing.assert_array_equal(scales[0, :, :, 0], scale[:, :, 0])
        np.testing.assert_array_equal(stored[0, :, :, 0], np.rint(new / scale[..., None])[:, :, 0])
    assert list(cache.keys[0, 0, 0, 0, :4]) == [0, 2, 2, 127]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_bad_value_shows_in_the_result(dtype, bad):
    q, k, v = inputs(2, 2, 1, 1, 20)
    v[0, 1, 0, 19] = bad
    y = kernels.attention_decode(q, k, v, kernels.KVCache(2, 3, 1, 2, 20, dtype=dtype), 0)
    assert not np.isfinite(y[0, 1, 0, 19]) and np.isfinite(y[1]).all() and np.isfinite(y[0, 0]).all()
