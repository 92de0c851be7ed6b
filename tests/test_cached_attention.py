"""Attention that is handed its cache answers as if it had read the whole sequence."""

import numpy as np
import pytest

from tinytorch.caching import (
    CachedMultiHeadAttention,
    KVCache,
    analyze_kv_cache_performance,
    generate_with_cache,
)
from tinytorch.tensor import Tensor
from tinytorch.training import manual_seed

rng = np.random.default_rng(0)


def vectors(batch=2, time=6, width=16):
    return Tensor(rng.standard_normal((batch, time, width)))


def test_positions_one_by_one_give_the_whole():
    attention, x, cache = CachedMultiHeadAttention(16, 4), vectors(), KVCache(2, 6, 1, 4, 4)
    whole, none = attention(x)
    assert none is None
    outputs = [attention.forward(x[:, :3].detach(), cache=cache, use_cache=True)[0].data]
    for t in range(3, 6):
        y, same = attention.forward(x[:, t : t + 1].detach(), cache=cache, use_cache=True)
        outputs.append(y.data)
        assert same is cache and cache.seq_pos == t + 1
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), whole.data, atol=1e-5)


def test_layers_share_a_cache_that_one_of_them_advances():
    attention, x, cache = CachedMultiHeadAttention(16, 4), vectors(time=1), KVCache(2, 6, 2, 4, 4)
    attention.forward(x, cache=cache, layer_idx=0, use_cache=True, advance_cache=False)
    assert cache.seq_pos == 0
    attention.forward(x, cache=cache, layer_idx=1, use_cache=True)
    assert cache.seq_pos == 1
    attention.forward(x, cache=cache)
    assert cache.seq_pos == 1  # left alone unless use_cache


def test_cross_attention_sees_all_keys_and_learns():
    attention, x, memory = CachedMultiHeadAttention(16, 4, dropout=0.5), vectors(time=3), vectors(time=5)
    attention.eval()
    one, _ = attention.forward(x[:, :1], memory)
    three, _ = attention.forward(x, memory, memory)
    np.testing.assert_allclose(one.data, three.data[:, :1], atol=1e-5)
    three.sum().backward()
    assert attention.q_proj.weight.grad is not None


def test_generation_is_what_the_whole_sequence_says():
    x = vectors(time=4)
    manual_seed(3)
    found = generate_with_cache(lambda h: h * 2, x, 5, 16, 4, 2)
    assert found.shape == (2, 9, 16)
    np.testing.assert_array_equal(found.data[:, :4], x.data)
    manual_seed(3)
    layers = [CachedMultiHeadAttention(16, 4) for _ in range(2)]
    sequence = x
    for _ in range(5):
        h = sequence
        for layer in layers:
            h, _ = layer(h)
        sequence = Tensor(np.concatenate([sequence.data, 2 * h.data[:, -1:]], axis=1))
    np.testing.assert_allclose(found.data, sequence.data, atol=1e-4)


def test_the_gain_is_measured(capsys):
    rows = analyze_kv_cache_performance((4, 8), seconds=0.02)
    assert [row["seq_len"] for row in rows] == [4, 8]
    assert rows[1]["cache_memory_mb"] == pytest.approx(2 * rows[0]["cache_memory_mb"])
    assert rows[1]["theoretical_speedup"] > rows[0]["theoretical_speedup"] > 1
    assert "measured" in capsys.readouterr().out


def cache():
    return KVCache(2, 6, 1, 4, 4)


def learned(x):
    return Tensor(x.data, requires_grad=True)


MISUSE = [
    (lambda a, x: a.forward(x, use_cache=True), ValueError, r"needs a KVCache.*KVCache\(2, "),
    (
        lambda a, x: a.forward(x, vectors(), cache=KVCache(2, 6, 1, 4, 4), use_cache=True),
        ValueError,
        "leave out key",
    ),
    (
        lambda a, x: a.forward(
            Tensor(x.data, requires_grad=True), cache=KVCache(2, 6, 1, 4, 4), use_cache=True
        ),
        RuntimeError,
        "keeps no graph",
    ),
    (lambda a, x: a.forward(x, cache=KVCache(2, 3, 1, 4, 4), use_cache=True), ValueError, "3"),
    (lambda a, x: a.forward(vectors(width=8)), ValueError, "not embed_dim=16"),
    (lambda a, x: generate_with_cache(lambda h: h, x), ValueError, "embed_dim=64"),
    (lambda a, x: generate_with_cache(lambda h: h[:, 0], x, 2, 16, 4), ValueError, "the next vector"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISUSE)
def test_misuse(call, error, message):
    with pytest.raises(error, match=message):
        call(CachedMultiHeadAttention(16, 4), vectors())
