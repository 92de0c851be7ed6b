"""KVCache: storage, its bounds and its bytes."""

import copy
import pickle

import numpy as np
import pytest

from tinytorch.kernels import KVCache

from .common import randn


def test_append_stores_behind_the_counted_positions():
    cache = KVCache(batch_size=2, max_seq_len=6, num_layers=3, num_kv_heads=2, head_dim=4)
    k, v = randn(2, 2, 5, 4), randn(2, 2, 5, 4, seed=1)
    cache.append(1, k[:, :, :3], v[:, :, :3])
    assert cache.lengths.tolist() == [0, 0]
    cache.advance(3)
    cache.append(1, k[:, :, 3:], v[:, :, 3:])
    cache.advance(2)
    assert cache.lengths.tolist() == [5, 5] and cache.lengths.dtype == np.int64
    np.testing.assert_array_equal(cache.keys[1, :, :, :5], k)
    np.testing.assert_array_equal(cache.values[1, :, :, :5], v)
    assert not cache.keys[0].any() and not cache.keys[2].any() and not cache.keys[1, :, :, 5:].any()


def test_int8_stores_integers_and_scales():
    cache = KVCache(1, 4, 1, 2, 8, dtype="int8")
    k = randn(1, 2, 3, 8)
    cache.append(0, k, 2 * k)
    assert cache.keys.dtype == np.int8
    restored = cache.keys[0, :, :, :3] * cache.key_scales[0, :, :, :3, None]
    assert np.abs(restored - k).max() <= 0.51 * np.abs(k).max() / 127
    np.testing.assert_array_equal(cache.keys, cache.values)
    np.testing.assert_array_equal(2 * cache.key_scales, cache.value_scales)


def test_nbytes_counts_every_array():
    positions = 2 * 16 * 3 * 4  # batch, length, layers, heads
    assert KVCache(2, 16, 3, 4, 8).nbytes == 2 * positions * 8 * 4
    assert KVCache(2, 16, 3, 4, 8, "int8").nbytes == 2 * positions * (8 + 4)


def test_reset_forgets():
    cache = KVCache(1, 4, 1, 1, 2)
    cache.advance(4)
    cache.reset()
    cache.append(0, randn(1, 1, 4, 2), randn(1, 1, 4, 2))
    assert cache.lengths.tolist() == [0]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_a_copy_has_memory_of_its_own(clone):
    cache = KVCache(1, 4, 2, 1, 2, "int8")
    cache.advance()
    twin = clone(cache)
    twin.append(1, randn(1, 1, 2, 2), randn(1, 1, 2, 2))
    assert twin.keys[1].any() and twin.key_scales[1].any() and not cache.keys.any()
    assert twin.lengths.tolist() == [1] and twin.dtype == "int8"


def test_it_describes_itself():
    cache = KVCache(1, 4, 2, 3, 5, "int8")
    assert eval(repr(cache), {"KVCache": KVCache}).nbytes == cache.nbytes
    assert cache.max_seq_len == 4 and cache.head_dim == 5


CACHE = KVCache(1, 4, 1, 2, 8)
MISTAKES = [
    (lambda: KVCache(1, 0, 1, 1, 1), ValueError, "max_seq_len must be at least 1, got 0"),
    (lambda: KVCache(1.5, 1, 1, 1, 1), TypeError, "batch_size must be an integer"),
    (lambda: KVCache(1, 1, 1, 1, 1, "float16"), ValueError, "dtype must be one of 'float32', 'int8'"),
    (lambda: CACHE.append(0, randn(1, 2, 5, 8), randn(1, 2, 5, 8)), ValueError, "the cache is full"),
    (lambda: CACHE.append(0, randn(1, 3, 1, 8), randn(1, 3, 1, 8)), ValueError, "k does not fit the cache"),
    (lambda: CACHE.append(0, randn(1, 2, 2, 8), randn(1, 2, 1, 8)), ValueError, "v does not fit the cache"),
    (lambda: CACHE.append(1, randn(1, 2, 1, 8), randn(1, 2, 1, 8)), IndexError, "layer 1 of a cache"),
    (lambda: CACHE.advance(5), ValueError, r"5 more do not fit into max_seq_len=4; reset\(\) it"),
    (lambda: CACHE.advance(-1), ValueError, "n must be at least 0"),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained_and_change_nothing(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not CACHE.keys.any() and not CACHE.lengths.any()
