"""Cases in which the optimization adds more work than it saves."""

from __future__ import annotations

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import fused_and_separate, optimize
from tinytorch.experiments.gallery.case import Calls, case
from tinytorch.experiments.gallery.overhead import numbers
from tinytorch.experiments.trained import seeded
from tinytorch.kernels import lessons
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import cross_entropy
from tinytorch.models import MLPClassifier
from tinytorch.quantization import quantize_naive
from tinytorch.tensor import Tensor

ATTENTION = {step.name: step for step in lessons.attention}


@case("INT8 weights, dequantized on each call", "float32 weights", "INT8 weights, made float32 each time")
def dequantizing_on_every_call() -> Calls:
    """The file is four times smaller, but each call first makes all the float32 weights again and then does
    what it did before.
    """
    with seeded(0):
        model = Sequential(Linear(512, 512)).eval()
    x, plain, naive = numbers(8, 512), optimize(model), quantize_naive(model)
    return Calls(lambda: plain(x), lambda: naive(x))


@case("INT4 weights at a large batch", "float32 weights, batch 512", "INT4 weights, batch 512")
def int4_at_a_large_batch() -> Calls:
    """Small weights help when each is read for one product; with 512 rows arithmetic decides, and unpacking
    comes on top.
    """
    x, weight = numbers(512, 256), numbers(256, 256)
    packed, four_bits = kernels.pack(weight), kernels.pack_int4(weight)
    return Calls(lambda: kernels.linear(x, packed), lambda: kernels.linear_int4(x, four_bits))


@case("30 % of the weights scattered zeros", "all weights, dense", "the 70 % that are left, sparse")
def scattered_sparsity() -> Calls:
    """A sparse product looks up where each number belongs, one by one, where a dense one reads rows whole;
    30 % fewer products don't pay for that.
    """
    weight = numbers(512, 512)
    weight[np.random.default_rng(1).random(weight.shape) < 0.3] = 0
    x, packed = numbers(64, 512), kernels.pack(weight)
    sparse = kernels.SparseMatrix.from_dense(np.ascontiguousarray(weight.T))
    return Calls(lambda: kernels.linear(x, packed), lambda: kernels.sparse_linear(x, sparse))


@case("Two factors of too high a rank", "one layer, 512 to 512", "512 to 384 to 512")
def low_rank_too_high() -> Calls:
    """Two factors of rank r hold 2 · 512 · r weights; at r = 384 that is half as many again as the matrix
    that they replace.
    """
    x, down, up = numbers(64, 512), numbers(512, 384), numbers(384, 512)
    first, second, whole = kernels.pack(down), kernels.pack(up), kernels.pack(down @ up)
    return Calls(lambda: kernels.linear(x, whole), lambda: kernels.linear(kernels.linear(x, first), second))


@case("Two layers merged into one", "1024 to 16 to 1024", "one layer, 1024 to 1024")
def merging_a_bottleneck() -> Calls:
    """One call instead of two, but the bottleneck of 16 was what made the two cheap: merged, they hold 32
    times as many weights.
    """
    x, down, up = numbers(64, 1024), numbers(1024, 16), numbers(16, 1024)
    first, second, merged = kernels.pack(down), kernels.pack(up), kernels.pack(down @ up)
    return Calls(lambda: kernels.linear(kernels.linear(x, first), second), lambda: kernels.linear(x, merged))


@case("Softmax fused into attention, 64 tokens", "row by row: scores, softmax, sum", "online, in one pass")
def online_softmax_for_a_short_text() -> Calls:
    """The running maximum saves memory for the scores, and rescales the sum each time it rises; a row of 64
    scores was in the nearest cache anyway.
    """
    q = numbers(4, 64, 32)
    return Calls(lambda: ATTENTION["rows"](q, q, q), lambda: ATTENTION["online"](q, q, q))


@case("Bias and ReLU fused, compute-bound", "product, then bias, then ReLU", "all in one call")
def fusion_when_compute_bound() -> Calls:
    """Fusion saves passes over the output; next to 512 products for each output they hardly show, so
    there is nothing to gain.
    """
    return Calls(*fused_and_separate(512, 512))


@case("A copy to make an operand contiguous", "the kernel reads it transposed", "copied, then multiplied")
def copying_to_make_contiguous() -> Calls:
    """The kernel packs its operands anyway, in whatever order they lie; copying one first moves it twice."""
    a, b = numbers(512, 64), numbers(512, 64)
    return Calls(
        lambda: kernels.matmul(a, b, transpose_a=True),
        lambda: kernels.matmul(np.ascontiguousarray(a.T), b),
    )


@case("Accumulating gradients that fit at once", "one batch of 64", "8 batches of 8, gradients added")
def accumulating_what_fits() -> Calls:
    """Accumulation makes room for batches that don't fit into memory; one that does is only cut into products
    too thin for the kernels, and each weight's gradient is written 8 times.
    """
    with seeded(0):
        model = MLPClassifier((256, 256, 10))
    x, target = numbers(64, 256), np.arange(64) % 10

    def step(parts: int) -> None:
        model.zero_grad()
        for images, labels in zip(np.split(x, parts), np.split(target, parts), strict=True):
            (cross_entropy(model(Tensor(images)), labels) / parts).backward()

    return Calls(lambda: step(1), lambda: step(8))
