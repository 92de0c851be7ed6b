"""Values and gradients are PyTorch's: the stored ones always, and its own where it is installed."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices
from hypothesis.extra.numpy import mutually_broadcastable_shapes as broadcastable

import tinytorch
import tinytorch.optim
from tests import golden
from tests.golden import _case, functions, language, spatial, training
from tests.golden import tensor as operations
from tests.golden._case import Case
from tinytorch import schedules
from tinytorch.tensor import from_numpy

tinytorch.nn  # noqa: B018 - loads it, so that cases find tinytorch.nn.functional

# One of PyTorch's own, about speed.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

# Values, gradients. The kernels' float32 functions are good to a few ulp, sums to 4 ulp · √K.
TOLERANCE = {np.dtype(np.float32): (1e-5, 1e-4), np.dtype(np.float64): (1e-11, 1e-10)}

STORED = {
    (topic, name): case
    for topic, cases in {
        "tensor": operations.CASES,
        "functions": functions.CASES,
        "language": language.CASES,
    }.items()
    for name, case in cases.items()
}
CASES = {name: case for (_, name), case in STORED.items()}


def spatial_case(name, shapes, options):
    return Case(lambda t, *tensors: getattr(t.nn.functional, name)(*tensors, **options), tuple(shapes))


LIVE = CASES | {name: spatial_case(*case) for name, case in spatial.CASES.items() if case[0] != "batch_norm"}

LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T.copy().T,
    "sliced": lambda x: np.repeat(x[..., None], 2, axis=-1)[..., 1],
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "unaligned": lambda x: unaligned(x),
    "read-only": lambda x: read_only(x),
}


def unaligned(x):
    """The same values, one byte away from where numbers of their size should start."""
    memory = np.empty(x.nbytes + 1, np.uint8)
    view = memory[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def compare(ours, theirs):
    """Each result and gradient, relative to its own size and to that of the largest."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        value = ours[name]
        assert value.shape == expected.shape and value.dtype == expected.dtype, name
        if expected.dtype.kind != "f":
            assert np.array_equal(value, expected), name
            continue
        tolerance = TOLERANCE[expected.dtype][name.startswith("grad")]
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(
            value, expected, rtol=tolerance, atol=tolerance * finite.max(initial=0), err_msg=name
        )


def check(case, arrays, layout=LAYOUTS["contiguous"]):
    """Run the case here and in PyTorch."""
    pytest.importorskip("torch")
    ours = _case.run(tinytorch, lambda x: from_numpy(layout(x)), case.expression, arrays)
    compare(ours, _case.run_in_pytorch(case, arrays))


ARRAYS = {topic: golden.load(topic) for topic in ("tensor", "functions", "language", "training")}


@pytest.mark.kernel
class TestStored:
    @pytest.mark.parametrize(("topic", "name"), STORED)
    def test_values_and_gradients(self, topic, name):
        case = STORED[topic, name]
        ours = _case.run(tinytorch, tinytorch.Tensor, case.expression, case.arrays())
        theirs = {"y": ARRAYS[topic][name]}
        grads = [value.ravel() for key, value in ours.items() if key != "y"]
        if grads:
            ours = {"y": ours["y"], "grads": np.concatenate(grads)}
            theirs["grads"] = ARRAYS[topic][f"{name}/grads"]
        assert (f"{name}/grads" in ARRAYS[topic]) == bool(grads)
        compare(ours, theirs)

    @pytest.mark.parametrize("name", training.OPTIMIZERS)
    def test_optimizers(self, name):
        ours = training.trajectory(tinytorch.Tensor, tinytorch.optim, name)
        for key, value in ours.items():
            np.testing.assert_allclose(value, ARRAYS["training"][f"{name}/{key}"], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", training.SCHEDULES)
    def test_schedules(self, name):
        schedule = training.SCHEDULES[name][0](schedules)
        ours = [schedule.get_lr(epoch) for epoch in range(training.STEPS)]
        np.testing.assert_allclose(ours, ARRAYS["training"][f"schedule_{name}"], rtol=1e-9)


class TestLive:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("name", LIVE)
    def test_layouts(self, name, dtype):
        for seed, layout in enumerate(LAYOUTS.values(), 1):
            check(LIVE[name], LIVE[name].arrays(seed, dtype), layout)

    @given(st.data())
    def test_arithmetic_broadcasts(self, data):
        name = data.draw(st.sampled_from(list(operations.ARITHMETIC)))
        shapes = data.draw(broadcastable(num_shapes=2, max_dims=4, max_side=9, min_side=0)).input_shapes
        check_any(data, CASES[f"{name}0"], shapes)

    @given(st.data())
    def test_one_operand_of_any_shape(self, data):
        names = [*operations.ONE_OPERAND, *functions.ACTIVATIONS]
        shape = data.draw(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=40))
        check_any(data, CASES[data.draw(st.sampled_from(names))], (shape,))

    @given(st.data())
    def test_reductions_of_any_axes(self, data):
        ours, theirs = operations.REDUCTIONS[data.draw(st.sampled_from(list(operations.REDUCTIONS)))]
        shape = data.draw(array_shapes(min_dims=1, max_dims=4, min_side=2, max_side=9))
        axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
        signed = [axis - len(shape) * data.draw(st.booleans()) for axis in axes]
        options = dict(axis=tuple(signed), keepdims=data.draw(st.booleans()))
        check_any(data, Case(partial(ours, **options), (shape,), partial(theirs or ours, **options)))

    @given(st.data())
    def test_products(self, data):
        k = data.draw(st.integers(0, 40))
        sides = [data.draw(st.none() | st.integers(0, 40)) for _ in range(2)]
        rows, columns = ((n,) * (n is not None) for n in sides)
        batches = data.draw(broadcastable(num_shapes=2, max_dims=2, max_side=3)).input_shapes
        batches = [batch if n else () for batch, n in zip(batches, (rows, columns), strict=True)]
        check_any(data, CASES["matmul0"], ((*batches[0], *rows, k), (*batches[1], k, *columns)))

    @given(st.data())
    def test_softmax_along_any_axis(self, data):
        shape = data.draw(array_shapes(min_dims=1, max_dims=4, max_side=20))
        axis = data.draw(st.integers(-len(shape), len(shape) - 1))
        name = data.draw(st.sampled_from(["softmax", "log_softmax"]))
        check_any(data, Case(lambda t, x: getattr(t.nn.functional, name)(x, axis), (shape,)))

    @given(st.data())
    def test_any_key(self, data):
        shape = data.draw(array_shapes(max_dims=4, max_side=5))
        key = data.draw(basic_indices(shape, allow_newaxis=True) | integer_array_indices(shape))
        check_any(data, operations.picking(key), (shape,))

    @given(st.data())
    def test_normalisation(self, data):
        width = data.draw(st.integers(2, 70))
        shape = (*data.draw(array_shapes(min_dims=0, max_dims=2, max_side=9)), width)
        norms = {
            "layer_norm": Case(
                functions.layer("LayerNorm", width), (shape, (width,), (width,)),
                lambda t, x, w, b: t.nn.functional.layer_norm(x, (width,), w, b),
            ),
            "rms_norm": Case(
                functions.layer("RMSNorm", width), (shape, (width,)),
                lambda t, x, w: t.nn.functional.rms_norm(x, (width,), w, eps=1e-5),
            ),
        }  # fmt: skip
        check_any(data, norms[data.draw(st.sampled_from(list(norms)))])

    @given(st.data())
    def test_cross_entropy(self, data):
        rows, classes = data.draw(st.integers(1, 40)), data.draw(st.integers(2, 70))
        labels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, classes, rows)
        options = dict(
            ignore_index=data.draw(st.sampled_from([-100, int(labels[0]) if rows > 1 else -100])),
            label_smoothing=data.draw(st.sampled_from([0.0, 0.1, 0.7])),
        )
        if (labels == options["ignore_index"]).all():
            options["ignore_index"] = -1
        check_any(data, Case(functions.loss("cross_entropy", **options), ((rows, classes), labels)))

    @pytest.mark.parametrize("name", training.OPTIMIZERS)
    def test_optimizers_in_double(self, name):
        torch = pytest.importorskip("torch")
        ours = training.trajectory(double, tinytorch.optim, name, np.float64)
        theirs = training.trajectory(torch.from_numpy, torch.optim, name, np.float64)
        for key, value in ours.items():
            np.testing.assert_allclose(value, theirs[key], rtol=1e-9, atol=1e-10)

    @pytest.mark.parametrize("name", ["sgd_groups", "adamw_groups", "rmsprop"])
    def test_optimizers_under_a_schedule(self, name):
        torch = pytest.importorskip("torch")

        def ours(optimizer):
            schedule, steps = schedules.CosineSchedule(optimizer.lr, 0.0, training.STEPS), iter(range(1, 999))

            def epoch():
                optimizer.lr = schedule.get_lr(next(steps))

            return epoch

        def theirs(optimizer):
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.STEPS).step

        here = training.trajectory(double, tinytorch.optim, name, np.float64, ours)
        there = training.trajectory(torch.from_numpy, torch.optim, name, np.float64, theirs)
        for key, value in here.items():
            np.testing.assert_allclose(value, there[key], rtol=1e-9, atol=1e-10)

    def test_batch_norm_over_many_batches(self):
        torch = pytest.importorskip("torch")
        ours, theirs = tinytorch.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
        rng = np.random.default_rng(0)
        for training_mode in (True, True, True, False):
            ours.train(training_mode), theirs.train(training_mode)
            x = rng.standard_normal((4, 3, 5, 2)).astype(np.float32) * 3 + 1
            y, expected = ours(tinytorch.Tensor(x)).data, theirs(torch.from_numpy(x)).detach().numpy()
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(ours.running_mean, theirs.running_mean, rtol=1e-5)
            np.testing.assert_allclose(ours.running_var, theirs.running_var, rtol=1e-5)


def double(array):
    return tinytorch.Tensor(array, dtype=np.float64)


def check_any(data, case, shapes=None):
    """In a dtype and a layout of Hypothesis's choice."""
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    layout = LAYOUTS[data.draw(st.sampled_from(list(LAYOUTS)))]
    check(case, case.arrays(data.draw(st.integers(0, 99)), dtype, shapes), layout)
