"""The reference itself, against loops written from the definitions and against central differences."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from tinytorch.kernels import SparseMatrix, reference
from tinytorch.kernels.reference.quantize import dequantize_int4, quantize_int4, quantize_positions

from .common import assert_gradients, randn


def double(*shape, seed=0):
    return randn(*shape, seed=seed).astype(np.float64)


def test_matmul_is_the_sum_of_products():
    a, b = double(2, 3, 4), double(2, 4, 5)
    expected = np.einsum("bmk,bkn->bmn", a, b)
    np.testing.assert_allclose(reference.matmul(a, b), expected)
    np.testing.assert_allclose(reference.matmul(a.swapaxes(1, 2), b, transpose_a=True), expected)
    np.testing.assert_allclose(reference.matmul(a, b.swapaxes(1, 2), transpose_b=True), expected)


def test_linear_adds_bias_then_activates():
    x, w, bias = double(2, 3, 4), double(4, 5), double(5)
    y = np.einsum("abk,kn->abn", x, w) + bias
    np.testing.assert_allclose(reference.linear(x, w, bias), y)
    np.testing.assert_allclose(reference.linear(x, w, bias, "relu"), np.where(y > 0, y, 0))
    np.testing.assert_allclose(reference.linear(x, w, bias, "gelu"), reference.gelu(y))


def conv2d_by_definition(x, w, stride, padding, dilation, groups):
    n, _, h, width = x.shape
    o, per_group, kh, kw = w.shape
    oh = (h + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, oh, ow))
    for b, f, i, j, ci, r, s in itertools.product(*map(range, (n, o, oh, ow, per_group, kh, kw))):
        row = i * stride[0] + r * dilation[0] - padding[0]
        column = j * stride[1] + s * dilation[1] - padding[1]
        if 0 <= row < h and 0 <= column < width:
            channel = f // (o // groups) * per_group + ci
            y[b, f, i, j] += x[b, channel, row, column] * w[f, ci, r, s]
    return y


WINDOWS = [
    # stride, padding, dilation, groups
    ((1, 1), (0, 0), (1, 1), 1),
    ((2, 1), (1, 2), (1, 1), 1),
    ((1, 2), (2, 1), (2, 1), 2),
    ((3, 2), (1, 1), (1, 2), 4),
]


@pytest.mark.parametrize("window", WINDOWS)
def test_conv2d_is_its_definition(window):
    x, w = double(2, 4, 6, 7), double(8, 4 // window[3], 3, 2)
    np.testing.assert_allclose(
        reference.conv2d(x, w, None, *window), conv2d_by_definition(x, w, *window), atol=1e-12
    )
    bias = double(8)
    biased = conv2d_by_definition(x, w, *window) + bias[:, None, None]
    np.testing.assert_allclose(
        reference.conv2d(x, w, bias, *window, activation="relu"), np.maximum(biased, 0), atol=1e-12
    )


@pytest.mark.parametrize("window", WINDOWS)
def test_conv2d_backward(window):
    assert_gradients(
        lambda x, w, b: reference.conv2d(x, w, b, *window),
        lambda dy, x, w, b: reference.conv2d_backward(dy, x, w, *window),
        double(2, 4, 5, 4), double(4, 4 // window[3], 3, 2), double(4),
    )  # fmt: skip


def test_conv2d_backward_computes_only_what_is_asked_for():
    x, w = double(1, 1, 3, 3), double(1, 1, 2, 2)
    dx, dw, db = reference.conv2d_backward(double(1, 1, 2, 2), x, w, output_mask=(False, True, False))
    assert dx is None and db is None and dw.shape == w.shape


def pool_by_definition(x, kernel, stride, padding, reduce, fill):
    n, c, h, w = x.shape
    padded = np.full((n, c, h + 2 * padding[0], w + 2 * padding[1]), fill, x.dtype)
    padded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = x
    oh = (padded.shape[2] - kernel[0]) // stride[0] + 1
    ow = (padded.shape[3] - kernel[1]) // stride[1] + 1
    y = np.empty((n, c, oh, ow))
    for i, j in itertools.product(range(oh), range(ow)):
        top, left = i * stride[0], j * stride[1]
        y[:, :, i, j] = reduce(padded[:, :, top : top + kernel[0], left : left + kernel[1]], axis=(2, 3))
    return y


POOLS = [((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 1)), ((2, 3), (3, 1), (0, 1))]


@pytest.mark.parametrize("window", POOLS)
def test_pools_are_their_definitions(window):
    x = double(2, 3, 6, 5)
    expected = pool_by_definition(x, *window, np.max, -np.inf)
    np.testing.assert_array_equal(reference.max_pool2d(x, *window), expected)
    np.testing.assert_allclose(reference.avg_pool2d(x, *window), pool_by_definition(x, *window, np.mean, 0.0))


@pytest.mark.parametrize("window", POOLS)
def test_pools_backward(window):
    x = double(1, 2, 5, 5)
    assert_gradients(
        lambda x: reference.max_pool2d(x, *window),
        lambda dy, x: (reference.max_pool2d_backward(dy, x, *window),), x,
    )  # fmt: skip
    assert_gradients(
        lambda x: reference.avg_pool2d(x, *window),
        lambda dy, x: (reference.avg_pool2d_backward(dy, x.shape, *window),), x,
    )  # fmt: skip


def test_max_pool2d_gives_a_tie_to_the_first_and_never_to_padding():
    x = np.zeros((1, 1, 2, 2))
    dx = reference.max_pool2d_backward(np.ones((1, 1, 1, 1)), x, (2, 2), (2, 2), (0, 0))
    np.testing.assert_array_equal(dx[0, 0], [[1, 0], [0, 0]])
    x[:] = -np.inf
    dx = reference.max_pool2d_backward(np.ones((1, 1, 2, 2)), x, (2, 2), (2, 2), (1, 1))
    np.testing.assert_array_equal(dx[0, 0], [[1, 1], [1, 1]])


def test_max_pool2d_lets_nan_win():
    x = np.array([[[[1.0, np.nan], [3.0, np.nan]]]])
    assert np.isnan(reference.max_pool2d(x, (2, 2), (2, 2), (0, 0))).all()
    dx = reference.max_pool2d_backward(np.ones((1, 1, 1, 1)), x, (2, 2), (2, 2), (0, 0))
    np.testing.assert_array_equal(dx[0, 0], [[0, 1], [0, 0]])


def test_gelu_forms():
    for x in (-3.0, -0.5, 0.0, 0.7, 2.5):
        array = np.array([x])
        exact = x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
        tanh = 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        sigmoid = x / (1 + math.exp(-1.702 * x))
        for form, expected in (("none", exact), ("tanh", tanh), ("sigmoid", sigmoid)):
            assert reference.gelu(array, form)[0] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_gelu_keeps_its_relative_accuracy_far_below_zero():
    # -10 * P(X <= -10), from the tail's series; 1 + erf would give exactly 0.
    assert reference.gelu(np.array([-10.0]))[0] == pytest.approx(-7.619853e-23, rel=1e-6)


@pytest.mark.parametrize("form", ["none", "tanh", "sigmoid"])
def test_gelu_backward(form):
    assert_gradients(
        lambda x: reference.gelu(x, form),
        lambda dy, x: (reference.gelu_backward(dy, x, form),), 2 * double(3, 4),
    )  # fmt: skip


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax(axis):
    x = double(3, 4, 2)
    y = reference.softmax(x, axis)
    np.testing.assert_allclose(y, np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True))
    np.testing.assert_allclose(reference.log_softmax(x, axis), np.log(y))
    for forward, backward in (
        (reference.softmax, reference.softmax_backward),
        (reference.log_softmax, reference.log_softmax_backward),
    ):
        assert_gradients(
            lambda x, f=forward: f(x, axis),
            lambda dy, x, f=forward, g=backward: (g(dy, f(x, axis), axis),), x,
        )  # fmt: skip


def test_softmax_does_not_overflow():
    np.testing.assert_allclose(reference.softmax(np.array([1000.0, 1000.0, -1000.0])), [0.5, 0.5, 0])


def test_layer_norm():
    x, weight, bias = 3 + double(2, 3, 5), double(5), double(5, seed=1)
    y = reference.layer_norm(x, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=-1), 1)
    np.testing.assert_allclose(reference.layer_norm(x, weight, bias, 0.0), y * weight + bias)
    assert_gradients(
        lambda x, w, b: reference.layer_norm(x, w, b, 0.1),
        lambda dy, x, w, b: reference.layer_norm_backward(dy, x, w, 0.1), x, weight, bias,
    )  # fmt: skip
    assert reference.layer_norm_backward(x, x)[1] is None


def test_rms_norm():
    x, weight = double(2, 3, 5), double(5)
    np.testing.assert_allclose(
        reference.rms_norm(x, weight, 0.1), x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1) * weight
    )
    assert_gradients(
        lambda x, w: reference.rms_norm(x, w, 0.1),
        lambda dy, x, w: reference.rms_norm_backward(dy, x, w, 0.1), x, weight,
    )  # fmt: skip
    assert reference.rms_norm_backward(x, x)[1] is None


def test_batch_norm2d_in_training():
    x, weight, bias = 2 + double(3, 2, 4, 5), double(2), double(2, seed=1)
    mean, var = double(2, seed=2), np.abs(double(2, seed=3))
    mean_before, var_before = mean.copy(), var.copy()
    y = reference.batch_norm2d(x, weight, bias, mean, var, training=True, momentum=0.3, eps=0.0)
    for c in range(2):
        pixels = x[:, c].ravel()
        expected = (pixels - pixels.mean()) / pixels.std() * weight[c] + bias[c]
        np.testing.assert_allclose(y[:, c].ravel(), expected)
        assert mean[c] == pytest.approx(0.7 * mean_before[c] + 0.3 * pixels.mean())
        assert var[c] == pytest.approx(0.7 * var_before[c] + 0.3 * pixels.var(ddof=1))


def test_batch_norm2d_in_inference_uses_the_running_pair():
    x, weight, bias = double(1, 2, 2, 2), double(2), double(2, seed=1)
    mean, var = double(2, seed=2), np.abs(double(2, seed=3))
    y = reference.batch_norm2d(x, weight, bias, mean, var, eps=0.5)
    for c in range(2):
        expected = (x[:, c] - mean[c]) / math.sqrt(var[c] + 0.5) * weight[c] + bias[c]
        np.testing.assert_allclose(y[:, c], expected)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm2d_backward(training):
    mean, var = double(2, seed=2), np.abs(double(2, seed=3))
    assert_gradients(
        lambda x, w, b: reference.batch_norm2d(x, w, b, mean.copy(), var.copy(), training, eps=0.1),
        lambda dy, x, w, b: reference.batch_norm2d_backward(dy, x, w, mean, var, training, 0.1),
        double(3, 2, 2, 3), double(2), double(2, seed=1),
    )  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(smoothing):
    logits, targets = double(4, 3), np.array([2, 0, -100, 1])
    losses = []
    for row, target in zip(logits, targets, strict=True):
        if target != -100:
            logp = row - math.log(sum(math.exp(v) for v in row))
            losses.append(-(1 - smoothing) * logp[target] - smoothing * logp.mean())
    loss = reference.cross_entropy(logits, targets, -100, smoothing)
    assert loss == pytest.approx(sum(losses) / 3)
    assert_gradients(
        lambda x: np.float64(reference.cross_entropy(x, targets, -100, smoothing)),
        lambda dy, x: (reference.cross_entropy_backward(float(dy), x, targets, -100, smoothing),), logits,
    )  # fmt: skip


def test_cross_entropy_of_nothing_is_nan_and_has_no_gradient():
    logits, targets = double(2, 3), np.array([-100, -100])
    assert math.isnan(reference.cross_entropy(logits, targets))
    np.testing.assert_array_equal(reference.cross_entropy_backward(1.0, logits, targets), np.zeros((2, 3)))


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_step_is_its_recurrence(nesterov):
    lr, momentum, decay = 0.1, 0.9, 0.01
    p, b = 0.7, 0.0
    params, buffers = [np.array([p])], [np.zeros(1)]
    for g in (0.3, -0.2, 0.5):
        reference.sgd_step(params, [np.array([g])], buffers, lr, momentum, decay, nesterov)
        step = g + decay * p
        b = momentum * b + step
        p -= lr * (step + momentum * b if nesterov else b)
        assert params[0][0] == pytest.approx(p) and buffers[0][0] == pytest.approx(b)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_step_is_its_recurrence(decoupled):
    lr, b1, b2, eps, decay = 0.01, 0.8, 0.95, 1e-3, 0.1
    p, m, v = 0.7, 0.0, 0.0
    params, means, squares = [np.array([p])], [np.zeros(1)], [np.zeros(1)]
    for step, g in enumerate((0.3, -0.2, 0.5), start=1):
        kernel = reference.adamw_step if decoupled else reference.adam_step
        kernel(params, [np.array([g])], means, squares, step, lr, b1, b2, eps, decay)
        if decoupled:
            p *= 1 - lr * decay
        else:
            g += decay * p
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        p -= lr * (m / (1 - b1**step)) / (math.sqrt(v / (1 - b2**step)) + eps)
        assert params[0][0] == pytest.approx(p)


def attention_by_definition(q, k, v, keep, added, scale):
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for b, h, t in itertools.product(*map(range, q.shape[:3])):
        g = h // (q.shape[1] // k.shape[1])
        seen = [s for s in range(k.shape[2]) if keep[b, h, t, s]]
        if seen:
            scores = np.array([scale * q[b, h, t] @ k[b, g, s] + added[b, h, t, s] for s in seen])
            weights = np.exp(scores) / np.exp(scores).sum()
            y[b, h, t] = sum(w * v[b, g, s] for w, s in zip(weights, seen, strict=True))
    return y


ATTENTIONS = [(False, None), (True, None), (False, "bool"), (True, "bool"), (False, "float")]


def attention_inputs(mask_kind):
    q, k, v = double(2, 4, 3, 5), double(2, 2, 6, 5), double(2, 2, 6, 2)
    mask = None
    if mask_kind == "bool":
        mask = np.random.default_rng(0).random((2, 4, 3, 6)) < 0.7
        mask[0, 1, 2] = False
    elif mask_kind == "float":
        mask = double(2, 4, 3, 6, seed=5)
    return q, k, v, mask


@pytest.mark.parametrize("causal, mask_kind", ATTENTIONS)
def test_attention_is_its_definition(causal, mask_kind):
    q, k, v, mask = attention_inputs(mask_kind)
    shape = (2, 4, 3, 6)
    keep = mask.copy() if mask_kind == "bool" else np.ones(shape, bool)
    if causal:
        keep &= np.arange(6) <= np.arange(3)[:, None]
    added = mask if mask_kind == "float" else np.zeros(shape)
    y, lse = reference.attention(q, k, v, causal, mask, 0.3, return_lse=True)
    np.testing.assert_allclose(y, attention_by_definition(q, k, v, keep, added, 0.3), atol=1e-12)
    sees_nothing = ~keep.any(axis=-1)
    assert (lse[sees_nothing] == -np.inf).all() and np.isfinite(lse[~sees_nothing]).all()


@pytest.mark.parametrize("causal, mask_kind", ATTENTIONS)
def test_attention_backward(causal, mask_kind):
    q, k, v, mask = attention_inputs(mask_kind)
    assert_gradients(
        lambda q, k, v: reference.attention(q, k, v, causal, mask),
        lambda dy, q, k, v: reference.attention_backward(dy, q, k, v, causal, mask), q, k, v,
    )  # fmt: skip


def test_attention_decode_continues_causal_attention():
    q, k, v = double(2, 4, 5, 3), double(2, 2, 5, 3), double(2, 2, 5, 3)
    whole = reference.attention(q, k, v, causal=True)
    keys, values = np.zeros((2, 2, 8, 3)), np.zeros((2, 2, 8, 3))
    for t in range(5):
        now = slice(t, t + 1)
        y = reference.attention_decode(
            q[:, :, now], k[:, :, now], v[:, :, now], keys, values, None, None, np.array([t, t])
        )
        np.testing.assert_allclose(y, whole[:, :, now], atol=1e-12)


def test_quantize_rounds_half_to_even_and_clamps():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1000, -1000, np.inf, -np.inf])
    assert reference.quantize(x, 1.0).tolist() == [0, 2, 2, 0, -2, 127, -128, 127, -128]
    assert reference.quantize(x, 1.0, 3, dtype="uint8").tolist() == [3, 5, 5, 3, 1, 255, 0, 255, 0]


def test_quantize_along_an_axis():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    scale, zero_point = np.array([1.0, 0.5]), np.array([0, 10])
    q = reference.quantize(x, scale, zero_point, axis=1)
    np.testing.assert_array_equal(q, [[1, 14], [3, 18]])
    np.testing.assert_array_equal(reference.dequantize(q, scale, zero_point, axis=1), x)


def test_matmul_int8_is_exact_at_its_limits():
    a, b = np.full((1, 65536), 255, np.uint8), np.full((65536, 1), -128, np.int8)
    assert reference.matmul_int8(a, b)[0, 0] == 255 * -128 * 65536


def requantized(acc, scale, bias, out_scale, zero_point, low, high):
    """Requantization in Python: round of a float32 product, half to even."""
    if bias is not None:
        acc += round(float(np.float32(bias) / np.float32(scale)))
    real = np.float32(acc) * (np.float32(scale) / np.float32(out_scale))
    return min(max(round(float(real)) + zero_point, low), high)


@pytest.mark.parametrize("relu", [False, True])
def test_linear_int8_is_its_definition(relu):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (3, 7)).astype(np.uint8)
    w = rng.integers(-128, 128, (7, 2)).astype(np.int8)
    w_scale, bias = np.array([0.01, 0.02], np.float32), np.array([0.5, -1.0], np.float32)
    activation = "relu" if relu else None
    y = reference.linear_int8(x, 0.05, 9, w, w_scale, bias, activation)
    q = reference.linear_int8(x, 0.05, 9, w, w_scale, bias, activation, 0.3, 4, "int8")
    for m, n in itertools.product(range(3), range(2)):
        acc = sum((int(x[m, k]) - 9) * int(w[k, n]) for k in range(7))
        real = acc * 0.05 * float(w_scale[n]) + float(bias[n])
        assert y[m, n] == pytest.approx(max(real, 0) if relu else real, rel=1e-5)
        scale = np.float32(0.05) * w_scale[n]
        assert q[m, n] == requantized(acc, scale, bias[n], 0.3, 4, 4 if relu else -128, 127)


@pytest.mark.parametrize("window", WINDOWS)
def test_conv2d_int8_is_a_convolution_of_the_real_values(window):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 4, 6, 7)).astype(np.uint8)
    w = rng.integers(-127, 128, (8, 4 // window[3], 3, 2)).astype(np.int8)
    scale = np.linspace(0.01, 0.02, 8).astype(np.float32)
    y = reference.conv2d_int8(x, 0.5, 7, w, scale, None, *window)
    real_w = w * scale[:, None, None, None].astype(np.float64)
    expected = conv2d_by_definition((x - 7.0) * 0.5, real_w, *window)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-4)


def test_int4_stays_within_half_a_step():
    w = randn(70, 3)
    q, scales = quantize_int4(w, 32)
    assert q.min() >= -8 and q.max() <= 7 and scales.shape == (3, 3)
    step = np.repeat(scales.astype(np.float32), 32, axis=0)[:70]
    # The scale itself is rounded to float16, which moves the largest weight by a little more.
    assert (np.abs(dequantize_int4(q, scales, 32) - w) <= 0.505 * step).all()


def test_int4_of_zeros_is_zero():
    q, scales = quantize_int4(np.zeros((32, 2), np.float32))
    assert not q.any() and not scales.any() and not dequantize_int4(q, scales).any()


def test_quantize_positions():
    x = np.array([[1.0, -127.0], [0.0, 0.0], [63.5, 127.0]], np.float32)
    q, scale = quantize_positions(x)
    np.testing.assert_array_equal(q, [[1, -127], [0, 0], [64, 127]])
    np.testing.assert_array_equal(scale, [1, 0, 1])


@pytest.mark.parametrize("r", [1, 4])
def test_sparse_products_are_the_dense_ones(r):
    dense = randn(10, 7) * (randn(10, 7, seed=1) > 0.5)
    w, x = SparseMatrix.from_dense(dense, (r, 1)), double(7, 3)
    np.testing.assert_allclose(reference.sparse_matmul(w, x), dense @ x, atol=1e-12)
    bias = double(10)
    np.testing.assert_allclose(
        reference.sparse_linear(x.T, w, bias, "relu"), np.maximum(x.T @ dense.T + bias, 0), atol=1e-12
    )


def test_sparse_reads_only_the_fields_of_the_matrix():
    w = SimpleNamespace(
        values=np.array([[2.0], [3.0]]), indices=np.array([1, 0]), row_pointers=np.array([0, 1, 2]),
        shape=(2, 2), block=(1, 1),
    )  # fmt: skip
    np.testing.assert_array_equal(reference.sparse_matmul(w, np.eye(2)), [[0, 2], [3, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_keep_the_dtype(dtype):
    x, w, image = randn(2, 3).astype(dtype), randn(3, 3).astype(dtype), randn(1, 2, 4, 4).astype(dtype)
    vector, heads = np.abs(x[0]), randn(1, 2, 3, 4).astype(dtype)
    results = [
        reference.matmul(x, w),
        reference.linear(x, w, vector, "gelu"),
        reference.conv2d(image, image[:, :, :2, :2], image[0, 0, 0, :1]),
        *reference.conv2d_backward(image[:, :1, :3, :3], image, image[:, :, :2, :2]),
        reference.max_pool2d(image, (2, 2), (2, 2), (1, 1)),
        reference.avg_pool2d(image, (2, 2), (1, 1), (1, 1)),
        reference.softmax(x),
        reference.log_softmax(x),
        reference.layer_norm(x, vector, vector),
        *reference.layer_norm_backward(x, x, vector),
        reference.rms_norm(x),
        *reference.rms_norm_backward(x, x, vector),
        *(reference.gelu(x, form) for form in ("none", "tanh", "sigmoid")),
        *(reference.gelu_backward(x, x, form) for form in ("none", "tanh", "sigmoid")),
        reference.cross_entropy_backward(1.0, x, np.array([0, 1])),
        *reference.attention(heads, heads, heads, True, return_lse=True),
        *reference.attention_backward(heads, heads, heads, heads, True),
    ]
    assert {r.dtype for r in results} == {np.dtype(dtype)}


def test_composites_use_the_matmul_they_are_given():
    calls = []

    def counting(a, b):
        calls.append(None)
        return np.matmul(a, b)

    x, w, heads = double(2, 3), double(3, 4), double(1, 1, 3, 4)
    image, filters = double(1, 2, 4, 4), double(3, 2, 2, 2)
    dy = reference.conv2d(image, filters)
    for composite in (
        lambda: reference.linear(x, w, matmul=counting),
        lambda: reference.conv2d(image, filters, matmul=counting),
        lambda: reference.conv2d_backward(dy, image, filters, matmul=counting),
        lambda: reference.attention(heads, heads, heads, matmul=counting),
        lambda: reference.attention_backward(heads, heads, heads, heads, matmul=counting),
    ):
        calls.clear()
        composite()
        assert calls
