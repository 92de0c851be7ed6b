"""Gradients beyond `backward`: grad, hooks, checkpoint, and the drawing of the graph."""

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.activations import tanh
from tinytorch.autograd import checkpoint, draw_graph, grad, no_grad
from tinytorch.layers import Linear, Sequential, dropout
from tinytorch.tensor import Tensor


def leaf(*values):
    return Tensor(list(values), requires_grad=True)


class TestGrad:
    def test_of_leaves_and_of_results_on_the_way(self):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        product = a * b
        da, dproduct = grad((product * product).sum(), [a, product])
        assert dproduct.tolist() == [6, 16] and da.tolist() == [18, 64]
        assert a.grad is None and b.grad is None

    def test_of_several_outputs(self):
        a = leaf(1.0, 2.0)
        shared = a * a
        (da,) = grad([shared, shared * 3], a, grad_outputs=[np.ones(2), np.array([1.0, 0.0])])
        assert da.tolist() == [2 + 6, 4]

    def test_the_graph_can_be_kept(self):
        a = leaf(2.0)
        y = (a * a).sum()
        assert grad(y, a, retain_graph=True)[0].tolist() == [4] == grad(y, a)[0].tolist()
        with pytest.raises(RuntimeError, match="second time"):
            grad(y, a)

    def test_of_itself(self):
        a = leaf(2.0)
        assert grad(a, a)[0].tolist() == [1]

    def test_results_are_nobody_elses(self):
        a, b = leaf(1.0), leaf(1.0)
        da, db = grad((a + b).sum(), [a, b])
        da += 1
        assert db.tolist() == [1]

    def test_misuse(self):
        a, unused = leaf(1.0, 2.0), leaf(1.0)
        with pytest.raises(RuntimeError, match=r"no output depends on input 1 \(shape \(1,\)\)"):
            grad((a * 2).sum(), [a, unused])
        assert grad((a * 2).sum(), unused, allow_unused=True) == (None,)
        with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
            grad((a * 2).sum(), Tensor([1.0]))
        with pytest.raises(ValueError, match="needs a scalar"):
            grad(a * 2, a)
        with pytest.raises(ValueError, match="1 grad_outputs for 2 outputs"):
            grad([a, a], a, grad_outputs=[np.ones(2)])


class TestHooks:
    @pytest.mark.parametrize("on_leaf", [True, False])
    def test_sees_the_whole_gradient_once_and_may_change_it(self, on_leaf):
        a, seen = leaf(1.0, 2.0), []
        b = a if on_leaf else a * 1
        b.register_hook(lambda g: seen.append(g.tolist()))
        b.register_hook(lambda g: g * 10)
        (b * 3 + b).sum().backward()
        assert seen == [[4, 4]] and a.grad.tolist() == [40, 40]

    def test_removed(self):
        a = leaf(1.0)
        handle = a.register_hook(lambda g: g * 0)
        handle.remove()
        handle.remove()
        a.sum().backward()
        assert a.grad.tolist() == [1]

    def test_together_with_retain_grad(self):
        a = leaf(1.0)
        b = a * 2
        b.retain_grad()
        (b * 3).sum().backward()
        assert b.grad.tolist() == [3] and a.grad.tolist() == [6]

    def test_misuse(self):
        with pytest.raises(RuntimeError, match="never gets a gradient"):
            Tensor([1.0]).register_hook(print)
        a = leaf(1.0, 2.0)
        a.register_hook(lambda g: g[:1])
        with pytest.raises(ValueError, match=r"returned shape \(1,\) for a gradient of shape \(2,\)"):
            a.sum().backward()


class TestCheckpoint:
    def model(self):
        np.random.seed(0)
        return Sequential(Linear(3, 5), tt.Tanh(), Linear(5, 2))

    def test_the_gradients_are_those_without_it(self):
        x = Tensor(np.random.randn(4, 3), requires_grad=True)
        results = []
        for run in (lambda model: model(x), lambda model: checkpoint(model, x)):
            model = self.model()
            x.grad = None
            y = run(model)
            (y * y).sum().backward()
            results.append([y.data, x.grad, *(p.grad for p in model.parameters())])
        for plain, checkpointed in zip(*results, strict=True):
            assert np.array_equal(plain, checkpointed)

    def test_parameters_learn_when_no_input_needs_a_gradient(self):
        model = self.model()
        checkpoint(model, Tensor(np.ones((4, 3)))).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_dropout_is_the_same_both_times(self):
        x = leaf(*np.ones(100))
        y = checkpoint(lambda x: dropout(x, 0.5), x)
        after = np.random.random()
        y.sum().backward()
        assert np.array_equal(x.grad, y.data)
        assert np.random.random() != after

    def test_nothing_inside_is_kept(self):
        made = []

        def function(x):
            made.append(tanh(x))
            return made[-1] * 2

        y = checkpoint(function, leaf(1.0))
        made.clear()
        assert len(made) == 0
        y.sum().backward()
        assert len(made) == 1  # computed again

    def test_inputs_that_are_no_tensors_or_unused(self):
        a, unused = leaf(2.0), leaf(1.0)
        checkpoint(lambda a, unused, n: a * n, a, unused, 3).sum().backward()
        assert a.grad.tolist() == [3] and unused.grad.tolist() == [0]

    def test_without_gradients_it_is_the_function(self):
        with no_grad():
            assert not checkpoint(lambda x: x * 2, leaf(1.0)).requires_grad
        assert not checkpoint(lambda x: x * 2, Tensor([1.0])).requires_grad
        with pytest.raises(ValueError, match="needs the function's inputs"):
            checkpoint(lambda: leaf(1.0))

    def test_a_changed_input_is_noticed(self):
        x = leaf(1.0)
        y = checkpoint(lambda x: x * x, x)
        x.data = np.array([5.0], np.float32)
        with pytest.raises(RuntimeError, match="an input was changed"):
            y.sum().backward()


class TestDrawing:
    def test_names_shapes_and_arrows(self):
        model = Sequential(Linear(3, 5), tt.ReLU(), Linear(5, 2))
        loss = model(Tensor(np.ones((4, 3)))).sum()
        drawing = draw_graph(loss, dict(model.named_parameters()))
        svg = drawing._repr_svg_()
        for text in ("layers.0.weight", "(3, 5)", "Linear", "ReLU", "Sum", "(4, 5)"):
            assert f">{text}</text>" in svg
        assert svg.count("<rect") == 8 and svg.count("<line") == 7

    def test_a_value_used_twice_is_drawn_once(self):
        a = leaf(1.0)
        svg = draw_graph(a * a + a).svg
        assert svg.count(">leaf</text>") == 1 and svg.count("<line") == 4

    def test_misuse(self):
        a = leaf(1.0)
        with pytest.raises(ValueError, match="has no graph"):
            draw_graph(a)
        y = a * 2
        y.sum().backward()
        with pytest.raises(ValueError, match="backward has freed it"):
            draw_graph(y)
        y = a
        for _ in range(400):
            y = y + 1
        with pytest.raises(ValueError, match="more than can be seen"):
            draw_graph(y)


def test_memory_is_flat_over_a_thousand_steps():
    import tracemalloc

    model = Sequential(Linear(16, 32), tt.ReLU(), Linear(32, 4))
    optimizer, loss = tt.Adam(model.parameters()), tt.CrossEntropyLoss()
    x, labels = Tensor(np.random.randn(8, 16)), np.arange(8) % 4

    def step():
        loss(model(x), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(20):
        step()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        step()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


@pytest.mark.parametrize("depth", [1_000])
def test_a_diamond_of_depth_costs_each_node_once(depth):
    x = leaf(1.0)
    y = x
    for _ in range(depth):
        y = (y + y) * 0.5
    y.sum().backward()
    assert x.grad.tolist() == [1]


def test_ten_thousand_chained_operations():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1]
