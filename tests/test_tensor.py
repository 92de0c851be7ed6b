"""Tensor: what it holds, what its operations mean, and the gradient of each against float64 differences."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tinytorch.autograd import gradcheck, no_grad
from tinytorch.joining import concatenate, split, stack, where
from tinytorch.tensor import Tensor, from_numpy


def leaf(*shape, low=-2.0, high=2.0, seed=0):
    array = np.random.default_rng(seed + sum(shape)).uniform(low, high, shape)
    return Tensor(array, requires_grad=True, dtype=np.float64)


class TestConstruction:
    @pytest.mark.parametrize(
        "data", [1, 1.5, [1, 2], [[1.0]], np.zeros(3), np.zeros(3, np.float16), np.float64(2)]
    )
    def test_numbers_and_floats_become_float32(self, data):
        assert Tensor(data).dtype == np.float32

    @pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64])
    def test_integer_arrays_keep_their_dtype(self, dtype):
        assert Tensor(np.ones(2, dtype)).dtype == dtype
        assert Tensor(np.ones(2, dtype), requires_grad=True).dtype == np.float32

    def test_dtype_overrides(self):
        assert Tensor([1], dtype=np.float64).dtype == np.float64
        assert Tensor([1.5], dtype="int32").dtype == np.int32
        with pytest.raises(TypeError, match="floating-point"):
            Tensor([1], dtype=np.int64, requires_grad=True)

    def test_data_is_copied(self):
        array = np.ones(2, np.float32)
        tensor = Tensor(array)
        array[0] = 5
        assert tensor.data[0] == 1
        assert from_numpy(array).data is array

    @pytest.mark.parametrize("data", ["text", None, [1, "a"], [[1, 2], [3]], 1j, object()])
    def test_no_numbers(self, data):
        with pytest.raises((TypeError, ValueError), match="Tensor:"):
            Tensor(data)

    def test_attributes(self):
        x = Tensor([[1, 2, 3]])
        assert (x.shape, x.size, x.ndim, len(x), x.requires_grad, x.grad) == ((1, 3), 3, 2, 1, False, None)
        assert isinstance(x.shape, tuple)
        assert x.numpy() is x.data
        x.data = np.zeros((2, 2), np.float32)
        assert x.shape == (2, 2)

    def test_printing(self):
        assert repr(Tensor([1.0], requires_grad=True)) == "Tensor(data=[1.], shape=(1,), requires_grad=True)"
        assert str(Tensor([1.0])) == "Tensor([1.])"
        assert f"{Tensor(0.12345):.2f}" == "0.12"


class TestInterop:
    def test_arrays_on_the_left(self):
        x = Tensor([1.0, 2.0], requires_grad=True)
        for y in (np.ones(2) + x, np.ones(2) - x, np.ones(2) * x, np.ones(2) / x, np.ones(2) @ x):
            assert isinstance(y, Tensor) and y.requires_grad and y.dtype == np.float32

    def test_scalars_on_the_left(self):
        x = Tensor([1.0, 2.0])
        assert np.array_equal((2 * x).data, [2, 4])
        assert np.array_equal((np.float64(3) - x).data, [2, 1])
        assert np.array_equal((2**x).data, [2, 4])
        assert np.array_equal((1 / x).data, [1, 0.5])
        assert np.array_equal((-x).data, [-1, -2])

    def test_dtypes_follow_pytorch(self):
        ints = Tensor(np.array([1, 2]))
        assert (ints + 1).dtype == np.int64
        assert (ints + 1.5).dtype == np.float32
        assert (ints * Tensor([1.0, 2.0])).dtype == np.float32
        assert (ints / 2).dtype == np.float32
        assert ints.mean().dtype == np.float32
        assert (Tensor(1.0, dtype=np.float64) + Tensor(1.0)).dtype == np.float64

    def test_numpy_functions_refuse_to_lose_a_gradient(self):
        x = Tensor([1.0], requires_grad=True)
        with pytest.raises(RuntimeError, match="detach"):
            np.sin(x)
        with pytest.raises(RuntimeError, match="detach"):
            np.asarray(x)
        with no_grad():
            assert np.sin(x).item() == np.sin(np.float32(1))
        assert np.asarray(x.detach()) is x.data
        assert np.asarray(Tensor([1.0]), dtype=np.float64).dtype == np.float64

    def test_python_conversions(self):
        assert float(Tensor(1.5)) == 1.5 and int(Tensor([3.0])) == 3 and bool(Tensor(0)) is False
        assert [row.shape for row in Tensor(np.zeros((2, 3)))] == [(3,), (3,)]
        assert Tensor([[1.0, 2.0]]).tolist() == [[1, 2]]
        with pytest.raises(ValueError, match="neither true nor false"):
            bool(Tensor([1, 2]))
        with pytest.raises(ValueError, match="exactly one element"):
            Tensor([1, 2]).item()
        with pytest.raises(TypeError):
            len(Tensor(1.0))

    @pytest.mark.parametrize("other", [None, "3", object(), {}])
    def test_unsuitable_operands(self, other):
        with pytest.raises(TypeError):
            Tensor([1.0]) + other
        with pytest.raises(TypeError):
            other * Tensor([1.0])
        assert (Tensor([1.0]) == other) is False

    def test_deepcopy_and_hash(self):
        x = Tensor([1.0], requires_grad=True)
        y = copy.deepcopy(x)
        y.data[0] = 5
        assert x.data[0] == 1 and y.requires_grad
        assert x in {x} and y not in {x}

    def test_comparisons(self):
        x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        assert (x > 2).data.tolist() == [False, False, True]
        assert (x >= 2).data.tolist() == [False, True, True]
        assert (2 > x).data.tolist() == [True, False, False]  # noqa: SIM300
        assert (x == 2).data.tolist() == [False, True, False]
        assert (x != x).data.tolist() == [False] * 3
        assert not (x <= 2).requires_grad

    def test_detach_and_copy(self):
        x = Tensor([1.0], requires_grad=True)
        assert x.detach().data is x.data and not x.detach().requires_grad
        x.copy().sum().backward()
        assert x.grad == 1 and x.copy().data is not x.data
        assert x.astype(np.int64).requires_grad is False
        x.astype(np.float64).sum().backward()
        assert x.grad == 2 and x.grad.dtype == np.float32


ELEMENTWISE = {
    "add": (lambda a, b: a + b, -2),
    "sub": (lambda a, b: a - b, -2),
    "mul": (lambda a, b: a * b, -2),
    "div": (lambda a, b: a / b, 0.5),
    "pow": (lambda a, b: a**b, 0.5),
    "where": (lambda a, b: where(a.data > b.data, a, b), -2),
}


class TestGradients:
    @pytest.mark.parametrize("name", ELEMENTWISE)
    @pytest.mark.parametrize(
        "shapes", [((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((4, 1, 2), (3, 1))]
    )
    def test_two_operands(self, name, shapes):
        function, low = ELEMENTWISE[name]
        assert gradcheck(function, [leaf(*shapes[0], low=low), leaf(*shapes[1], low=low, seed=1)])

    @settings(max_examples=25, deadline=None)
    @given(
        mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0),
        st.sampled_from(["mul", "sub"]),
    )
    def test_any_broadcast(self, shapes, name):
        a, b = shapes.input_shapes
        assert gradcheck(ELEMENTWISE[name][0], [leaf(*a), leaf(*b, seed=1)])

    @pytest.mark.parametrize(
        "function",
        [
            lambda x: x.exp(),
            lambda x: x.log(),
            lambda x: x.sqrt(),
            lambda x: x.tanh(),
            lambda x: (x - 1).abs(),
            lambda x: x.clip(0.7, 1.5),
            lambda x: x.clip(min=1.0),
            lambda x: -x,
            lambda x: x**3,
            lambda x: x**-0.5,
            lambda x: 2**x,
            lambda x: 1 - x,
            lambda x: 1 / x,
            lambda x: x * x + x / (x + x),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
    def test_one_operand(self, function, shape):
        assert gradcheck(function, [leaf(*shape, low=0.4)])

    @pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std"])
    @pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (1, 2)])
    @pytest.mark.parametrize("keepdims", [False, True])
    def test_reductions(self, name, axis, keepdims):
        assert gradcheck(lambda x: getattr(x, name)(axis=axis, keepdims=keepdims), [leaf(2, 3, 4)])

    @pytest.mark.parametrize(
        "shapes",
        [
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3, 4)),
            ((5, 2, 3), (3, 4)),
            ((5, 2, 3), (5, 3, 4)),
            ((2, 3), (5, 3, 4)),
            ((2, 1, 2, 3), (5, 3, 2)),
            ((3,), (5, 3, 2)),
            ((5, 2, 3), (3,)),
            ((), (2,)),
            ((0, 3), (3, 2)),
        ],
    )
    def test_matmul(self, shapes):
        a, b = leaf(*shapes[0]), leaf(*shapes[1], seed=1)
        assert gradcheck(lambda a, b: a @ b, [a, b])
        if shapes[0]:
            assert np.allclose((a @ b).data, a.data @ b.data)

    @pytest.mark.parametrize(
        "function",
        [
            lambda x: x.reshape(4, 6),
            lambda x: x.reshape((-1, 2)),
            lambda x: x.flatten(),
            lambda x: x.flatten(1),
            lambda x: x.transpose(),
            lambda x: x.transpose(0, 2),
            lambda x: x.permute(2, 0, 1),
            lambda x: x.permute(-1, 0, -2),
            lambda x: x.T,
            lambda x: x.unsqueeze(1).squeeze(1),
            lambda x: x.unsqueeze(0).expand(3, -1, 3, 4),
            lambda x: x.sum(axis=1, keepdims=True).expand(5, 2, 3, 4),
            lambda x: x.copy(),
            lambda x: x[1],
            lambda x: x[:, ::2],
            lambda x: x[..., None, -1],
            lambda x: x[np.array([0, 0, 1])],
            lambda x: x[[1, 1]],
            lambda x: x[:, [0, 0, 2], 1],
            lambda x: x[[0, 1, 0], [0, 2, 0]],
            lambda x: x[x.data > 0],
            lambda x: x[Tensor([1, 0, 1])],
            lambda x: concatenate([x, x * 2], axis=1),
            lambda x: concatenate([x, x[:1]], axis=-3),
            lambda x: stack([x, x * x], axis=2),
            lambda x: split(x, 2, axis=2)[1] * split(x, [1, 3], axis=2)[0],
        ],
    )  # fmt: skip
    def test_shape(self, function):
        assert gradcheck(function, [leaf(2, 3, 4)])

    def test_attention_like_graph(self):
        def attention(q, k, v):
            scores = (q @ k.transpose() / 2).exp()
            return (scores / scores.sum(axis=-1, keepdims=True)) @ v

        assert gradcheck(attention, [leaf(2, 3, 4, seed=i) for i in range(3)])

    def test_float32_runs_on_the_kernels(self):
        rng = np.random.default_rng(0)
        a = Tensor(rng.standard_normal((7, 5)), requires_grad=True)
        b = Tensor(rng.standard_normal((5, 3)), requires_grad=True)
        (a @ b).sum().backward()
        assert a.grad.dtype == b.grad.dtype == np.float32
        assert np.allclose(a.grad, np.ones((7, 3)) @ b.data.T, atol=1e-5)
        assert np.allclose(b.grad, a.data.T @ np.ones((7, 3)), atol=1e-5)

    def test_repeated_indices_accumulate(self):
        x = Tensor(np.zeros(4), requires_grad=True)
        x[np.array([1, 1, 1, -1])].sum().backward()
        assert np.array_equal(x.grad, [0, 3, 0, 1])

    def test_ties_share_the_gradient(self):
        x = Tensor([3.0, 1.0, 3.0], requires_grad=True)
        x.max().backward()
        assert np.array_equal(x.grad, [0.5, 0, 0.5])

    def test_power_at_zero(self):
        x = Tensor([0.0, 2.0], requires_grad=True)
        (x**0).sum().backward()
        assert np.array_equal(x.grad, [0, 0])
        x.zero_grad()
        (x**2).sum().backward()
        assert np.array_equal(x.grad, [0, 4])


class TestMeaning:
    """The same numbers as NumPy, or as PyTorch where those two differ."""

    @pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "argmax", "argmin"])
    @pytest.mark.parametrize("axis", [None, 0, -1])
    def test_reductions(self, name, axis):
        x = leaf(3, 4)
        assert np.allclose(getattr(x, name)(axis=axis).data, getattr(x.data, name)(axis=axis))

    def test_variance_is_unbiased(self):
        x = leaf(3, 4)
        assert np.allclose(x.var().data, x.data.var(ddof=1))
        assert np.allclose(x.var(axis=1, correction=0).data, x.data.var(axis=1))
        assert np.allclose(x.std(axis=0).data, x.data.std(axis=0, ddof=1))

    def test_nan_passes_through(self):
        x = Tensor([1.0, np.nan])
        assert np.isnan(x.max().item()) and np.isnan(x.sum().item())

    def test_joining(self):
        x = np.arange(6).reshape(2, 3)
        assert np.array_equal(stack([Tensor(x), Tensor(x)], axis=-1).data, np.stack([x, x], axis=-1))
        assert [part.shape for part in split(Tensor(x), 2, axis=1)] == [(2, 2), (2, 1)]
        assert where(x > 2, Tensor(x), 0).data.tolist() == [[0, 0, 0], [3, 4, 5]]

    def test_setitem(self):
        x = Tensor([1.0, 2.0])
        x[0] = 5
        assert x.data.tolist() == [5, 2]
        with pytest.raises(RuntimeError, match="where"):
            Tensor([1.0], requires_grad=True)[0] = 2

    def test_transpose_of_a_vector(self):
        assert Tensor([1.0, 2.0]).transpose().shape == (2,)


class TestErrorsTeach:
    def test_broadcast(self):
        with pytest.raises(ValueError) as error:
            Tensor(np.zeros((32, 10))) + Tensor(np.zeros(12))
        assert "  (32, 10)\n  (    12)\n        ^ axis -1" in str(error.value)

    def test_matmul(self):
        with pytest.raises(ValueError, match=r"Inner dimensions must match: 3 ≠ 4"):
            Tensor(np.zeros((2, 3))) @ Tensor(np.zeros((4, 5)))
        with pytest.raises(TypeError, match="expected a Tensor"):
            Tensor([1.0]).matmul([1.0])
        with pytest.raises(TypeError):
            Tensor([1.0]) @ 3

    def test_reshape(self):
        x = Tensor(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="Total elements must match: 6 ≠ 4"):
            x.reshape(4)
        with pytest.raises(ValueError, match="Total elements must match"):
            x.reshape(-1, 4)
        with pytest.raises(ValueError, match="Can only specify one unknown dimension with -1"):
            x.reshape(-1, -1)

    def test_transpose(self):
        with pytest.raises(ValueError, match="Both dim0 and dim1 must be specified"):
            Tensor(np.zeros((2, 3))).transpose(0)

    def test_expand(self):
        with pytest.raises(ValueError, match="only axes of size 1 can grow"):
            Tensor(np.zeros((2, 3))).expand(4, 3)
        with pytest.raises(ValueError, match="expand"):
            Tensor(np.zeros((2, 3))).expand(3)

    def test_indices(self):
        with pytest.raises(ValueError, match=r"whole numbers, but found 1\.7"):
            Tensor([1.0, 2.0])[Tensor([1.7])]
        with pytest.raises(IndexError):
            Tensor([1.0, 2.0])[5]

    def test_joining(self):
        with pytest.raises(ValueError, match="concatenate along axis 0"):
            concatenate([Tensor(np.zeros((2, 3))), Tensor(np.zeros((2, 4)))])
        with pytest.raises(ValueError, match="at least one"):
            concatenate([])
        with pytest.raises(ValueError, match="do not add up"):
            split(Tensor(np.zeros(5)), [2, 2])
        with pytest.raises(ValueError, match="positive"):
            split(Tensor(np.zeros(5)), 0)


def test_joined_whole_numbers_follow_floats():
    joined = concatenate([Tensor(np.array([1, 2])), Tensor([0.5])])
    assert joined.dtype == np.float32 and joined.data.tolist() == [1, 2, 0.5]


def test_contiguous_copies_only_what_is_out_of_order():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert x.contiguous() is x
    y = x.T.contiguous()
    assert y.data.flags.c_contiguous and np.array_equal(y.data, x.data.T)
    (y * Tensor(np.arange(6.0).reshape(3, 2))).sum().backward()
    assert np.array_equal(x.grad, np.arange(6.0).reshape(3, 2).T)


def test_large_results_are_what_small_ones_are():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 40_000), dtype=np.float32)
    for x, y in (
        (Tensor(a), Tensor(b)),
        (Tensor(a), Tensor(b[:1])),
        (Tensor(a, dtype=np.float64), Tensor(b)),
    ):
        for found, expected in ((x + y, x.data + y.data), (x - y, x.data - y.data), (x * y, x.data * y.data)):
            assert found.dtype == expected.dtype and np.array_equal(found.data, expected)
