"""The graph and the walk backwards; the rules themselves are tested where their operations are."""

import gc
import threading
import weakref

import numpy as np
import pytest

from tinytorch.autograd import (
    AddBackward,
    Function,
    MatmulBackward,
    MulBackward,
    SigmoidBackward,
    SliceBackward,
    SumBackward,
    enable_grad,
    gradcheck,
    is_grad_enabled,
    no_grad,
    sum_to_shape,
    topological_order,
)
from tinytorch.tensor import Tensor


def leaf(*values, shape=None):
    array = np.array(values, np.float64)
    return Tensor(array if shape is None else array.reshape(shape), requires_grad=True, dtype=np.float64)


class TestWalk:
    def test_chain_of_ten_thousand_operations(self):
        x = leaf(1.0)
        y = x
        for _ in range(10_000):
            y = y + 1
        y.sum().backward()
        assert x.grad == 1

    def test_deep_graph_is_freed_without_recursion(self):
        y = leaf(1.0)
        for _ in range(100_000):
            y = y * 1.0
        del y
        gc.collect()

    def test_diamonds_a_thousand_deep_take_linear_time(self):
        x = leaf(1.0)
        y = x
        for _ in range(1_000):  # 2**1000 paths
            y = (y + y) * 0.5
        y.backward(np.ones(1))
        assert x.grad == 1

    def test_each_node_runs_once(self):
        runs = []

        class Spy(Function):
            def forward(self, x):
                return x.copy()

            def backward(self, grad):
                runs.append(float(grad))
                return grad

        x = leaf(3.0, shape=())
        shared = Spy.apply(x)
        (shared * 2 + shared * 3 + shared).backward()
        assert runs == [6.0]
        assert x.grad == 6

    def test_order_puts_consumers_first(self):
        x = leaf(1.0)
        a = x * 2
        b = a * 3
        root = (a + b)._grad_fn
        order = topological_order(root)
        assert order[0] is root
        assert order.index(b._grad_fn) < order.index(a._grad_fn)

    def test_gradients_of_several_backwards_add_up(self):
        x = leaf(2.0)
        (x * x).sum().backward()
        (x * 3).sum().backward()
        assert x.grad == 7

    def test_leaf_as_root(self):
        x = leaf(2.0)
        x.backward()
        assert x.grad == 1

    def test_gradients_never_share_memory(self):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        (a + b).sum().backward()
        a.grad *= 10
        assert np.array_equal(b.grad, [1, 1])

    def test_constants_get_no_gradient(self):
        x, c = leaf(1.0), Tensor(2.0)
        (x * c).sum().backward()
        assert c.grad is None


class TestMemory:
    def test_backward_frees_what_was_saved(self):
        x = leaf(*range(5))
        hidden = x.exp()
        saved = weakref.ref(hidden)
        loss = (hidden * hidden).sum()
        del hidden
        assert saved() is not None
        loss.backward()
        assert saved() is None

    def test_second_backward_is_an_error(self):
        loss = (leaf(1.0) * 2).sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="retain_graph=True"):
            loss.backward()

    def test_second_backward_through_a_shared_part_is_an_error(self):
        shared = leaf(1.0).exp()
        (shared * 2).sum().backward()
        with pytest.raises(RuntimeError, match="ElementwiseBackward a second time"):
            (shared * 3).sum().backward()

    def test_retain_graph(self):
        x = leaf(3.0)
        loss = (x * x).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        assert x.grad == 12

    def test_retain_grad_of_an_intermediate(self):
        x = leaf(2.0)
        y = x * 3
        y.retain_grad()
        (y * y).sum().backward()
        assert y.grad == 12
        assert (x * 3).grad is None


class TestChangesInPlace:
    def test_change_after_use_is_an_error(self):
        w, x = leaf(2.0), leaf(3.0)
        loss = (w * x).sum()
        w.data -= 0.5
        with pytest.raises(RuntimeError, match="MulBackward: an input was changed"):
            loss.backward()

    def test_assignment_after_use_is_an_error(self):
        w = leaf(2.0)
        loss = w.log().sum()
        w.data = np.array([5.0])
        with pytest.raises(RuntimeError, match="changed"):
            loss.backward()

    def test_change_is_fine_where_the_values_are_not_needed(self):
        w = leaf(2.0)
        loss = (w + 1).sum()
        w.data -= 0.5
        loss.backward()
        assert w.grad == 1

    @pytest.mark.parametrize("operation", ["exp", "sqrt", "tanh"])
    def test_change_of_a_result_is_an_error_where_its_derivative_reads_it(self, operation):
        y = getattr(leaf(2.0), operation)()
        with no_grad():
            y *= 2
        with pytest.raises(RuntimeError, match="its output was changed"):
            y.backward(np.ones(1))

    def test_change_of_a_result_is_fine_where_its_derivative_does_not_read_it(self):
        x = leaf(2.0)
        y = x * 3
        with no_grad():
            y[0] = 0
        y.backward(np.ones(1))
        assert x.grad == 3

    def test_leaf_in_place_needs_no_grad(self):
        w = leaf(2.0)
        with pytest.raises(RuntimeError, match="no_grad"):
            w -= 1
        before = w.data
        with no_grad():
            w -= 1
        assert w.data is before and w.data == 1


class TestMisuse:
    def test_backward_without_a_graph(self):
        with pytest.raises(RuntimeError, match="requires_grad=True"):
            (Tensor(1.0) * 2).backward()

    def test_backward_of_a_vector_needs_a_gradient(self):
        with pytest.raises(ValueError, match=r"shape \(2,\)"):
            (leaf(1.0, 2.0) * 2).backward()

    def test_gradient_of_another_shape(self):
        with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
            (leaf(1.0, 2.0) * 2).backward(np.ones(3))

    def test_missing_gradient_is_an_error(self):
        class Forgetful(Function):
            def forward(self, x):
                return x

            def backward(self, grad):
                return None

        with pytest.raises(RuntimeError, match="Forgetful has no gradient for its input 0"):
            Forgetful.apply(leaf(1.0)).sum().backward()

    def test_gradient_of_a_wrong_shape_is_an_error(self):
        class Wrong(Function):
            def forward(self, x):
                return x.sum()

            def backward(self, grad):
                return np.ones(7)

        with pytest.raises(RuntimeError, match=r"shape \(2,\).*shape \(7,\)"):
            Wrong.apply(leaf(1.0, 2.0)).backward()

    def test_wrong_number_of_gradients(self):
        class One(Function):
            def forward(self, a, b):
                return a + b

            def backward(self, grad):
                return grad

        with pytest.raises(RuntimeError, match="1 gradients for 2 inputs"):
            One.apply(leaf(1.0), leaf(2.0)).sum().backward()

    def test_integers_cannot_require_gradients(self):
        x = Tensor(np.array([1, 2]))
        x.requires_grad = True
        with pytest.raises(TypeError, match="floating-point"):
            x * 2


class TestNoGrad:
    def test_nothing_is_recorded(self):
        x = leaf(1.0)
        with no_grad():
            y = x * 2
            assert not y.requires_grad and y._grad_fn is None
            with enable_grad():
                assert (x * 2).requires_grad
        assert is_grad_enabled()

    def test_decorator(self):
        @no_grad()
        def double(x):
            return x * 2

        assert not double(leaf(1.0)).requires_grad

    def test_restored_after_an_error(self):
        with pytest.raises(ZeroDivisionError), no_grad():
            raise ZeroDivisionError
        assert is_grad_enabled()

    def test_other_threads_keep_recording(self):
        seen = []
        with no_grad():
            thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
            thread.start()
            thread.join()
        assert seen == [True]


class TestFunction:
    def test_custom_function(self):
        class Cube(Function):
            def forward(self, x):
                self.x = x
                return x**3

            def backward(self, grad):
                return 3 * self.x**2 * grad

        assert gradcheck(lambda x: Cube.apply(x), [leaf(1.0, -2.0)])

    def test_pytorch_style_static_methods(self):
        class Scale(Function):
            @staticmethod
            def forward(ctx, x, factor):
                ctx.save_for_backward(x)
                ctx.factor = factor
                return x * factor

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                assert x.shape == grad.shape
                return grad * ctx.factor, None

        x = leaf(1.0, 2.0)
        Scale.apply(x, 5).sum().backward()
        assert np.array_equal(x.grad, [5, 5])

    def test_apply_without_tensors(self):
        with pytest.raises(TypeError, match="must be a Tensor"):
            AddBackward.apply(1, 2)

    def test_course_style_nodes(self):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        grad = np.ones(2)
        da, db = MulBackward(a, b).apply(grad)
        assert np.array_equal(da, [3, 4]) and np.array_equal(db, [1, 2])
        assert len(MulBackward(a, b).saved_tensors) == 2
        x, w = leaf(1, 2, 3, 4, shape=(2, 2)), leaf(1, 0, 0, 1, shape=(2, 2))
        assert np.array_equal(MatmulBackward(x, w).apply(np.ones((2, 2)))[0], np.ones((2, 2)))
        assert np.array_equal(SumBackward(a).apply(np.array(2.0))[0], [2, 2])
        out = Tensor(np.array([0.5, 0.5]), dtype=np.float64)
        assert np.array_equal(SigmoidBackward(a, out).apply(grad)[0], [0.25, 0.25])
        assert np.array_equal(SliceBackward(a, slice(1, 2)).apply(np.ones(1))[0], [0, 1])
        assert SliceBackward(Tensor([1.0, 2.0]), slice(1, 2)).apply(np.ones(1)) == (None,)


def test_sum_to_shape():
    grad = np.ones((2, 3, 4))
    assert np.array_equal(sum_to_shape(grad, (3, 1)), np.full((3, 1), 8))
    assert np.array_equal(sum_to_shape(grad, ()), 24)
    with pytest.raises(ValueError):
        sum_to_shape(grad, (5,))


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(Function):
        def forward(self, x):
            return x * x

        def backward(self, grad):
            return grad

    with pytest.raises(AssertionError, match=r"input 0, element"):
        gradcheck(lambda x: Wrong.apply(x), [leaf(1.0, 2.0)])
    with pytest.raises(TypeError, match="float64"):
        gradcheck(lambda x: x, [Tensor([1.0], requires_grad=True)])
