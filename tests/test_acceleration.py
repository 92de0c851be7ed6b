"""The ladder computes one product, and an optimized model computes what the model computes."""

import numpy as np
import pytest

from tinytorch import Tensor, acceleration
from tinytorch.acceleration import InferenceModel, fold_batch_norm, lower, optimize
from tinytorch.activations import GELU, ReLU, Tanh
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.spatial import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d

LADDER = [
    acceleration.matmul_naive,
    acceleration.matmul_lists,
    acceleration.matmul_rows,
    acceleration.matmul_blocked,
    acceleration.matmul_numpy,
]


def cnn() -> Sequential:
    np.random.seed(0)
    norm = BatchNorm2d(6)
    model = Sequential(
        Conv2d(2, 6, 3, padding=1), norm, ReLU(), MaxPool2d(2), Conv2d(6, 4, 3, bias=False), BatchNorm2d(4),
        AvgPool2d(2), Flatten(), Dropout(0.5), Linear(4, 5), GELU(), Linear(5, 3), Tanh(),
    )  # fmt: skip
    for layer in model.layers:
        if isinstance(layer, BatchNorm2d):
            layer.running_mean[:] = np.random.randn(layer.running_mean.size)
            layer.running_var[:] = np.random.rand(layer.running_var.size) + 0.5
            layer.gamma.data = np.random.rand(layer.gamma.size).astype(np.float32) + 0.5
            layer.beta.data = np.random.randn(layer.beta.size).astype(np.float32)
    return model.eval()


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.__name__)
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (0, 2, 3), (2, 0, 3)])
def test_every_rung_computes_the_product(rung, shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (m, k)).astype(np.float32), rng.integers(-9, 9, (k, n)).astype(np.float32)
    np.testing.assert_array_equal(rung(a, b), a @ b)


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.__name__)
def test_every_rung_refuses_shapes_that_do_not_fit(rung):
    with pytest.raises(ValueError, match=r"a \(2, 3\) and b \(2, 3\) do not fit"):
        rung(np.ones((2, 3)), np.ones((2, 3)))


def test_tensor_rungs():
    a, b = Tensor(np.arange(6.0).reshape(2, 3)), Tensor(np.arange(12.0).reshape(3, 4))
    for product in (
        acceleration.vectorized_matmul,
        lambda a, b: acceleration.tiled_matmul(a, b, tile_size=2),
    ):
        np.testing.assert_array_equal(product(a, b).data, a.data @ b.data)
        with pytest.raises(ValueError, match="Inner dimensions must match: 3 ≠ 2"):
            product(a, Tensor(np.ones((2, 3))))
        with pytest.raises(ValueError, match="at least 2 dimensions"):
            product(a, Tensor(np.ones(3)))


def test_fused_gelu_is_the_tanh_form():
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(acceleration.fused_gelu(Tensor(x)).data, expected, atol=1e-6)


def test_optimized_model_computes_what_the_model_computes():
    model = cnn()
    x = np.random.default_rng(1).standard_normal((5, 2, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(optimize(model)(x), model(Tensor(x)).data, atol=2e-5)


def test_optimizing_fuses_and_packs():
    stages = lower(cnn())
    names = [type(stage).__name__ for stage in stages]
    assert names == [
        "Convolution",
        "Pooling",
        "Convolution",
        "Pooling",
        "Flattening",
        "Dense",
        "Dense",
        "Pointwise",
    ]
    assert [stage.activation for stage in stages if hasattr(stage, "activation")] == [
        "relu",
        None,
        "gelu",
        None,
    ]


def test_optimized_model_is_a_copy():
    model = cnn()
    x = np.ones((1, 2, 8, 8), np.float32)
    fast = optimize(model)
    before = fast(x)
    for parameter in model.parameters():
        parameter.data = parameter.data * 3
    np.testing.assert_array_equal(fast(x), before)


def test_folding_without_a_bias():
    model = cnn()
    convolution, norm = model.layers[4], model.layers[5]
    x = np.random.default_rng(2).standard_normal((2, 6, 5, 5), dtype=np.float32)
    weight, bias = fold_batch_norm(convolution.weight.data, None, norm)
    folded = acceleration.Convolution(weight, bias, (1, 1), (0, 0))(x)
    np.testing.assert_allclose(folded, norm(convolution(Tensor(x))).data, atol=1e-5)


def test_predict_by_batches():
    fast = InferenceModel([lambda x: x])
    scores = np.eye(7, dtype=np.float32)
    np.testing.assert_array_equal(fast.predict(scores, batch_size=3), np.arange(7))
    assert fast.predict(scores[:0]).shape == (0,)


def test_unknown_layers_are_named():
    class Mystery(Linear):
        pass

    class Other:
        pass

    assert len(lower(Mystery(2, 2))) == 1  # a kind of Linear
    with pytest.raises(TypeError, match="no inference stage for Other"):
        lower(Other())
