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


@pytest.mark.parametrize("dim", [1, 7, 16, 17, 48, 80, 130])
@pytest.mark.parametrize("group", [1, 3])
def test_decode_takes_every_width(dim, group):
    q, k, v = inputs(2 * group, 2, 70, 70, dim)
    cache = kernels.KVCache(2, 70, 1, 2, dim)
    cache.append(0, k[:, :, :-1], v[:, :, :-1])
    cache.advance(69)
    y = kernels.attention_decode(q[:, :, -1:], k[:, :, -1:], v[:, :, -1:], cache, 0)
    assert_close(y, reference.attention(*as_double(q[:, :, -1:], k, v)), atol=2e-5)


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
