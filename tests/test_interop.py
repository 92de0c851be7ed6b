"""Tensors among NumPy's functions, other libraries' arrays, and notebooks."""

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.autograd import no_grad
from tinytorch.tensor import Tensor, from_dlpack

A = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


class TestNumPysFunctions:
    @pytest.mark.parametrize(
        "function",
        [np.add, np.subtract, np.multiply, np.true_divide, np.power, np.matmul, np.equal, np.less, np.greater,
         np.not_equal, np.less_equal, np.greater_equal],
    )  # fmt: skip
    def test_of_two(self, function):
        t = Tensor(A, requires_grad=True)
        for inputs in ((t, t), (t, A), (A, t)):
            result = function(*inputs)
            assert isinstance(result, Tensor)
            np.testing.assert_allclose(result.data, function(A, A), rtol=1e-6)
            assert result.requires_grad == (result.dtype.kind == "f")

    @pytest.mark.parametrize("function", [np.exp, np.log, np.sqrt, np.tanh, np.negative, np.absolute])
    def test_of_one(self, function):
        t = Tensor(A, requires_grad=True)
        result = function(t)
        np.testing.assert_allclose(result.data, function(A), rtol=1e-6)
        result.sum().backward()
        assert t.grad.shape == (2, 2)

    def test_an_arrays_operator(self):
        t = Tensor(A, requires_grad=True)
        (A * t).sum().backward()
        assert np.array_equal(t.grad, A)
        assert isinstance(A @ t, Tensor) and isinstance(t < A, Tensor) and isinstance(2.0 - t, Tensor)

    def test_what_has_no_counterpart(self):
        assert np.array_equal(np.sin(Tensor(A)).data, np.sin(A))
        assert np.array_equal(np.maximum(Tensor(A), 2).data, np.maximum(A, 2))
        assert np.array_equal(np.add.reduce(Tensor(A)).data, A.sum(axis=0))
        out = np.empty_like(A)
        assert np.add(Tensor(A), 1, out=out).data is out and np.array_equal(out, A + 1)

    def test_a_gradient_is_never_lost_silently(self):
        t = Tensor(A, requires_grad=True)
        with pytest.raises(RuntimeError, match=r"np.sin would lose the gradient"):
            np.sin(t)
        with pytest.raises(RuntimeError, match=r"np.add would lose the gradient"):
            np.add.reduce(t)
        with no_grad():
            assert np.array_equal(np.sin(t).data, np.sin(A))


class TestDLPack:
    def test_both_ways_without_a_copy(self):
        t = Tensor(A)
        shared = np.from_dlpack(t)
        shared[0, 0] = 9
        assert t.data[0, 0] == 9
        again = from_dlpack(shared)
        assert isinstance(again, Tensor) and np.shares_memory(again.data, t.data)

    def test_with_pytorch(self):
        torch = pytest.importorskip("torch")
        theirs = torch.from_dlpack(Tensor(A))
        theirs[0, 0] = 7
        assert from_dlpack(theirs).data[0, 0] == 7

    def test_a_tensor_with_a_gradient_is_not_shared(self):
        with pytest.raises(BufferError, match=r"pass \.detach"):
            np.from_dlpack(Tensor(A, requires_grad=True))


class TestForReaders:
    def test_repr_teaches(self):
        a = Tensor([1.0], requires_grad=True)
        assert repr(a * a) == "Tensor(data=[1.], shape=(1,), requires_grad=True, grad_fn=MulBackward)"
        assert repr(Tensor(np.array([1, 2]))) == "Tensor(data=[1 2], shape=(2,), dtype=int64)"

    @pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (0, 3), (20, 30), (2, 3, 4), (2, 0, 4)])
    def test_html_of_any_shape(self, shape):
        html = Tensor(np.zeros(shape))._repr_html_()
        assert html.startswith(f"<div>Tensor {shape} · float32") and html.endswith("</table></div>")
        assert html.count("<tr>") <= 9

    def test_html_says_what_it_is(self):
        a = Tensor(A, requires_grad=True)
        html = (a * 2)._repr_html_()
        assert "requires a gradient" in html and "made by Mul" in html and "2 to 8, mean 5" in html
        assert "<td>8</td>" in html
        assert "False" in (a > 5)._repr_html_()


def test_modules_are_there_when_asked_for():
    assert tt.nn.Linear is tt.Linear and tt.optim.Adam is tt.Adam
    with pytest.raises(AttributeError, match="no attribute 'telepathy'"):
        _ = tt.telepathy
