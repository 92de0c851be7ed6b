"""Every quantized layer, and a whole residual network, equal plain integers in NumPy, on every level.

The oracle sums in int64 and does each step of float32 arithmetic by itself, in the order the kernels state.
"""

from functools import partial

import numpy as np
import pytest

from tinytorch import Tensor, kernels
from tinytorch.acceleration import Flattening, GlobalAverage, Pointwise, Pooling, Residual, lower
from tinytorch.activations import GELU, ReLU, Tanh
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.models import ResNet
from tinytorch.quantization import MinMaxObserver, quantize, quantize_stage, stages
from tinytorch.quantization.scales import Scale
from tinytorch.quantization.static import observe, quantize_stages, split_gelu, to_integers
from tinytorch.spatial import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

pytestmark = pytest.mark.kernel

F = np.float32


def requantize(total, x_scale, w_scale, bias, relu, output):
    """int64 sums (..., N) to what the layer gives."""
    scale = F(x_scale) * w_scale
    if output is None:
        y = total.astype(F) * scale
        y = y if bias is None else y + bias
        return np.maximum(y, 0) if relu else y
    if bias is not None:
        total = total + np.rint(bias / scale).astype(np.int64)
    y = np.rint(total.astype(F) * (scale / F(output.scale))).astype(np.int64) + output.zero_point
    info = np.iinfo(output.dtype)
    return np.clip(y, output.zero_point if relu else info.min, info.max).astype(output.dtype)


def dense(stage, x):
    w = stage.weight.unpack().astype(np.int64)
    total = (x.astype(np.int64) - stage.input.zero_point) @ w
    relu = stage.activation == "relu"
    return requantize(total, stage.input.scale, stage.weight.scale, stage.bias, relu, stage.output)


def convolution(stage, x):
    """Planes in and out, whatever the stage's layouts; pooling after requantizing."""
    w = stage.weight.unpack().astype(np.int64)
    (ph, pw), (sh, sw) = stage.padding, stage.stride
    padded = np.pad(x.astype(np.int64) - stage.input.zero_point, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))[:, :, ::sh, ::sw]
    total = np.einsum("nchwij,ocij->nhwo", windows, w)
    relu = stage.activation == "relu"
    y = requantize(total, stage.input.scale, stage.weight.scale, stage.bias, relu, stage.output)
    y, (kh, kw) = y.transpose(0, 3, 1, 2), stage.max_pool
    n, c, h, width = y.shape
    y = y[:, :, : h // kh * kh, : width // kw * kw].reshape(n, c, h // kh, kh, width // kw, kw)
    return y.max(axis=(3, 5))


def add(stage, a, b):
    total = np.zeros(a.shape, F)
    for q, scale in ((a, stage.main_scale), (b, stage.shortcut_scale)):
        total = total + (q.astype(np.int64) - scale.zero_point).astype(F) * (
            F(scale.scale) / F(stage.output.scale)
        )
    low = stage.output.zero_point if stage.activation == "relu" else 0
    return np.clip(np.rint(total).astype(np.int64) + stage.output.zero_point, low, 255).astype(np.uint8)


def average(stage, x):
    total = x.astype(np.int64).sum(axis=(2, 3)) - x[0, 0].size * stage.input.zero_point
    real = total.astype(F) * F(stage.input.scale / x[0, 0].size)
    y = np.rint(real / F(stage.output.scale)).astype(np.int64) + stage.output.zero_point
    return np.clip(y, 0, 255).astype(np.uint8)[:, :, None, None]


def run(model_stages, x):
    """The stages in plain integers."""
    for stage in model_stages:
        if isinstance(stage, stages.ConvolutionInt8):
            x = convolution(stage, x)
        elif isinstance(stage, stages.DenseInt8):
            x = dense(stage, x)
        elif isinstance(stage, stages.ResidualInt8):
            x = add(stage, run(stage.main, x), run(stage.shortcut, x))
        elif isinstance(stage, stages.GlobalAverageInt8):
            x = average(stage, x)
        elif isinstance(stage, stages.TableInt8):
            x = stage.table[x]
        else:
            x = stage(x)
    return x


def integers_as_planes(model, x):
    """The integer stages before they are fused and turned to channels last."""
    separate = list(split_gelu(lower(model)))
    scales = observe(separate, [x], MinMaxObserver)
    inner, _ = to_integers(separate, scales[0], scales, ends_in_float=True)
    return [stages.Quantize(scales[0]), *inner]


def settled(model, x):
    for _ in range(4):
        model(Tensor(x))
    return model.eval()


def resnet():
    np.random.seed(0)
    return ResNet((5, 12, 18), blocks=2, in_channels=3)


def plain_cnn():
    np.random.seed(1)
    return Sequential(
        Conv2d(3, 9, 3, padding=1), BatchNorm2d(9), ReLU(), MaxPool2d(2),
        Conv2d(9, 7, (3, 2), stride=2, padding=1, bias=False), BatchNorm2d(7), Tanh(),
        Conv2d(7, 8, 1), GELU(), Flatten(), Linear(48, 11), GELU(), Linear(11, 4),
    )  # fmt: skip


def pooled_cnn():
    np.random.seed(2)
    return Sequential(
        Conv2d(3, 9, 3), ReLU(), MaxPool2d(3, 1), Conv2d(9, 8, 3), AvgPool2d(2), Flatten(), Linear(8, 3)
    )


@pytest.mark.parametrize("make, side", [(resnet, 8), (resnet, 13), (plain_cnn, 8), (pooled_cnn, 8)])
def test_a_model_is_its_integers(make, side):
    x = np.random.default_rng(0).standard_normal((6, 3, side, side)).astype(F)
    model = settled(make(), x)
    fast, slow = quantize(model, x), integers_as_planes(model, x)
    for batch in (x, x[:1], 3 * x):
        np.testing.assert_array_equal(fast(batch), run(slow, batch))


def test_every_value_inside_a_resnet_is_an_integer():
    x = np.random.default_rng(0).random((2, 3, 8, 8), dtype=F)
    value, kinds = x, []
    for stage in quantize(settled(resnet(), x), x).stages:
        value = stage(value)
        kinds.append(value.dtype)
    assert all(kind == np.uint8 for kind in kinds[:-1]) and kinds[-1] == F


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("output", [None, Scale(0.3, 40), Scale(0.3, -40, "int8")])
@pytest.mark.parametrize("input", [Scale(0.02, 7), Scale(0.02, -9, "int8")])
def test_single_layers(input, output, per_channel):
    rng = np.random.default_rng(0)
    info = np.iinfo(input.dtype)
    pack = partial(stages.pack_weight, per_channel=per_channel)
    float_dense = lower(Sequential(Linear(37, 21), ReLU()))[0]
    float_dense.bias[:] = rng.standard_normal(21)
    stage = quantize_stage(float_dense, input, output, pack)
    x = rng.integers(info.min, info.max + 1, (5, 37)).astype(input.dtype)
    np.testing.assert_array_equal(stage(x), dense(stage, x))
    float_convolution = lower(Conv2d(4, 10, (3, 2), stride=(2, 1), padding=1))[0]
    stage = quantize_stage(float_convolution, input, output, pack)
    x = rng.integers(info.min, info.max + 1, (2, 4, 9, 8)).astype(input.dtype)
    np.testing.assert_array_equal(stage(x), convolution(stage, x))


@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_residual_sum(activation):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 3, 4, 5, 6)).astype(np.uint8)
    stage = stages.ResidualInt8(
        (lambda x: a,), (), Scale(0.11, 130), Scale(0.07, 3), activation, Scale(0.13, 90)
    )
    np.testing.assert_array_equal(stage(b), add(stage, a, b))


def test_a_residual_that_ends_the_model_or_stands_among_planes():
    np.random.seed(0)
    x = np.random.default_rng(0).standard_normal((3, 2, 6, 6)).astype(F)
    way = tuple(lower(Sequential(Conv2d(2, 2, 3, padding=1), ReLU(), Conv2d(2, 2, 3, padding=1))))
    with_tanh = (*way, Pointwise("Tanh", kernels.tanh))
    pool = Pooling("avg", (2, 2), (2, 2), (0, 0))

    class Fixed:
        def __init__(self, *parts):
            self.parts = list(parts)

        def lower(self):
            return self.parts

    for parts in (
        [Residual(way)],
        [Residual(way, activation="relu"), GlobalAverage(), Flattening()],
        [*lower(Conv2d(2, 2, 1)), Residual(with_tanh, way, "gelu"), pool, *lower(Conv2d(2, 3, 3))],
        [
            *lower(Conv2d(2, 2, 1)),
            Residual((*way, Pooling("max", (3, 3), (1, 1), (1, 1)))),
            *lower(Conv2d(2, 3, 3)),
        ],
    ):
        separate = list(split_gelu(parts))
        scales = observe(separate, [x], MinMaxObserver)
        inner, _ = to_integers(separate, scales[0], scales, ends_in_float=True)
        y = x
        for stage in quantize_stages(parts, [x], MinMaxObserver):
            y = stage(y)
        np.testing.assert_array_equal(y, run([stages.Quantize(scales[0]), *inner], x))
        real = x
        for stage in parts:
            real = stage(real)
        assert np.abs(y - real).max() < 0.1 * np.abs(real).max()


def test_a_table_is_the_function_of_every_integer():
    input, output = Scale(0.05, 100), Scale(0.02, 60)
    table = stages.TableInt8.of(Pointwise("GELU", kernels.gelu), input, output)
    x = np.arange(256, dtype=np.uint8)
    expected = output.quantize(kernels.gelu(input.dequantize(x)))
    np.testing.assert_array_equal(table(x.reshape(2, 128)), expected.reshape(2, 128))
