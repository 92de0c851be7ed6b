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
    for cache in (KVCache(1, 4, 2, 3, 5, "int8"), KVCache(1, 9, 2, 3, 5, window=4)):
        assert eval(repr(cache), {"KVCache": KVCache}).nbytes == cache.nbytes
        assert cache.slots == 4 and cache.head_dim == 5
    assert cache.max_seq_len == 9 and cache.window == 4


def filled(*lengths, slots=6, dtype="float32", window=None):
    """A cache of one layer whose rows have so many positions, position p of row b holding 100 b + p + 1."""
    cache = KVCache(len(lengths), slots, 1, 1, 2, dtype, window)
    for b, length in enumerate(lengths):
        x = np.broadcast_to(100 * b + 1 + np.arange(length, dtype=np.float32)[:, None], (1, 1, length, 2))
        cache.row(b).append(0, x, -x)
        cache.row(b).advance(length)
    return cache


def marks(cache):
    """What each row holds, oldest first."""
    k, v, positions = cache.read(0)
    np.testing.assert_array_equal(k, -v)
    return [k[b, 0, positions[b] >= 0, 0].round().astype(int).tolist() for b in range(len(k))]


def test_a_window_holds_the_last_positions():
    cache = filled(2, 5, slots=9, window=3)
    assert cache.keys.shape[3] == 3
    assert marks(cache) == [[1, 2], [103, 104, 105]]
    _, _, positions = cache.read(0)
    assert positions.tolist() == [[-1, 0, 1], [2, 3, 4]]
    assert filled(4, window=6).window is None  # as wide as the cache is long


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("steps", [1, 3, 4, 5])
def test_a_window_takes_several_positions_at_once(start, steps):
    at_once, one_by_one = filled(start, slots=20, window=4), filled(start, slots=20, window=4)
    x = randn(1, 1, steps, 2)
    at_once.append(0, x, -x)
    at_once.advance(steps)
    for t in range(steps):
        one_by_one.append(0, x[:, :, t : t + 1], -x[:, :, t : t + 1])
        one_by_one.advance()
    np.testing.assert_array_equal(at_once.keys, one_by_one.keys)
    np.testing.assert_array_equal(at_once.values, one_by_one.values)


def test_memory_of_a_window_does_not_grow_with_the_sequence():
    assert KVCache(2, 1000, 3, 4, 8, window=16).nbytes == KVCache(2, 16, 3, 4, 8).nbytes


def test_forks_share_a_beginning_and_no_memory():
    prompt = filled(2, 3)
    fork = prompt.fork(2)
    assert fork.lengths.tolist() == [2, 2, 3, 3]
    assert marks(fork) == [[1, 2], [1, 2], [101, 102, 103], [101, 102, 103]]
    fork.append(0, randn(4, 1, 1, 2), randn(4, 1, 1, 2))
    fork.advance()
    fork.keys[:] = 0
    assert marks(prompt) == [[1, 2], [101, 102, 103]] and prompt.lengths.tolist() == [2, 3]
    assert fork.nbytes == 2 * prompt.nbytes


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_fork_of_a_full_window_goes_on(dtype):
    ring = filled(5, slots=9, dtype=dtype, window=3)
    assert marks(ring.fork()) == [[3, 4, 5]] and ring.fork().window == 3


def test_truncate_goes_back():
    cache = filled(2, 5)
    cache.truncate(3)
    assert cache.lengths.tolist() == [2, 3] and marks(cache) == [[1, 2], [101, 102, 103]]
    cache.truncate(0)
    assert cache.lengths.tolist() == [0, 0]


def test_truncate_keeps_what_a_window_still_has():
    ring = filled(5, slots=9, window=3)
    ring.truncate(4)  # the next position sees 2 before it: 3 and 4 (marked so), both held
    assert marks(ring)[0][-2:] == [3, 4]
    whole = filled(3, slots=9, window=3)
    whole.truncate(1)
    assert marks(whole) == [[1]]


def test_a_row_is_the_cache_itself():
    cache = filled(1, 2)
    cache.row(1).reset()
    assert cache.lengths.tolist() == [1, 0]
    cache.row(1).append(0, np.full((1, 1, 1, 2), 7), np.full((1, 1, 1, 2), -7))
    cache.row(1).advance()
    assert marks(cache) == [[1], [7]]
    assert cache.row(0).nbytes == cache.nbytes / 2


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
    (lambda: KVCache(1, 4, 1, 1, 1, window=0), ValueError, "window must be at least 1, got 0"),
    (lambda: filled(4, window=2).advance(3), ValueError, "3 more do not fit into max_seq_len=6"),
    (lambda: filled(3).truncate(-1), ValueError, "length must be at least 0"),
    (lambda: filled(1, 5, window=3).truncate(3), ValueError, r"sequence 1 has 5 .* last 3 .* fork\(\)"),
    (lambda: CACHE.fork(0), ValueError, "copies must be at least 1"),
    (lambda: CACHE.row(1), IndexError, "sequence 1 of a cache with sequences 0 ... 0"),
    (lambda: CACHE.row(-1), IndexError, "sequence -1"),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained_and_change_nothing(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not CACHE.keys.any() and not CACHE.lengths.any()
