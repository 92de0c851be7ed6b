"""The key-value cache in the hand: what is written can be read, and a model with it answers the same."""

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.caching import KVCache, create_kv_cache, disable_kv_cache, enable_kv_cache
from tinytorch.module import Module
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT, TransformerBlock, create_causal_mask

rng = np.random.default_rng(0)


def position(batch=2, heads=3, dim=4):
    return Tensor(rng.standard_normal((batch, heads, 1, dim)))


def test_written_positions_are_read_back():
    cache = KVCache(batch_size=2, max_seq_len=5, num_layers=2, num_heads=3, head_dim=4)
    keys, values = ([position() for _ in range(5)] for _ in range(2))
    for t in range(5):
        for layer in range(2):
            cache.update(layer, keys[t], values[t])
        assert cache.seq_pos == t
        cache.advance()
    for layer in range(2):
        k, v = cache.get(layer)
        assert k.shape == (2, 3, 5, 4)
        assert np.array_equal(k.data, np.concatenate([p.data for p in keys], axis=2))
        assert np.array_equal(v.data, np.concatenate([p.data for p in values], axis=2))


def test_get_ends_at_seq_pos_and_reset_goes_back():
    cache = KVCache(2, 5, 1, 3, 4)
    cache.update(0, position(), position())
    assert cache.get(0)[0].shape == (2, 3, 0, 4)
    cache.advance()
    assert cache.get(0)[0].shape == (2, 3, 1, 4)
    cache.reset()
    assert cache.seq_pos == 0 and cache.get(0)[0].shape == (2, 3, 0, 4)


def test_a_full_cache_a_wrong_layer_and_a_wrong_shape_are_errors():
    cache = KVCache(2, 1, 2, 3, 4)
    for layer in (2, -1):
        with pytest.raises(ValueError, match="layer"):
            cache.update(layer, position(), position())
        with pytest.raises(ValueError, match="layer"):
            cache.get(layer)
    with pytest.raises(ValueError):
        cache.update(0, position(heads=2), position(heads=2))
    cache.update(0, position(), position())
    cache.advance()
    with pytest.raises(ValueError):
        cache.update(0, position(), position())


def test_memory_is_what_is_allocated(capsys):
    cache = create_kv_cache(2, 128, 4, 8, 16)
    usage = cache.get_memory_usage()
    elements = 2 * 4 * 2 * 8 * 128 * 16
    assert usage["total_elements"] == elements and usage["cache_tensors"] == 8
    assert usage["total_mb"] == pytest.approx(elements * 4 / 2**20, rel=0.01)
    assert usage["per_layer_mb"] == pytest.approx(usage["total_mb"] / 4)
    assert "MB" in capsys.readouterr().out
    assert KVCache(2, 128, 4, 8, 16, dtype="int8").nbytes < 0.4 * cache.nbytes


def test_memory_in_use_and_of_a_window_a_fork_and_int8():
    cache = KVCache(2, 10, 1, 3, 4)
    assert cache.get_memory_usage()["used_mb"] == 0
    cache.update(0, position(), position())
    cache.advance()
    usage = cache.get_memory_usage()
    assert usage["used_mb"] == pytest.approx(usage["total_mb"] / 10)
    cache.row(0).reset()
    assert cache.get_memory_usage()["used_mb"] == pytest.approx(usage["total_mb"] / 20)
    assert cache.fork(3).get_memory_usage()["total_mb"] == pytest.approx(3 * usage["total_mb"])
    ring = KVCache(2, 10, 1, 3, 4, window=5)
    assert ring.get_memory_usage()["total_mb"] == pytest.approx(usage["total_mb"] / 2)
    assert KVCache(2, 10, 1, 3, 4, "int8").get_memory_usage()["total_mb"] == pytest.approx(
        usage["total_mb"] * (4 + 4) / 16
    )


@pytest.mark.parametrize("dtype, window", [("int8", None), ("float32", 3)])
def test_get_gives_numbers_in_order_whatever_the_storage(dtype, window):
    cache = KVCache(1, 9, 1, 1, 2, dtype, window)
    for t in range(5):
        cache.update(0, Tensor(np.full((1, 1, 1, 2), t + 1.0)), Tensor(np.full((1, 1, 1, 2), -t - 1.0)))
        cache.advance()
    keys, values = cache.get(0)
    expected = np.arange(1 if window is None else 3, 6)
    np.testing.assert_allclose(keys.data[0, 0, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(values.data[0, 0, :, 0], -expected, rtol=1e-6)


def test_caches_share_the_memory():
    cache = KVCache(1, 3, 2, 1, 2)
    cache.update(1, Tensor(np.full((1, 1, 1, 2), 5.0)), Tensor(np.full((1, 1, 1, 2), 6.0)))
    assert len(cache.caches) == 2
    k, v = cache.caches[1]
    assert k.shape == (1, 1, 3, 2) and k.data[0, 0, 0, 0] == 5 and v.data[0, 0, 0, 0] == 6


@pytest.fixture
def model():
    np.random.seed(0)
    return GPT(11, embed_dim=16, num_layers=3, num_heads=2, max_seq_len=12)


@pytest.mark.parametrize("prompt", [1, 5])
def test_an_enabled_model_takes_only_what_is_new(model, prompt):
    ids = rng.integers(0, 11, (2, 12))
    expected = model(ids).data
    cache = enable_kv_cache(model, batch_size=2)
    assert model._kv_cache is cache and model._cache_enabled
    for _ in range(2):  # the second time, after a reset
        got = [model(ids[:, :prompt]).data]
        got += [model(ids[:, t : t + 1]).data for t in range(prompt, 12)]
        np.testing.assert_allclose(np.concatenate(got, axis=1), expected, atol=1e-4)
        with pytest.raises(ValueError, match="max_seq_len=12"):
            model(ids[:, :1])
        cache.reset()


def test_disabling_restores_the_model(model):
    ids = rng.integers(0, 11, (1, 12))
    expected = model(ids).data
    enable_kv_cache(model)
    enable_kv_cache(model)
    disable_kv_cache(model)
    assert model._kv_cache is None and not model._cache_enabled
    assert "forward" not in vars(model.blocks[0].attention)
    assert np.array_equal(model(ids).data, expected)
    disable_kv_cache(model)


class OwnModel(Module):
    """A model that is not a GPT, but is made of the same blocks."""

    embed_dim, num_layers, num_heads, max_seq_len = 8, 2, 2, 6

    def __init__(self):
        self.blocks = [TransformerBlock(8, 2, dropout_prob=0) for _ in range(2)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x, causal=True)
        return x


def test_any_model_with_blocks_can_be_enabled():
    own = OwnModel()
    x = Tensor(rng.standard_normal((1, 6, 8)))
    expected = own(x).data
    enable_kv_cache(own)
    with no_grad():
        got = [own(Tensor(x.data[:, t : t + 1])).data for t in range(6)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, atol=1e-4)


@pytest.mark.parametrize("prompt", [1, 5])
def test_an_enabled_window_sees_no_further(prompt):
    own, x = OwnModel(), Tensor(rng.standard_normal((1, 6, 8)))
    t = np.arange(6)
    seen = (t[:, None] >= t) & (t > t[:, None] - 3)
    expected = x
    for block in own.blocks:
        expected = block(expected, mask=seen)
    enable_kv_cache(own, window=3)
    with no_grad():
        got = [own(Tensor(x.data[:, :prompt])).data]
        got += [own(Tensor(x.data[:, t : t + 1])).data for t in range(prompt, 6)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected.data, atol=1e-5)


def test_an_enabled_model_refuses_masks_that_hide_the_past():
    own = OwnModel()
    enable_kv_cache(own)
    x = Tensor(np.zeros((1, 2, 8)))
    with no_grad():
        own.blocks[0].attention(x, create_causal_mask(2))
        with pytest.raises(ValueError, match="this mask says otherwise"):
            own.blocks[0].attention(x, np.eye(2))


def test_training_through_a_cache_is_an_error():
    own = OwnModel()
    enable_kv_cache(own)
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        own(Tensor(np.zeros((1, 1, 8)), requires_grad=True))


def test_a_model_without_blocks_is_refused():
    with pytest.raises(AttributeError, match="blocks"):
        enable_kv_cache(Module())
