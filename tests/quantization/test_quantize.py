"""Integers that mean what they should, a model that stays in them, and bytes that are really saved."""

import gc

import numpy as np
import pytest

from tinytorch import Tensor, quantization
from tinytorch.acceleration import optimize
from tinytorch.activations import GELU, ReLU, Sigmoid
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.quantization import (
    MinMaxObserver,
    QuantizedLinear,
    Scale,
    compare_model_sizes,
    dequantize_int8,
    quantize,
    quantize_int4,
    quantize_int8,
    quantize_model,
    quantize_naive,
    quantize_weight,
)
from tinytorch.spatial import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

RNG = np.random.default_rng(0)


def cnn() -> Sequential:
    np.random.seed(0)
    return Sequential(
        Conv2d(1, 8, 3, padding=1), BatchNorm2d(8), ReLU(), MaxPool2d(2),
        Conv2d(8, 16, 3, padding=1), BatchNorm2d(16), ReLU(), AvgPool2d(2),
        Flatten(), Linear(64, 32), GELU(), Linear(32, 10),
    ).eval()  # fmt: skip


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).random((n, 1, 8, 8), dtype=np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 5), (2, 7), (-7, -2), (-1e-3, 1e6)])
def test_scale_covers_its_range_and_zero(low, high, dtype):
    scale = Scale.of_range(low, high, dtype)
    x = np.linspace(min(low, 0), max(high, 0), 1001, dtype=np.float32)
    restored = scale.dequantize(scale.quantize(x))
    assert np.abs(restored - x).max() <= scale.scale * 0.5001 + 1e-6 * np.abs(x).max()
    assert scale.dequantize(scale.quantize(np.zeros(1, np.float32)))[0] == 0


def test_scale_of_a_constant_zero():
    assert Scale.of_range(0, 0) == Scale(1.0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scale_refuses_what_is_not_finite(value):
    with pytest.raises(ValueError, match="not finite"):
        Scale.of_range(0.0, value)


def test_observer_needs_data():
    with pytest.raises(ValueError, match="nothing was observed"):
        MinMaxObserver().scale()


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_symmetric_with_a_scale_for_each_channel(axis):
    w = RNG.standard_normal((6, 5)).astype(np.float32) * np.arange(1, 6, dtype=np.float32)
    q, scale = quantize_weight(w, axis)
    assert q.dtype == np.int8 and scale.shape == (w.shape[axis],)
    assert q.min() >= -127 and (np.abs(q).max(axis=1 - axis) == 127).all()
    shape = (-1, 1) if axis == 0 else (1, -1)
    assert np.abs(q * scale.reshape(shape) - w).max() <= scale.max() * 0.5001


def test_weights_that_are_all_zero_stay_zero():
    q, scale = quantize_weight(np.zeros((3, 2), np.float32), 1)
    assert not q.any() and (scale == 1).all()


def test_quantized_model_stays_in_integers_and_close():
    model = cnn()
    fast = quantize(model, images(64))
    x = images(16)
    kinds, value = [], x
    for stage in fast.stages:
        value = stage(value)
        kinds.append(value.dtype)
    assert all(kind == np.uint8 for kind in kinds[:-1]) and kinds[-1] == np.float32
    expected = optimize(model)(x)
    assert np.abs(value - expected).max() < 0.05 * np.abs(expected).max()


def test_quantized_model_holds_no_float_weights():
    model = Sequential(Conv2d(4, 32, 3, padding=1), ReLU(), Flatten(), Linear(32 * 64, 64)).eval()
    x = np.random.default_rng(0).random((4, 4, 8, 8), dtype=np.float32)
    fast = quantize(model, x)
    weights = sum(p.data.nbytes for p in model.parameters())
    assert fast.nbytes < 0.27 * weights
    assert float_bytes_reachable(fast) < 0.02 * weights
    int4 = quantize_int4(model)
    assert int4.nbytes < 0.16 * weights and float_bytes_reachable(int4) < 0.02 * weights
    assert float_bytes_reachable(quantize_naive(model)) < 0.02 * weights


def float_bytes_reachable(root: object) -> int:
    """Bytes of all float arrays that an object reaches, functions' closures included, modules not."""
    seen, waiting, total = set(), [root], 0
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type) or type(item).__name__ == "module":
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            total += item.nbytes if item.dtype.kind == "f" else 0
            waiting.append(item.base)
        elif isinstance(item, dict) and "__builtins__" in item:
            continue
        else:
            waiting.extend(gc.get_referents(item))
    return total


def test_calibration_takes_batches():
    model, x = cnn(), images(32)
    whole = quantize(model, x)
    batches = quantize(model, [x[:20], Tensor(x[20:])])
    np.testing.assert_array_equal(whole(x), batches(x))


def test_calibration_must_not_be_empty():
    with pytest.raises(ValueError, match="nothing was observed"):
        quantize(cnn(), [])


def test_stages_without_an_integer_kernel_run_in_float():
    model = Sequential(Linear(8, 8), Sigmoid(), Linear(8, 4)).eval()
    x = RNG.random((32, 8)).astype(np.float32)
    np.testing.assert_allclose(quantize(model, x)(x), model(Tensor(x)).data, atol=0.05)


def test_naive_is_float_with_rounded_weights():
    model, x = cnn(), images(4)
    naive = quantize_naive(model)
    expected = optimize(model)(x)
    assert np.abs(naive(x) - expected).max() < 0.03 * np.abs(expected).max()
    assert naive.nbytes < 0.3 * optimize(model).nbytes


def test_int4_weights():
    model, x = cnn(), images(4)
    expected = optimize(model)(x)
    assert np.abs(quantize_int4(model)(x) - expected).max() < 0.3 * np.abs(expected).max()


def test_patches_are_what_a_convolution_sees():
    x = RNG.standard_normal((2, 3, 7, 6)).astype(np.float32)
    convolution = Conv2d(3, 4, (3, 2), stride=2, padding=1)
    patches = quantization.image_patches(x, (3, 2), (2, 2), (1, 1))
    y = patches @ convolution.weight.data.reshape(4, -1).T + convolution.bias.data
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2), convolution(Tensor(x)).data, atol=1e-5)


def test_quantize_int8_of_a_tensor():
    x = Tensor(RNG.standard_normal((20, 30)) * 3 + 1)
    q, scale, zero_point = quantize_int8(x)
    assert q.data.dtype == np.int8
    assert np.abs(dequantize_int8(q, scale, zero_point).data - x.data).max() <= 0.501 * scale
    q, scale, zero_point = quantize_int8(Tensor(np.zeros((2, 2))))
    assert (q.data == 0).all() and (scale, zero_point) == (1.0, 0)


def test_quantized_linear():
    layer = Linear(64, 32)
    x = Tensor(RNG.standard_normal((10, 64)))
    quantized = QuantizedLinear(layer)
    expected = layer(x).data
    for _ in range(2):
        assert np.abs(quantized(x).data - expected).max() < 0.05 * np.abs(expected).max()
        quantized.calibrate([x])
    assert quantized.q_weight.data.dtype == np.int8
    usage = quantized.memory_usage()
    assert usage["original_bytes"] == 64 * 32 * 4 + 32 * 4
    assert usage["compression_ratio"] > 3


def test_quantize_model_describes_every_parameter():
    model = cnn()
    info = quantize_model(model)
    parameters = model.parameters()
    assert len(info["quantized_layers"]) == len(parameters)
    assert info["quantized_layers"]["param_0"]["original_shape"] == parameters[0].shape
    assert info["compression_ratio"] == 4
    sizes = compare_model_sizes(model, info)
    assert sizes["compression_ratio"] == 4 and sizes["memory_saved_percent"] == 75
