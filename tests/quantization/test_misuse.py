"""What people get wrong when they quantize, and the words that the error must have."""

import numpy as np
import pytest

from tinytorch import Tensor, caching
from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, LayerNorm, Linear, Sequential
from tinytorch.models import char_gpt
from tinytorch.quantization import (
    MovingAverageObserver,
    PercentileObserver,
    QuantizedLinear,
    Scale,
    convert,
    fake_quantize,
    load_quantized,
    prepare_qat,
    quantize,
    save_quantized,
)
from tinytorch.spatial import BatchNorm2d, Conv2d

X = np.random.default_rng(0).random((8, 6), dtype=np.float32)
IMAGES = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
IDS = np.zeros((2, 8), int)


def mlp():
    return Sequential(Linear(6, 5), ReLU(), Linear(5, 3)).eval()


def cnn():
    return Sequential(Conv2d(1, 2, 3), ReLU(), Flatten(), Linear(72, 3)).eval()


def gpt():
    return char_gpt(20, 16, 1, 2, 8)


def spoiled(x):
    x = x.copy()
    x.flat[3] = np.nan
    return x


def diverged():
    model = mlp()
    model.layers[0].weight.data[0, 0] = np.inf
    return model


def with_cache():
    model = gpt()
    caching.enable_kv_cache(model)
    return model


def while_it_generates():
    model = gpt()
    with model.unchanging(pack=False):
        quantize(model)


MISUSE = {
    "a GPT with its cache on": (lambda: quantize(with_cache()), ValueError, "disable_kv_cache"),
    "a GPT prepared with its cache on": (lambda: prepare_qat(with_cache()), ValueError, "disable_kv_cache"),
    "a GPT that generates": (while_it_generates, ValueError, "is generating"),
    "no calibration": (lambda: quantize(mlp(), activations="static"), ValueError, r"needs.*train_images"),
    "empty calibration": (lambda: quantize(mlp(), []), ValueError, "at least one sample"),
    "no samples": (lambda: quantize(mlp(), X[:0]), ValueError, "at least one sample"),
    "empty calibration of a GPT": (lambda: quantize(gpt(), []), ValueError, "at least one sample"),
    "NaN in calibration": (lambda: quantize(mlp(), spoiled(X)), ValueError, r"NaN at \(0, 3\).*clean"),
    "infinity in calibration": (lambda: quantize(mlp(), X / 0), ValueError, "NaN or Inf"),
    "labels as calibration": (lambda: quantize(cnn(), np.arange(8)), ValueError, "without labels"),
    "calibration of another shape": (
        lambda: quantize(mlp(), X[:, :4]),
        ValueError,
        r"(?s)calibration data do not fit this Sequential.*\(8, 4\)",
    ),
    "floats for a GPT": (lambda: quantize(gpt(), X), ValueError, "do not fit this GPT"),
    "inference of another shape": (
        lambda: quantize(mlp(), X)(X[:, :4]),
        ValueError,
        r"(?s)linear_int8.*\(8, 4\)",
    ),
    "another image": (lambda: quantize(cnn(), IMAGES)(IMAGES[:, :, :6]), ValueError, "linear_int8"),
    "NaN at inference": (
        lambda: quantize(mlp(), X)(spoiled(X)),
        ValueError,
        r"quantize: x holds NaN at \(0, 3\)",
    ),
    "twice": (lambda: quantize(quantize(mlp(), X), X), ValueError, "already; give the trained float32"),
    "a GPT twice": (lambda: quantize(quantize(gpt())), ValueError, "already; give the trained float32"),
    "a layer twice": (lambda: QuantizedLinear(QuantizedLinear(Linear(2, 2))), ValueError, "already"),
    "an unknown layer": (
        lambda: quantize(Sequential(Linear(6, 6), LayerNorm(6)), X),
        TypeError,
        r"(?s)LayerNorm.*method lower\(\)",
    ),
    "batch norm first": (
        lambda: quantize(Sequential(BatchNorm2d(1)), IMAGES),
        TypeError,
        "BatchNorm2d after",
    ),
    "nothing to quantize": (lambda: quantize(LayerNorm(6)), TypeError, "no Linear layer inside.*Sequential"),
    "not a model": (lambda: quantize(X), TypeError, "must be a Module, got ndarray"),
    "diverged weights": (lambda: quantize(diverged(), X), ValueError, "NaN or Inf"),
    "diverged weights, dynamic": (lambda: quantize(diverged()), ValueError, "smaller learning rate"),
    "unknown bits": (lambda: quantize(mlp(), X, weights="int2"), ValueError, "'int8', 'int4'.*'int2'"),
    "static int4": (
        lambda: quantize(mlp(), X, weights="int4", activations="static"),
        ValueError,
        'leave it out, or take weights="int8"',
    ),
    "group size": (lambda: quantize(mlp(), weights="int4", group_size=40), ValueError, "multiple of 32"),
    "unknown observer": (
        lambda: quantize(mlp(), X, observer="median"),
        ValueError,
        "minmax.*percentile.*mse",
    ),
    "percentile as a share": (lambda: PercentileObserver(0.999), ValueError, "did you mean 99.9"),
    "momentum": (lambda: MovingAverageObserver(1.5), ValueError, "momentum"),
    "one bit": (lambda: Scale.of_range(0, 1, bits=1), ValueError, "from 2 to 8"),
    "calibrating int4": (
        lambda: QuantizedLinear(Linear(6, 2), "int4").calibrate([X]),
        ValueError,
        "need no calibration",
    ),
    "features": (lambda: QuantizedLinear(Linear(6, 2))(Tensor(X[:, :4])), ValueError, "6 features.*(8, 4)"),
    "prepared twice": (lambda: prepare_qat(prepare_qat(mlp())), ValueError, "already"),
    "preparing integers": (lambda: prepare_qat(quantize(gpt())), ValueError, "already"),
    "preparing no layers": (lambda: prepare_qat(LayerNorm(3)), TypeError, "no Linear or Conv2d"),
    "converting what was not prepared": (lambda: convert(mlp(), X), ValueError, "call prepare_qat before"),
    "quantizing what was prepared": (lambda: quantize(prepare_qat(mlp()), X), ValueError, "convert"),
    "converting without data": (lambda: convert(prepare_qat(mlp())), ValueError, "needs calibration"),
    "a GPT of three bits": (
        lambda: convert(prepare_qat(gpt(), weight_bits=3), IDS),
        TypeError,
        "4 or 8 bits",
    ),
    "eval before training": (
        lambda: prepare_qat(mlp()).eval()(Tensor(X)),
        ValueError,
        "nothing was observed",
    ),
    "fake quantization of NaN": (lambda: fake_quantize(Tensor(spoiled(X)), Scale(1.0, 0)), ValueError, "NaN"),
    "saving a float model": (lambda: save_quantized(gpt(), "nowhere"), TypeError, "quantize it first"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # X / 0
@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, kind, message = MISUSE[name]
    with pytest.raises(kind, match=message):
        call()


def test_files_of_other_models_are_refused(tmp_path):
    path = tmp_path / "gpt"
    save_quantized(quantize(gpt()), path)
    with pytest.raises(ValueError, match=r"holds the weights of a GPT; give a model.*GPT\(\.\.\.\)"):
        load_quantized(path)
    with pytest.raises(ValueError, match=r"layer blocks.0.attention.q_proj \(16, 16\).*a weight \(32, 32\)"):
        load_quantized(path, char_gpt(20, 32, 1, 2, 8))
    with pytest.raises(KeyError, match="missing"):
        load_quantized(path, char_gpt(20, 16, 2, 2, 8))
    with pytest.raises(ValueError, match="no layer of that name"):
        load_quantized(path, mlp())
    damaged = path.read_bytes()[:-9]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        load_quantized(path, gpt())
