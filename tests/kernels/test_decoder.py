"""decode_blocks against its steps one by one."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

WIDTH, HEADS, DIM, HIDDEN, LAYERS = 20, 4, 6, 33, 2


def make_block(seed, kv_heads=HEADS, bias=True, width=WIDTH, hidden=HIDDEN):
    queries, keys = HEADS * DIM, kv_heads * DIM

    def affine(i, rows, columns):
        weight = randn(rows, columns, seed=10 * seed + i) / np.float32(rows**0.5)
        return weight, randn(columns, seed=10 * seed + i) if bias else None

    norms = [(1 + randn(width, seed=i) / 4, randn(width, seed=i + 1) if bias else None) for i in (1, 2)]
    return kernels.DecoderBlock(
        norms[0], affine(1, width, queries), affine(2, width, keys), affine(3, width, keys),
        affine(4, queries, width), norms[1], affine(5, width, hidden), affine(6, hidden, width), 1e-5, 1e-3,
    )  # fmt: skip


def new_cache(batch=2, kv_heads=HEADS, dtype="float32", positions=7):
    return kernels.KVCache(batch, positions, LAYERS, kv_heads, DIM, dtype)


def as_double_block(block):
    pairs = [tuple(None if x is None else x.astype(np.float64) for x in pair) for pair in block[:8]]
    return kernels.DecoderBlock(*pairs, *block[8:])


@pytest.mark.parametrize("batch", [1, 2, 5, 9])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("bias", [True, False])
def test_every_position_is_that_of_the_reference(batch, kv_heads, dtype, bias):
    blocks = tuple(make_block(i, kv_heads, bias) for i in range(LAYERS))
    exact_blocks = tuple(as_double_block(block) for block in blocks)
    cache, exact = (new_cache(batch, kv_heads, dtype) for _ in range(2))
    for t in range(7):
        x = randn(batch, 1, WIDTH, seed=t)
        before = x.copy()
        y = kernels.decode_blocks(x, blocks, cache, HEADS)
        expected = reference.decode_blocks(
            x.astype(np.float64), exact_blocks, exact._layers, exact.lengths, HEADS
        )
        # Rounding may move a stored int8 to its neighbour, 1 / 127 of the largest.
        assert_close(y, expected, rtol=1e-4, atol=5e-5 if dtype == "float32" else 0.1)
        np.testing.assert_array_equal(x, before)
        assert cache.lengths.tolist() == [t] * batch
        cache.advance()
        exact.advance()
    if dtype == "float32":
        assert_close(cache.keys, exact.keys, rtol=1e-4, atol=5e-5)


def test_sequences_may_differ_in_length():
    blocks = tuple(make_block(i) for i in range(LAYERS))
    cache, exact = new_cache(), new_cache()
    for c in (cache, exact):
        for layer in range(LAYERS):
            c.append(layer, randn(2, HEADS, 5, DIM), randn(2, HEADS, 5, DIM, seed=1))
        c.lengths[:] = [0, 5]
    x = randn(2, 1, WIDTH)
    expected = reference.decode_blocks(x, blocks, exact._layers, exact.lengths, HEADS)
    assert_close(kernels.decode_blocks(x, blocks, cache, HEADS), expected, rtol=1e-4, atol=5e-5)


def test_threads_do_not_change_a_bit():
    blocks = tuple(make_block(i, width=300, hidden=1100) for i in range(LAYERS))
    x, before, results = randn(3, 1, 300), kernels.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            kernels.set_num_threads(count)
            results.append(kernels.decode_blocks(x, blocks, new_cache(3), HEADS))
    finally:
        kernels.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_what_needs_converting_is_converted():
    blocks = tuple(make_block(i) for i in range(LAYERS))
    x = randn(2, 1, WIDTH)
    expected = kernels.decode_blocks(x, blocks, new_cache(), HEADS)
    transposed = tuple(
        block._replace(q=(np.asfortranarray(block.q[0]), block.q[1].tolist())) for block in blocks
    )
    assert_close(kernels.decode_blocks(x.tolist(), list(transposed), new_cache(), HEADS), expected)
    double = kernels.decode_blocks(x.astype(np.float64), blocks, new_cache(), HEADS)
    assert double.dtype == np.float64
    assert_close(double, expected, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("name", ["matmul", "linear", "layer_norm", "gelu", "attention_decode"])
def test_it_runs_on_what_replaces_a_step(name):
    blocks = tuple(make_block(i) for i in range(LAYERS))
    x, calls = randn(2, 1, WIDTH), []
    expected = kernels.decode_blocks(x, blocks, new_cache(), HEADS)

    def mine(*args, **options):
        calls.append(None)
        return getattr(reference, name)(*args, **options)

    with kernels.use(**{name: mine}):
        assert_close(kernels.decode_blocks(x, blocks, new_cache(), HEADS), expected, rtol=1e-4, atol=5e-5)
    assert len(calls) >= LAYERS


def test_it_can_be_replaced():
    x = randn(2, 1, WIDTH)
    with kernels.use(decode_blocks=lambda x, blocks, layers, lengths, heads: 2 * x):
        blocks = tuple(make_block(i) for i in range(LAYERS))
        np.testing.assert_array_equal(kernels.decode_blocks(x, blocks, new_cache(), HEADS), 2 * x)


X, BLOCK, CACHE = randn(2, 1, WIDTH), make_block(0), new_cache()
FULL = new_cache()
FULL.advance(7)
TWO = (BLOCK, BLOCK)


def with_part(**parts):
    return BLOCK, BLOCK._replace(**parts)


MISTAKES = [
    (lambda: kernels.decode_blocks(X, TWO, FULL, HEADS), ValueError, "the cache is full: 7 positions"),
    (lambda: kernels.decode_blocks(X, TWO, None, HEADS), TypeError, "cache must be a KVCache, got NoneType"),
    (lambda: kernels.decode_blocks(X[0], TWO, CACHE, HEADS), ValueError, r"x must have 3 axes \(B, 1, E\)"),
    (lambda: kernels.decode_blocks(X[:1], TWO, CACHE, HEADS), ValueError, r"\(2, 1, E\), and has shape"),
    (lambda: kernels.decode_blocks(X, TWO[:1], CACHE, HEADS), ValueError, "1 blocks for a cache with 2"),
    (lambda: kernels.decode_blocks(X, TWO, CACHE, 3), ValueError, "3 query heads do not divide among"),
    (lambda: kernels.decode_blocks(X, TWO, CACHE, 0), ValueError, "heads must be at least 1"),
    (lambda: kernels.decode_blocks(X, (BLOCK, "no"), CACHE, HEADS), TypeError, "block 1 must be a Decoder"),
    (lambda: kernels.decode_blocks(X, with_part(q=BLOCK.out), CACHE, HEADS), ValueError, "weight of q must"),
    (
        lambda: kernels.decode_blocks(X, with_part(contract=BLOCK.expand), CACHE, HEADS),
        ValueError,
        "block 1: the weight of contract",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(norm2=(np.ones(3), None)), CACHE, HEADS),
        ValueError,
        "norm2's scale must have shape",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(k=(BLOCK.k[0], np.ones(3))), CACHE, HEADS),
        ValueError,
        "the bias of k must have shape",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained_and_change_nothing(call, error, message):
    with pytest.raises(error, match=message):
        call()
    for cache in (CACHE, FULL):
        assert not cache.keys.any() and not cache.values.any()
