"""Layers and the module system around them."""

import numpy as np
import pytest

from tinytorch.autograd import gradcheck
from tinytorch.layers import (
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    RMSNorm,
    Sequential,
)
from tinytorch.losses import MSELoss
from tinytorch.optimizers import Adam
from tinytorch.spatial import BatchNorm2d
from tinytorch.tensor import Tensor


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def to_float64(module):
    for parameter in module.parameters():
        parameter.data = parameter.data.astype(np.float64)
    return module


def check_gradients(module, *shape):
    """Gradients of the input and of every parameter, through the module as it is."""
    x = Tensor(np.random.randn(*shape), requires_grad=True, dtype=np.float64)
    assert gradcheck(lambda x, *_: module(x), [x, *to_float64(module).parameters()])


class TestLinear:
    @pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_gradients(self, shape, bias):
        check_gradients(Linear(3, 5, bias), *shape)

    def test_shapes_and_values(self):
        layer = Linear(3, 5)
        assert layer.weight.shape == (3, 5) and layer.bias.shape == (5,)
        x = np.random.randn(2, 4, 3)
        np.testing.assert_allclose(layer(Tensor(x)).data, x @ layer.weight.data + layer.bias.data, atol=1e-5)
        assert layer.parameters() == [layer.weight, layer.bias]
        assert Linear(3, 5, bias=False).parameters()[0].shape == (3, 5)
        assert repr(layer) == "Linear(in_features=3, out_features=5, bias=True)"

    def test_initial_scale(self):
        layer = Linear(400, 300)
        assert abs(layer.weight.data.std() - 1 / 20) < 0.001
        assert not layer.bias.data.any()

    def test_misuse(self):
        with pytest.raises(ValueError, match=r"must have 3 features.*\(2, 4\)"):
            Linear(3, 5)(Tensor(np.zeros((2, 4))))
        with pytest.raises(ValueError, match="in_features must be a positive whole number"):
            Linear(0, 5)
        with pytest.raises(ValueError, match="out_features"):
            Linear(3, 2.5)


class TestNormalisation:
    @pytest.mark.parametrize("layer", [LayerNorm, RMSNorm])
    @pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6)])
    def test_gradients(self, layer, shape):
        module = layer(6)
        module.gamma.data = np.random.rand(6).astype(np.float32)
        check_gradients(module, *shape)

    def test_values(self):
        x = np.random.randn(4, 6) * 3 + 1
        centred = x - x.mean(axis=-1, keepdims=True)
        expected = centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(LayerNorm(6)(Tensor(x)).data, expected, atol=1e-5)
        expected = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(RMSNorm(6)(Tensor(x)).data, expected, atol=1e-5)

    def test_misuse(self):
        with pytest.raises(ValueError, match=r"last axis.*must have 6"):
            LayerNorm(6)(Tensor(np.zeros((2, 5))))
        with pytest.raises(ValueError, match="last axis only"):
            LayerNorm((2, 3))


class TestDropout:
    def test_keeps_the_mean(self):
        y = Dropout(0.3)(Tensor(np.ones(100_000))).data
        assert abs((y == 0).mean() - 0.3) < 0.01
        assert np.allclose(y[y > 0], 1 / 0.7)

    def test_gradient_uses_the_same_mask(self):
        x = Tensor(np.ones(100), requires_grad=True)
        y = Dropout(0.5)(x)
        y.sum().backward()
        assert np.array_equal(x.grad, y.data)

    def test_inference(self):
        x, layer = Tensor(np.ones(5)), Dropout(0.5)
        assert layer(x, training=False) is x
        assert layer.eval()(x) is x
        assert Dropout(0)(x) is x

    def test_extremes_and_misuse(self):
        assert not Dropout(1.0)(Tensor(np.ones(5))).data.any()
        for p in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="between 0 and 1"):
                Dropout(p)


class Block(Module):
    def __init__(self):
        self.linear = Linear(2, 2)
        self.scale = Parameter([1.0, 2.0])
        self.constant = Tensor([1.0])
        self.parts = [Linear(2, 2, bias=False), {"norm": LayerNorm(2)}]

    def forward(self, x):
        return self.parts[1]["norm"](self.parts[0](self.linear(x))) * self.scale


class TestHooks:
    def test_see_and_change_inputs_and_output(self):
        layer, seen = Linear(2, 2), []
        before = layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 0)
        after = layer.register_forward_hook(lambda module, inputs, output: seen.append((inputs, output)))
        y = layer(Tensor([[1.0, 2.0]]))
        assert np.array_equal(y.data[0], layer.bias.data)
        ((x,), output) = seen[0]
        assert not x.data.any() and output is y
        after.remove()
        before.remove()
        before.remove()
        assert layer(Tensor([[1.0, 2.0]])).data.any() and len(seen) == 1

    def test_a_result_replaces_the_output_while_the_hook_is_there(self):
        layer = Linear(2, 2)
        with layer.register_forward_hook(lambda module, inputs, output: output + 1):
            y = layer(Tensor([[0.0, 0.0]]))
        assert (y.data == 1).all() and not layer(Tensor([[0.0, 0.0]])).data.any()

    def test_hooks_are_no_state(self):
        layer = Linear(2, 2)
        layer.register_forward_hook(lambda *_: None)
        assert set(layer.state_dict()) == {"weight", "bias"} and len(list(layer.named_modules())) == 1


class TestModule:
    def test_registering_is_assigning(self):
        model = Module()
        model.register_parameter("scale", Parameter([1.0]))
        model.add_module("linear", Linear(1, 1))
        assert [name for name, _ in model.named_parameters()] == ["scale", "linear.weight", "linear.bias"]

    def test_freezing_and_applying(self):
        model, names = Block(), []
        model.requires_grad_(False)
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert len(model.parameters()) == 6
        model.apply(lambda module: names.append(type(module).__name__))
        assert sorted(names) == ["Block", "LayerNorm", "Linear", "Linear"]

    def test_parameters_are_found_wherever_they_are(self):
        names = [name for name, _ in Block().named_parameters()]
        assert sorted(names) == [
            "linear.bias",
            "linear.weight",
            "parts.0.weight",
            "parts.1.norm.beta",
            "parts.1.norm.gamma",
            "scale",
        ]

    def test_course_style_layer(self):
        class Mine(Layer):
            def __init__(self):
                self.weight = Tensor(np.ones((2, 2)), requires_grad=True)

            def forward(self, x):
                return x @ self.weight

        model = Mine()
        assert model.parameters() == [model.weight]
        model(Tensor(np.ones((1, 2)))).sum().backward()
        assert np.array_equal(model.weight.grad, np.ones((2, 2)))

    def test_shared_parameters_appear_once(self):
        a = Linear(2, 2)
        assert len(Sequential(a, a).parameters()) == 2

    def test_frozen_parameters_stay(self):
        layer = Linear(2, 2)
        layer.weight.requires_grad = False
        assert len(layer.parameters()) == 2
        layer(Tensor(np.ones((1, 2)))).sum().backward()
        assert layer.weight.grad is None and layer.bias.grad is not None

    def test_modes_reach_everything_inside(self):
        model = Sequential(Dropout(), Sequential(Dropout()))
        model.eval()
        assert [module.training for module in model.modules()] == [False] * 4
        model.train()
        assert all(module.training for module in model.modules())

    def test_zero_grad(self):
        model = Linear(2, 1)
        model(Tensor(np.ones((1, 2)))).sum().backward()
        model.zero_grad()
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_gradients_through_the_whole(self):
        check_gradients(Block(), 3, 2)

    def test_unwritten_forward(self):
        with pytest.raises(NotImplementedError, match="Module does not define forward"):
            Module()(1)

    def test_repr(self):
        assert repr(Sequential(Linear(1, 2), Flatten())) == (
            "Sequential(\n"
            "  (layers.0): Linear(in_features=1, out_features=2, bias=True)\n"
            "  (layers.1): Flatten()\n"
            ")"
        )


class TestStateDict:
    def test_round_trip_with_buffers(self):
        a, b = Sequential(BatchNorm2d(2), Linear(2, 2)), Sequential(BatchNorm2d(2), Linear(2, 2))
        a[0].running_mean[:] = 7
        b.load_state_dict(a.state_dict())
        assert np.array_equal(b[1].weight.data, a[1].weight.data)
        assert np.array_equal(b[0].running_mean, [7, 7])

    def test_is_a_snapshot(self):
        layer = Linear(2, 2)
        state = layer.state_dict()
        layer.weight.data[:] = 5
        assert not (state["weight"] == 5).any()

    @pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
    def test_misfits_leave_the_model_untouched(self, change):
        layer = Linear(2, 3)
        before = layer.weight.data.copy()
        state = Linear(2, 3).state_dict()
        if change == "missing":
            del state["bias"]
        elif change == "unknown":
            state["extra"] = np.zeros(1)
        else:
            state["bias"] = np.zeros(4, np.float32)
        with pytest.raises((KeyError, ValueError), match={"shape": "bias"}.get(change, change)):
            layer.load_state_dict(state)
        assert np.array_equal(layer.weight.data, before)


class TestSequential:
    def test_runs_in_order(self):
        model = Sequential(Linear(2, 3), Linear(3, 1))
        assert model(Tensor(np.zeros((5, 2)))).shape == (5, 1)
        assert len(model) == 2 and list(model) == model.layers and model[1] is model.layers[1]

    def test_takes_layers_one_by_one(self):
        with pytest.raises(TypeError, match="one by one"):
            Sequential([Linear(1, 1)])

    def test_learns_a_line(self):
        model = Sequential(Linear(1, 8), Linear(8, 1))
        optimizer, loss_fn = Adam(model.parameters(), lr=0.02), MSELoss()
        x = Tensor(np.linspace(-1, 1, 20)[:, None])
        for _ in range(200):
            optimizer.zero_grad()
            loss = loss_fn(model(x), 3 * x + 1)
            loss.backward()
            optimizer.step()
        assert loss.item() < 1e-3


def test_flatten():
    assert Flatten()(Tensor(np.zeros((2, 3, 4)))).shape == (2, 12)
