"""use(): what a replacement sees, where it reaches, when it ends, and how its mistakes are told."""

import contextvars
import threading

import numpy as np
import pytest

from tinytorch import kernels

from .common import assert_close, randn, whole


class Counting:
    """A matmul that counts its calls and keeps what it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, a, b):
        self.seen.append((a, b))
        return a @ b


def test_a_replacement_runs_inside_the_block_only():
    mine = Counting()
    a, b = randn(2, 3), randn(3, 4)
    with kernels.use(matmul=mine):
        y = kernels.matmul(a, b)
    kernels.matmul(a, b)
    assert len(mine.seen) == 1
    assert_close(y, a @ b)


def test_a_replacement_ends_with_the_block_even_after_an_error():
    mine = Counting()
    with pytest.raises(RuntimeError), kernels.use(matmul=mine):
        raise RuntimeError
    kernels.matmul(randn(2, 3), randn(3, 4))
    assert not mine.seen


def test_uses_nest_and_the_innermost_wins():
    outer, inner = Counting(), Counting()
    a, b = randn(2, 3), randn(3, 4)
    with kernels.use(matmul=outer, softmax=lambda x, axis: np.zeros_like(x)):
        with kernels.use(matmul=inner):
            kernels.matmul(a, b)
            assert not kernels.softmax(a).any()
        kernels.matmul(a, b)
        with kernels.use(matmul=None):
            kernels.matmul(a, b)
    assert (len(outer.seen), len(inner.seen)) == (1, 1)


def test_a_plain_call_stays_until_it_is_restored():
    mine = Counting()
    replaced = kernels.use(matmul=mine)
    try:
        kernels.matmul(randn(2, 3), randn(3, 4))
    finally:
        replaced.restore()
    kernels.matmul(randn(2, 3), randn(3, 4))
    assert len(mine.seen) == 1


def test_none_gives_the_built_in_kernel_back():
    mine = Counting()
    before = kernels.use(matmul=mine)
    kernels.use(matmul=None)
    kernels.matmul(randn(2, 3), randn(3, 4))
    before.restore()
    assert not mine.seen


def test_another_thread_keeps_the_built_in_kernels():
    mine = Counting()
    with kernels.use(matmul=mine):
        # A fresh context is what a new thread starts with, on every version of Python.
        thread = threading.Thread(
            target=contextvars.Context().run, args=(kernels.matmul, randn(2, 3), randn(3, 4))
        )
        thread.start()
        thread.join()
    assert not mine.seen


def test_a_copied_context_carries_the_replacement_along():
    mine = Counting()
    with kernels.use(matmul=mine):
        context = contextvars.copy_context()
    context.run(kernels.matmul, randn(2, 3), randn(3, 4))
    kernels.matmul(randn(2, 3), randn(3, 4))
    assert len(mine.seen) == 1


def test_matmul_sees_contiguous_float32_matrices():
    mine = Counting()
    a, b = randn(4, 3, 2).transpose(0, 2, 1), np.arange(12).reshape(3, 4)
    with kernels.use(matmul=mine):
        y = kernels.matmul(a, b)
        kernels.matmul(randn(3, 2), b, transpose_a=True)
        kernels.matmul(randn(3), randn(5, 3, 4))
    assert_close(y, a @ b.astype(np.float32))
    for x in (x for pair in mine.seen for x in pair):
        assert x.dtype == np.float32 and x.ndim == 2 and x.flags.c_contiguous
    assert [a.shape for a, _ in mine.seen] == [(8, 3), (2, 3)] + [(1, 3)] * 5


def test_matmul_int8_sees_bytes():
    seen = []

    def mine(a, b):
        seen.append((a.dtype, a.shape, b.dtype, b.shape))
        return a.astype(np.int64) @ b.astype(np.int64)

    x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    packed = kernels.pack_int8(np.ones((3, 4), np.int8), 0.5)
    expected = kernels.linear_int8(x, 0.1, 3, packed)
    with kernels.use(matmul_int8=mine):
        assert_close(kernels.linear_int8(x, 0.1, 3, packed), expected)
        assert kernels.matmul_int8(x[0], np.ones((3, 1), np.int8)).dtype == np.int32
    assert seen[0] == (np.uint8, (4, 3), np.int8, (3, 4))


IMAGE, FILTERS, HEADS = whole(2, 4, 5, 5), whole(6, 2, 3, 3), randn(2, 4, 3, 8)
IMAGE_Q, FILTERS_Q = IMAGE.astype(np.int8), FILTERS.astype(np.int8)
DECODE = [x[:, :, :1] for x in (HEADS, HEADS, HEADS)]

COMPOSITES = {
    "linear": lambda: kernels.linear(whole(2, 3, 4), whole(4, 5), whole(5), "relu"),
    "linear, packed": lambda: kernels.linear(whole(2, 4), kernels.pack(whole(4, 5))),
    "matmul, packed": lambda: kernels.matmul(whole(2, 4), kernels.pack(whole(4, 5))),
    "conv2d": lambda: kernels.conv2d(IMAGE, FILTERS, whole(6), padding=1, groups=2, activation="relu"),
    "conv2d, packed": lambda: kernels.conv2d(IMAGE, kernels.pack(FILTERS, groups=2), groups=2),
    "conv2d_backward": lambda: kernels.conv2d_backward(whole(2, 6, 3, 3), IMAGE, FILTERS, groups=2),
    "attention": lambda: kernels.attention(HEADS, HEADS[:, :2], HEADS[:, :2], causal=True),
    "attention_backward": lambda: kernels.attention_backward(HEADS, HEADS, HEADS, HEADS, causal=True),
    "attention_decode": lambda: kernels.attention_decode(*DECODE, kernels.KVCache(2, 4, 1, 4, 8), 0),
}
INT8_COMPOSITES = {
    "linear_int8_dynamic": lambda: kernels.linear_int8_dynamic(
        whole(5, 3), kernels.pack_int8(whole(3, 4).astype(np.int8), 0.2), whole(4)
    ),
    "linear_int8": lambda: kernels.linear_int8(
        IMAGE_Q, 0.1, 2, kernels.pack_int8(whole(5, 3).astype(np.int8), 0.2), whole(3), out_scale=0.3
    ),
    "conv2d_int8": lambda: kernels.conv2d_int8(
        IMAGE_Q, 0.1, 2, kernels.pack_int8(FILTERS_Q, 0.2, groups=2), whole(6), padding=1, groups=2,
        activation="relu",
    ),
}  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("composite", COMPOSITES)
def test_composites_run_on_the_replaced_matmul(composite):
    expected = COMPOSITES[composite]()
    mine = Counting()
    with kernels.use(matmul=mine):
        actual = COMPOSITES[composite]()
    assert mine.seen
    assert_close(actual, expected, atol=1e-5)


@pytest.mark.kernel
@pytest.mark.parametrize("composite", INT8_COMPOSITES)
def test_int8_composites_run_on_the_replaced_matmul_int8(composite):
    calls = []

    def mine(a, b):
        calls.append(None)
        return a.astype(np.int32) @ b.astype(np.int32)

    expected = INT8_COMPOSITES[composite]()
    with kernels.use(matmul_int8=mine):
        actual = INT8_COMPOSITES[composite]()
    assert calls
    np.testing.assert_array_equal(actual, expected)


def test_any_kernel_can_be_replaced():
    x = randn(2, 3)
    with kernels.use(
        gelu=lambda x, approximate: x + 1,
        layer_norm=lambda x, weight, bias, eps: x * eps,
        rms_norm_backward=lambda dy, x, weight, eps: (dy, None),
        cross_entropy=lambda logits, targets, ignore_index, label_smoothing: 7.0,
        sgd_step=lambda params, grads, buffers, lr, momentum, decay, nesterov: params[0].fill(lr),
    ):
        assert_close(kernels.gelu(x), x + 1)
        assert_close(kernels.layer_norm(x, eps=2.0), x * 2)
        assert_close(kernels.rms_norm_backward(x, x), (x, None))
        assert kernels.cross_entropy(x, [0, 1]) == 7.0
        parameter = np.zeros(2, np.float32)
        kernels.sgd_step([parameter], [parameter.copy()], lr=3.0)
        assert parameter.tolist() == [3, 3]


def test_a_replacement_may_call_the_built_in_kernel():
    depth = []

    def mine(a, b):
        depth.append(None)
        return kernels.matmul(a, b)

    with kernels.use(matmul=mine):
        kernels.matmul(randn(2, 3), randn(3, 4))
        kernels.matmul(randn(2, 3), randn(3, 4))
    assert len(depth) == 2


def test_float64_does_not_reach_a_replacement():
    mine = Counting()
    with kernels.use(matmul=mine):
        y = kernels.matmul(randn(2, 3).astype(np.float64), randn(3, 4))
    assert y.dtype == np.float64 and not mine.seen


def test_out_receives_the_replacements_result():
    out = np.zeros((2, 4), np.float32)
    with kernels.use(matmul=lambda a, b: np.ones((2, 4))):
        assert kernels.matmul(randn(2, 3), randn(3, 4), out=out) is out
    assert (out == 1).all()


def test_a_float64_result_becomes_float32():
    with kernels.use(matmul=lambda a, b: np.zeros((2, 4))):
        assert kernels.matmul(randn(2, 3), randn(3, 4)).dtype == np.float32


@pytest.mark.parametrize(
    "mine, error, message",
    [
        (lambda a, b: None, TypeError, r"your matmul .*returned None; did it forget `return`"),
        (lambda a, b: (a @ b).T, ValueError, r"must return shape \(2, 4\), and returned \(4, 2\)"),
        (lambda a, b: np.zeros((2, 4), complex), TypeError, "must return float32, and returned complex128"),
        (lambda a, b: "y", ValueError, r"must return shape \(2, 4\)"),
    ],
)
def test_a_wrong_result_is_explained(mine, error, message):
    with kernels.use(matmul=mine), pytest.raises(error, match=message):
        kernels.matmul(randn(2, 3), randn(3, 4))
    with kernels.use(matmul=mine), pytest.raises(error):
        kernels.linear(randn(2, 3), randn(3, 4))


def test_a_wrong_tuple_is_explained():
    with (
        kernels.use(conv2d_backward=lambda dy, x, w, **options: dy),
        pytest.raises(TypeError, match="must return a tuple of 3 arrays, and returned ndarray"),
    ):
        kernels.conv2d_backward(whole(2, 6, 3, 3), IMAGE, FILTERS, groups=2)


def test_a_matmul_int8_that_returns_floats_is_explained():
    packed = kernels.pack_int8(np.ones((3, 4), np.int8), 0.5)
    with (
        kernels.use(matmul_int8=lambda a, b: a.astype(np.float32) @ b),
        pytest.raises(TypeError, match="must return int32, and returned float32"),
    ):
        kernels.linear_int8(np.ones((2, 3), np.uint8), 0.1, 0, packed)


def test_an_unknown_kernel_is_an_error_with_a_suggestion():
    with pytest.raises(ValueError, match="no kernel named 'matmull'; did you mean 'matmul'"):
        kernels.use(matmull=np.matmul)
    with pytest.raises(ValueError, match="no kernel named 'qqq'"):
        kernels.use(qqq=np.matmul)


def test_an_implementation_must_be_a_function():
    with pytest.raises(TypeError, match="write matmul=my_function, without calling it"):
        kernels.use(matmul=randn(2, 2))


def test_every_kernel_has_a_reference_and_a_place_in_the_door():
    assert set(kernels.reference.__all__) <= set(kernels.__all__)
    for name in kernels.__all__:
        assert getattr(kernels, name).__doc__, f"{name} has no docstring"
