"""Convolution, pooling and batch normalisation: gradients through everything, and PyTorch's numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytorch.nn.functional as F
from tests import golden
from tests.golden import spatial as golden_spatial
from tinytorch.activations import ReLU
from tinytorch.autograd import gradcheck
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.spatial import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Conv2dBackward,
    MaxPool2d,
    SimpleCNN,
    conv2d,
)
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

    def test_same_padding_keeps_the_size(self):
        assert Conv2d(1, 2, 3, padding="same").padding == (1, 1)
        assert Conv2d(1, 2, (5, 3), padding="same", dilation=2).padding == (4, 2)
        assert Conv2d(1, 2, 3, stride=2, padding="valid").padding == (0, 0)
        x = images(1, 1, 5, 6)
        for kernel_size in (1, 2, (3, 4), (4, 5)):
            assert Conv2d(1, 2, kernel_size, padding="same")(x).shape == (1, 2, 5, 6)

    def test_no_images_give_no_images(self):
        layer = Conv2d(2, 3, 3, padding=1)
        x = Tensor(np.zeros((0, 2, 4, 4)), requires_grad=True)
        y = layer(x)
        y.sum().backward()
        assert y.shape == (0, 3, 4, 4) and x.grad.shape == x.shape and not layer.weight.grad.any()

    def test_repr(self):
        assert repr(Conv2d(3, 8, 3)) == ("Conv2d(3, 8, kernel_size=(3, 3), stride=1, padding=0, bias=True)")
        assert "padding='same', bias=False, dilation=3, groups=3" in repr(
            Conv2d(3, 3, 2, padding="same", bias=False, dilation=3, groups=3)
        )


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

    def test_cumulative_average(self):
        layer = BatchNorm2d(2, momentum=None)
        batches = [np.random.randn(4, 2, 3, 3) for _ in range(3)]
        for x in batches:
            layer(Tensor(x))
        means = np.mean([x.mean(axis=(0, 2, 3)) for x in batches], axis=0)
        np.testing.assert_allclose(layer.running_mean, means, rtol=1e-5)
        assert layer.num_batches_tracked == 3

    def test_without_scale_and_shift(self):
        layer = BatchNorm2d(2, affine=False)
        assert layer.parameters() == [] and layer.gamma is layer.beta is layer.weight is None
        check_gradients(layer, 3, 2, 2, 3)
        np.testing.assert_allclose(layer(images(3, 2, 4, 4)).data.std(axis=(0, 2, 3)), 1, atol=1e-4)

    def test_without_running_statistics(self):
        layer, x = BatchNorm2d(2, track_running_stats=False), images(3, 2, 4, 4)
        assert layer.state_dict().keys() == {"gamma", "beta"} and layer.running_mean is None
        assert np.array_equal(layer(x).data, layer.eval()(x).data)
        check_gradients(layer, 2, 2, 2, 2)

    def test_state_goes_on(self):
        layer, other, x = BatchNorm2d(2, momentum=None), BatchNorm2d(2, momentum=None), images(4, 2, 3, 3)
        layer(x)
        other.load_state_dict(layer.state_dict())
        layer(x * 2)
        other(x * 2)
        assert all(np.array_equal(a, other.state_dict()[name]) for name, a in layer.state_dict().items())
        assert layer.num_batches_tracked == 2

    def test_running_statistics_follow_double_inputs(self):
        layer, x = BatchNorm2d(2), images(4, 2, 3, 3)
        layer(x)
        assert layer.running_mean.dtype == np.float32
        np.testing.assert_allclose(layer.running_mean, 0.1 * x.data.mean(axis=(0, 2, 3)), rtol=1e-5)


def zeros(*shape):
    return Tensor(np.zeros(shape))


# What is wrong, and words that the error must have.
MISUSE = {
    "no batch axis": (lambda: Conv2d(3, 8, 3)(zeros(3, 8, 8)), r"4-D input.*unsqueeze"),
    "other channels": (lambda: Conv2d(3, 8, 3)(zeros(1, 1, 8, 8)), "expected 3 channels on axis 1"),
    "channels last": (lambda: Conv2d(3, 8, 3)(zeros(1, 8, 8, 3)), r"channels-last.*permute\(0, 3, 1, 2\)"),
    "an array": (lambda: Conv2d(3, 8, 3)(np.zeros((1, 3, 8, 8))), r"got ndarray; wrap it: Tensor\(x\)"),
    "a window too large": (lambda: Conv2d(3, 8, 3)(zeros(1, 3, 2, 2)), "does not fit into the padded height"),
    "no window": (lambda: Conv2d(3, 8, 0), "kernel_size must be whole and at least 1"),
    "half a window": (lambda: Conv2d(3, 8, 2.5), "kernel_size must be whole"),
    "a window of three sizes": (lambda: Conv2d(3, 8, (3, 3, 3)), r"a number or \(height, width\)"),
    "no channels": (lambda: Conv2d(0, 8, 3), "in_channels must be a positive whole number"),
    "no step": (lambda: Conv2d(3, 8, 3, stride=0), "stride must be whole and at least 1"),
    "negative padding": (lambda: Conv2d(3, 8, 3, padding=-1), "padding must be whole and at least 0"),
    "no dilation": (lambda: Conv2d(3, 8, 3, dilation=0), "dilation must be whole and at least 1"),
    "padding by another name": (lambda: Conv2d(3, 8, 3, padding="full"), "'valid' or 'same', not 'full'"),
    "same with steps": (lambda: Conv2d(3, 8, 3, stride=2, padding="same"), "needs stride=1, not 2"),
    "groups that do not divide": (lambda: Conv2d(3, 8, 3, groups=2), "don't split into 2 groups"),
    "weights of another rank": (lambda: conv2d(zeros(1, 3, 8, 8), zeros(8, 27)), "w must have 4 axes"),
    "a bias for other channels": (
        lambda: conv2d(zeros(1, 3, 8, 8), zeros(8, 3, 3, 3), zeros(3)), r"bias must have shape \(8,\)"
    ),
    "norm: no image axes": (lambda: BatchNorm2d(3)(zeros(2, 3)), "4-D"),
    "norm: other channels": (lambda: BatchNorm2d(3)(zeros(2, 4, 2, 2)), "3 channels"),
    "norm: one value": (lambda: BatchNorm2d(3)(zeros(1, 3, 1, 1)), "more than one value.*larger batches"),
    "norm: no features": (lambda: BatchNorm2d(0), "num_features must be a positive"),
    "norm: momentum": (lambda: BatchNorm2d(3, momentum=1.5), "momentum is a share from 0 to 1"),
    "norm: eps": (lambda: BatchNorm2d(3, eps=-1e-5), "eps is added to the variance"),
    "norm: no statistics": (
        lambda: F.batch_norm(zeros(2, 3, 2, 2), None, None), "needs running_mean and running_var"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake()


def compare(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        tolerance = 1e-4 if key.startswith("grad") else 1e-5
        np.testing.assert_allclose(
            value,
            theirs[key],
            rtol=tolerance,
            atol=tolerance * np.abs(theirs[key]).max(initial=0),
            err_msg=key,
        )


def trainable(array):
    return Tensor(array, requires_grad=True)


class TestAgainstPyTorch:
    stored = golden.load("spatial")

    @pytest.mark.parametrize("case", golden_spatial.CASES)
    def test_stored(self, case):
        name, shapes, options = golden_spatial.CASES[case]
        ours = golden_spatial.run(F, trainable, name, golden_spatial.inputs(shapes), options)
        theirs = {
            key.split("/")[1]: value for key, value in self.stored.items() if key.startswith(case + "/")
        }
        compare(ours, theirs)

    @given(st.data())
    def test_live(self, data):
        torch = pytest.importorskip("torch")
        name, shapes, options = data.draw(random_case())
        arrays = golden_spatial.inputs(shapes, seed=data.draw(st.integers(0, 99)))
        theirs = golden_spatial.run(
            torch.nn.functional, lambda array: torch.tensor(array, requires_grad=True), name, arrays, options
        )
        compare(golden_spatial.run(F, trainable, name, arrays, options), theirs)


@st.composite
def random_case(draw):
    """A function, shapes and options that fit together."""

    def pair(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    n, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    c = groups * draw(st.integers(1, 3))
    images = (n, c, *pair(6, 11))
    kind = draw(st.sampled_from(["conv2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
                                 "adaptive_max_pool2d", "batch_norm"]))  # fmt: skip
    if kind == "batch_norm":
        return kind, [images, (c,), (c,)], dict(training=draw(st.booleans()), momentum=0.2)
    if kind.startswith("adaptive"):
        return kind, [images], dict(output_size=pair(1, 12))
    kernel, stride = pair(1, 3), pair(1, 3)
    if kind == "conv2d":
        padding = "same" if draw(st.booleans()) and stride == (1, 1) else pair(0, 3)
        options = dict(stride=stride, padding=padding, dilation=pair(1, 2), groups=groups)
        o = groups * draw(st.integers(1, 3))
        return kind, [images, (o, c // groups, *kernel), (o,)], options
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    options = dict(kernel_size=kernel, stride=stride, padding=padding, ceil_mode=draw(st.booleans()))
    if kind == "max_pool2d":
        return kind, [images], options | dict(dilation=pair(1, 2))
    return kind, [images], options | dict(count_include_pad=draw(st.booleans()))


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


class TestBatchNorm1d:
    @pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5)])
    def test_is_the_two_dimensional_one(self, shape):
        rng = np.random.default_rng(0)
        x = rng.normal(size=shape).astype(np.float32)
        one, two = BatchNorm1d(3), BatchNorm2d(3)
        flat, images = (
            Tensor(x, requires_grad=True),
            Tensor(x.reshape(shape[0], 3, -1, 1), requires_grad=True),
        )
        weights = rng.normal(size=shape).astype(np.float32)
        for _ in range(2):
            y, expected = one(flat), two(images)
            np.testing.assert_array_equal(y.data.reshape(expected.shape), expected.data)
        y.backward(weights)
        expected.backward(weights.reshape(expected.shape))
        np.testing.assert_array_equal(flat.grad.reshape(expected.shape), images.grad)
        np.testing.assert_array_equal(one.running_var, two.running_var)
        one.eval(), two.eval()
        np.testing.assert_array_equal(one(flat).data.reshape(expected.shape), two(images).data)

    @pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 4, 5)])
    def test_other_shapes(self, shape):
        with pytest.raises(ValueError, match=r"BatchNorm1d: expected \(N, 3\) or \(N, 3, L\), got"):
            BatchNorm1d(3)(Tensor(np.zeros(shape)))
