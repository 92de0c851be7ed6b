"""Convolution, pooling and batch normalisation: gradients through everything, and PyTorch's numbers."""

import numpy as np
import pytest

from tinytorch.activations import ReLU
from tinytorch.autograd import gradcheck
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.spatial import AvgPool2d, BatchNorm2d, Conv2d, Conv2dBackward, MaxPool2d, SimpleCNN
from tinytorch.tensor import Tensor


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def images(*shape):
    return Tensor(np.random.randn(*shape), requires_grad=True, dtype=np.float64)


def check_gradients(module, *shape):
    """Gradients of the input and of every parameter, in float64."""
    for parameter in module.parameters():
        parameter.data = parameter.data.astype(np.float64)
    for inner in module.modules():
        if isinstance(inner, BatchNorm2d):
            inner.running_mean, inner.running_var = np.zeros(inner.num_features), np.ones(inner.num_features)
    assert gradcheck(lambda x, *_: module(x), [images(*shape), *module.parameters()])


class TestConv2d:
    @pytest.mark.parametrize(
        ("layer", "shape"),
        [
            (dict(in_channels=2, out_channels=3, kernel_size=3), (2, 2, 5, 5)),
            (dict(in_channels=2, out_channels=3, kernel_size=3, padding=1), (1, 2, 4, 5)),
            (dict(in_channels=1, out_channels=2, kernel_size=(2, 3), stride=2, padding=1), (2, 1, 5, 6)),
            (dict(in_channels=2, out_channels=2, kernel_size=1, bias=False), (2, 2, 3, 3)),
            (dict(in_channels=4, out_channels=4, kernel_size=3, groups=2, padding=(1, 0)), (1, 4, 4, 4)),
            (dict(in_channels=3, out_channels=3, kernel_size=2, groups=3, dilation=2), (1, 3, 4, 5)),
        ],
    )
    def test_gradients(self, layer, shape):
        check_gradients(Conv2d(**layer), *shape)

    def test_values(self):
        layer = Conv2d(2, 3, 3, stride=2, padding=1)
        x = np.random.randn(2, 2, 6, 7)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        y = layer(Tensor(x)).data
        assert y.shape == (2, 3, 3, 4) and y.dtype == np.float32
        for i in range(3):
            for j in range(4):
                window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                expected = np.einsum("nchw,ochw->no", window, layer.weight.data) + layer.bias.data
                np.testing.assert_allclose(y[:, :, i, j], expected, atol=1e-5)

    def test_float32_gradients_agree_with_float64(self):
        layer, x = Conv2d(3, 4, 3, padding=1), np.random.randn(2, 3, 8, 8)
        grads = []
        for dtype in (np.float32, np.float64):
            inputs = Tensor(x, requires_grad=True, dtype=dtype)
            layer.zero_grad()
            (layer(inputs) ** 2).sum().backward()
            grads.append([inputs.grad, layer.weight.grad, layer.bias.grad])
        for single, double in zip(*grads, strict=True):
            assert np.abs(single - double).max() < 1e-4 * np.abs(double).max()

    def test_first_layer_computes_no_input_gradient(self):
        layer = Conv2d(1, 2, 3)
        node = layer(Tensor(np.zeros((1, 1, 5, 5))))._grad_fn
        assert isinstance(node, Conv2dBackward)
        dx, dw, db = node.apply(np.ones((1, 2, 3, 3), np.float32))
        assert dx is None and dw.shape == (2, 1, 3, 3) and db.tolist() == [9, 9]

    def test_attributes(self):
        layer = Conv2d(3, 8, 3)
        assert layer.kernel_size == (3, 3) and layer.weight.shape == (8, 3, 3, 3) and layer.bias.shape == (8,)
        assert Conv2d(3, 8, (3, 5)).weight.shape == (8, 3, 3, 5)
        assert len(Conv2d(3, 8, 3, bias=False).parameters()) == 1
        assert abs(Conv2d(64, 64, 3).weight.data.std() - np.sqrt(2 / 576)) < 0.001

    def test_misuse(self):
        layer = Conv2d(3, 8, 3)
        with pytest.raises(ValueError, match=r"4-D input.*unsqueeze"):
            layer(Tensor(np.zeros((3, 8, 8))))
        with pytest.raises(ValueError, match="expected 3 channels on axis 1"):
            layer(Tensor(np.zeros((1, 1, 8, 8))))
        with pytest.raises(ValueError, match="channels-last"):
            layer(Tensor(np.zeros((1, 8, 8, 3))))
        with pytest.raises(ValueError, match="fit"):
            layer(Tensor(np.zeros((1, 3, 2, 2))))
        with pytest.raises(ValueError, match="kernel_size"):
            Conv2d(3, 8, 0)
        with pytest.raises(ValueError, match="groups"):
            Conv2d(3, 8, 3, groups=2)


class TestPooling:
    @pytest.mark.parametrize("pool", [MaxPool2d, AvgPool2d])
    @pytest.mark.parametrize("window", [(2,), (3, 2), (2, 1), ((2, 3), None, 1), (3, 2, 1)])
    def test_gradients(self, pool, window):
        check_gradients(pool(*window), 2, 2, 5, 6)

    def test_values(self):
        x = Tensor(np.arange(16).reshape(1, 1, 4, 4).astype(np.float32))
        assert MaxPool2d(2)(x).data.tolist() == [[[[5, 7], [13, 15]]]]
        assert AvgPool2d(2)(x).data.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
        assert AvgPool2d(2, padding=1)(Tensor(np.ones((1, 1, 2, 2)))).data.tolist() == [[[[0.25] * 2] * 2]]

    def test_first_maximum_gets_the_gradient(self):
        x = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
        MaxPool2d(2)(x).sum().backward()
        assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]

    def test_misuse(self):
        with pytest.raises(ValueError, match="4-D"):
            MaxPool2d(2)(Tensor(np.zeros((4, 4))))
        with pytest.raises(ValueError, match="kernel_size"):
            AvgPool2d(0)
        with pytest.raises(ValueError, match="stride"):
            MaxPool2d(2, stride=-1)


class TestBatchNorm2d:
    @pytest.mark.parametrize("training", [True, False])
    def test_gradients(self, training):
        layer = BatchNorm2d(3).train(training)
        layer.gamma.data = np.random.rand(3).astype(np.float32) + 0.5
        check_gradients(layer, 3, 3, 2, 4)

    def test_training_statistics(self):
        layer, x = BatchNorm2d(3), np.random.randn(4, 3, 5, 5) * 2 + 1
        y = layer(Tensor(x)).data
        np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-6)
        np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-4)
        np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
        unbiased = x.var(axis=(0, 2, 3), ddof=1)
        np.testing.assert_allclose(layer.running_var, 0.9 + 0.1 * unbiased, rtol=1e-5)

    def test_inference_uses_running_statistics(self):
        layer, x = BatchNorm2d(2).eval(), np.random.randn(1, 2, 3, 3)
        layer.running_mean[:], layer.running_var[:] = (1, 2), (4, 9)
        before = layer.running_mean.copy()
        expected = (x - np.array([1, 2])[:, None, None]) / np.sqrt(np.array([4, 9])[:, None, None] + 1e-5)
        np.testing.assert_allclose(layer(Tensor(x)).data, expected, atol=1e-5)
        assert np.array_equal(layer.running_mean, before)

    def test_later_updates_do_not_change_an_earlier_graph(self):
        layer, x = BatchNorm2d(2).eval(), Tensor(np.random.randn(2, 2, 3, 3), requires_grad=True)
        y = layer(x)
        layer.train()(Tensor(np.full((2, 2, 3, 3), 50.0)))
        y.sum().backward()
        np.testing.assert_allclose(x.grad, 1 / np.sqrt(1 + 1e-5), rtol=1e-5)

    def test_misuse(self):
        with pytest.raises(ValueError, match="4-D"):
            BatchNorm2d(3)(Tensor(np.zeros((2, 3))))
        with pytest.raises(ValueError, match="3 channels"):
            BatchNorm2d(3)(Tensor(np.zeros((2, 4, 2, 2))))
        with pytest.raises(ValueError, match="more than one value"):
            BatchNorm2d(3)(Tensor(np.zeros((1, 3, 1, 1))))


class TestNetworks:
    def test_gradients_through_a_whole_network(self):
        model = Sequential(
            Conv2d(1, 2, 3, padding=1), BatchNorm2d(2), ReLU(), MaxPool2d(2), Conv2d(2, 3, 2), AvgPool2d(2),
            Flatten(), Linear(3, 2),
        )  # fmt: skip
        check_gradients(model, 2, 1, 6, 6)

    def test_every_parameter_gets_a_gradient(self):
        model = Sequential(SimpleCNN(), Linear(2048, 10))
        y = model(Tensor(np.random.randn(2, 3, 32, 32)))
        CrossEntropyLoss()(y, np.array([3, 7])).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.shape == parameter.shape and np.abs(parameter.grad).max() > 0, name

    def test_simple_cnn_gives_features(self):
        assert SimpleCNN()(Tensor(np.zeros((2, 3, 32, 32)))).shape == (2, 2048)

    def test_small_network_learns_to_tell_stripes(self):
        labels = np.random.randint(0, 2, 64)
        x = np.random.randn(64, 1, 8, 8) * 0.3
        stripes = np.tile([1.0, -1.0], 4)
        x[labels == 0, 0] += stripes[:, None]
        x[labels == 1, 0] += stripes[None, :]
        model = Sequential(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(36, 2))
        optimizer, loss_fn = Adam(model.parameters(), lr=0.02), CrossEntropyLoss()
        for _ in range(30):
            optimizer.zero_grad()
            loss_fn(model(Tensor(x)), labels).backward()
            optimizer.step()
        assert (model(Tensor(x)).data.argmax(axis=1) == labels).mean() > 0.95
