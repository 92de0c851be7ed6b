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


PRODUCTS = ("q", "k", "v", "out", "expand", "contract")


def in_int8(block, names=PRODUCTS):
    """The block with the weights of these products in INT8."""

    def packed(weight):
        scale = np.abs(weight).max(axis=0) / np.float32(127)
        return kernels.pack_int8(kernels.quantize(weight, scale, axis=1), scale)

    pairs = {name: getattr(block, name) for name in names}
    return block._replace(**{name: (packed(weight), bias) for name, (weight, bias) in pairs.items()})


def by_steps(x, blocks, cache):
    """The compiled steps in calls of their own."""

    def times(x, weight, bias):
        multiply = kernels.linear if isinstance(weight, np.ndarray) else kernels.linear_int8_dynamic
        return multiply(x, weight, bias)

    for i, block in enumerate(blocks):
        normal = kernels.layer_norm(x, *block.norm1, block.eps1)
        q, k, v = (
            times(normal, *affine).reshape(len(x), -1, 1, DIM) for affine in (block.q, block.k, block.v)
        )
        y = kernels.attention_cached(q, k, v, cache, i).reshape(len(x), 1, -1)
        x = x + times(y, *block.out)
        hidden = kernels.gelu(times(kernels.layer_norm(x, *block.norm2, block.eps2), *block.expand))
        x = x + times(hidden, *block.contract)
    return x


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


@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("bias", [True, False])
def test_int8_weights_give_the_bits_of_the_steps(batch, kv_heads, dtype, bias):
    blocks = tuple(in_int8(make_block(i, kv_heads, bias)) for i in range(LAYERS))
    cache, other = (new_cache(batch, kv_heads, dtype) for _ in range(2))
    for c in (cache, other):
        for layer in range(LAYERS):
            past = (randn(batch, kv_heads, 4, DIM, seed=layer + i) for i in (1, 2))
            c.append(layer, *past)
        c.lengths[:] = np.arange(batch) % 5
    for t in range(2):
        x = randn(batch, 1, WIDTH, seed=t)
        np.testing.assert_array_equal(
            kernels.decode_blocks(x, blocks, cache, HEADS), by_steps(x, blocks, other)
        )
        for layer, expected in zip(cache._layers, other._layers, strict=True):
            for stored, also in zip(layer, expected, strict=True):
                np.testing.assert_array_equal(stored, also)
        cache.advance()
        other.advance()


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("batch", [1, 9])
def test_each_product_is_float32_or_int8_for_itself(name, others, batch):
    names = tuple(other for other in PRODUCTS if (other != name) == others)
    blocks = in_int8(make_block(0), names), make_block(1)
    x = randn(batch, 1, WIDTH)
    y, expected = (
        f(x, blocks, new_cache(batch), *rest) for f, *rest in ((kernels.decode_blocks, HEADS), (by_steps,))
    )
    # A float32 sum in another order may tip an int8 over to its neighbour, 1 / 127 of the largest.
    assert_close(y, expected, rtol=1e-4, atol=0.1)
    assert np.median(np.abs(y - expected)) < 1e-5
    with_integers = reference.decode_blocks(x, blocks, new_cache(batch)._layers, np.zeros(batch, int), HEADS)
    assert_close(y, with_integers, rtol=1e-4, atol=0.1)


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
    blocks = make_block(0, width=300, hidden=1100), in_int8(make_block(1, width=300, hidden=1100))
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


@pytest.mark.parametrize("name", ["matmul_int8", "linear_int8_dynamic"])
def test_int8_weights_run_on_what_replaces_a_step(name):
    blocks = tuple(in_int8(make_block(i)) for i in range(LAYERS))
    x, calls = randn(2, 1, WIDTH), []
    expected = kernels.decode_blocks(x, blocks, new_cache(), HEADS)

    def mine(*args):
        calls.append(None)
        return getattr(reference, name)(*args)

    with kernels.use(**{name: mine}):
        assert_close(kernels.decode_blocks(x, blocks, new_cache(), HEADS), expected, rtol=1e-4, atol=0.1)
    assert len(calls) == LAYERS * len(PRODUCTS)


def test_int8_weights_take_what_needs_converting():
    blocks = tuple(in_int8(make_block(i)) for i in range(LAYERS))
    x = randn(2, 1, WIDTH)
    expected = kernels.decode_blocks(x, blocks, new_cache(), HEADS)
    assert_close(kernels.decode_blocks(x.tolist(), list(blocks), new_cache(), HEADS), expected)
    double = kernels.decode_blocks(x.astype(np.float64), blocks, new_cache(), HEADS)
    assert double.dtype == np.float64
    assert_close(double, expected, rtol=1e-4, atol=0.1)


def test_it_can_be_replaced():
    x = randn(2, 1, WIDTH)
    with kernels.use(decode_blocks=lambda x, blocks, layers, lengths, heads: 2 * x):
        blocks = tuple(make_block(i) for i in range(LAYERS))
        np.testing.assert_array_equal(kernels.decode_blocks(x, blocks, new_cache(), HEADS), 2 * x)


X, BLOCK, CACHE = randn(2, 1, WIDTH), make_block(0), new_cache()
FULL = new_cache()
FULL.advance(7)
INT8, INT4 = in_int8(BLOCK), kernels.pack_int4(BLOCK.q[0])
CONVOLUTION = kernels.pack_int8(np.ones((WIDTH, 2, 3, 3), np.int8), 0.1)
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
    (
        lambda: kernels.decode_blocks(X, with_part(q=INT8.out), CACHE, HEADS),
        ValueError,
        "weight of q must be",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(contract=INT8.expand), CACHE, HEADS),
        ValueError,
        "block 1: the weight of contract",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(v=(INT8.v[0], np.ones(3))), CACHE, HEADS),
        ValueError,
        "the bias of v must have shape",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(q=(CONVOLUTION, None)), CACHE, HEADS),
        ValueError,
        r"block 1: q must be a matrix \(in, out\).*of a convolution, \(20, 2, 3, 3\)",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(q=(INT4, None)), CACHE, HEADS),
        TypeError,
        "block 1: weight must be an array of numbers, got PackedInt4",
    ),
    (
        lambda: kernels.decode_blocks(X, with_part(norm1=INT8.q), CACHE, HEADS),
        TypeError,
        "block 1: scale must be an array of numbers, got PackedInt8",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained_and_change_nothing(call, error, message):
    with pytest.raises(error, match=message):
        call()
    for cache in (CACHE, FULL):
        assert not cache.keys.any() and not cache.values.any()
