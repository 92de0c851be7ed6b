"""Cases in which a fixed cost outweighs what is saved, because the work is too small."""

from __future__ import annotations

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import matmul_blocked, matmul_numpy
from tinytorch.experiments.gallery.case import Calls, case
from tinytorch.experiments.trained import seeded
from tinytorch.kernels import lessons
from tinytorch.quantization import quantize_weight
from tinytorch.timing import Call
from tinytorch.transformers import GPT

STEPS = {step.name: step for step in lessons.matmul}


def numbers(*shape: int) -> np.ndarray:
    """The same random float32 numbers in every run."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@case("INT8 for one small layer", "float32 (1, 64) @ (64, 32)", "quantize, then INT8")
def int8_in_a_tiny_layer() -> Calls:
    """Integers multiply faster, but the input must be quantized first, and with 2048 products there is
    nothing to win that back from.
    """
    x, weight = numbers(1, 64), numbers(64, 32)
    packed = kernels.pack(weight)
    quantized, scales = quantize_weight(weight, axis=1)
    packed_int8 = kernels.pack_int8(quantized, scales)
    scale, zero_point = float(np.ptp(x)) / 255, 128

    def integers() -> np.ndarray:
        return kernels.linear_int8(
            kernels.quantize(x, scale, zero_point, dtype="uint8"), scale, zero_point, packed_int8
        )

    return Calls(lambda: kernels.linear(x, packed), integers)


@case("Threads for a small product", "packed, 32 rows", "packed, 32 rows, all threads")
def threads_on_a_small_product() -> Calls:
    """Waking a thread and waiting for it takes microseconds, which is as long as the whole product takes."""
    a, out = numbers(32, 32), np.empty((32, 32), np.float32)
    return Calls(lambda: STEPS["packed"](a, a, out), lambda: STEPS["threaded"](a, a, out))


@case("Tiles for what fits the cache", "one product of 48 rows", "tiles of 16 rows")
def tiling_inside_the_cache() -> Calls:
    """Tiles keep operands in the cache; 48 × 48 numbers are 9 KB and never leave it, so only the loop over
    tiles and the calls remain.
    """
    a = numbers(48, 48)
    return Calls(lambda: matmul_numpy(a, a), lambda: matmul_blocked(a, a, 16))


@case("Packing weights used once", "one product with the weights", "pack, then one product")
def packing_used_once() -> Calls:
    """Packing reads and writes every weight; a product with one row reads each just once, so the copy costs
    more than all of the work it speeds up.
    """
    x, weight = numbers(1, 512), numbers(512, 512)
    return Calls(lambda: kernels.matmul(x, weight), lambda: kernels.matmul(x, kernels.pack(weight)))


@case("A cache for one token", "one token, all positions computed", "one token, with a cache")
def cache_for_one_token() -> Calls:
    """A cache saves the work for tokens that come later; when only one is asked for, none comes later, and
    the cache was made and filled for nothing.
    """
    with seeded(0):
        model = GPT(vocab_size=64, embed_dim=64, num_layers=2, num_heads=4, max_seq_len=256)
    model.eval()
    prompt = np.array([[1, 2, 3, 4]])

    def write(use_cache: bool) -> object:
        return model.generate(prompt, 1, temperature=0, use_cache=use_cache)

    return Calls(lambda: write(False), lambda: write(True))


@case("INT8 keys and values, short context", "float32 cache, 16 tokens", "INT8 cache, 16 tokens")
def int8_cache_for_a_short_context() -> Calls:
    """Bytes are what a long context waits for; 16 tokens fit into the nearest cache in any format, and
    converting them is extra.
    """
    return Calls(_decode("float32", 16), _decode("int8", 16))


def _decode(dtype: str, length: int, heads: int = 4, width: int = 32) -> Call:
    cache = kernels.KVCache(1, 2 * length, 1, heads, width, dtype)
    past, now = numbers(1, heads, length, width), numbers(1, heads, 1, width)
    cache.append(0, past, past)
    cache.advance(length)
    return lambda: kernels.attention_decode(now, now, now, cache, 0)
