"""Optimizers against PyTorch's formulas written out by hand, over many steps and any gradient buffer."""

import gc
import tracemalloc

import numpy as np
import pytest

from tinytorch.activations import ReLU
from tinytorch.layers import Linear, Sequential
from tinytorch.losses import cross_entropy
from tinytorch.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from tinytorch.tensor import Tensor

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
STEPS = 25


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    return [Tensor(rng.normal(size=shape), requires_grad=True) for shape in SHAPES]


def gradients(seed=1):
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=shape).astype(np.float32) for shape in SHAPES] for _ in range(STEPS)]


def sgd(p, grads, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    v = np.zeros_like(p)
    for g in grads:
        g = g + weight_decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


def rmsprop(p, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    square, mean, v = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for g in grads:
        g = g + weight_decay * p
        square = alpha * square + (1 - alpha) * g * g
        mean = alpha * mean + (1 - alpha) * g
        v = momentum * v + g / (np.sqrt(square - mean**2 if centered else square) + eps)
        p = p - lr * v
    return p


def adamw(p, grads, **options):
    return adam(p, grads, decoupled=True, **{"weight_decay": 0.01, **options})


CASES = [
    (SGD, sgd, {"lr": 0.1}),
    (SGD, sgd, {"lr": 0.1, "weight_decay": 0.05}),
    (SGD, sgd, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    (SGD, sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (Adam, adam, {"lr": 0.01}),
    (Adam, adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, adamw, {"lr": 0.01}),
    (AdamW, adamw, {"lr": 0.1, "weight_decay": 0.3}),
    (RMSprop, rmsprop, {"lr": 0.01}),
    (RMSprop, rmsprop, {"lr": 0.01, "alpha": 0.9, "weight_decay": 0.1, "momentum": 0.8}),
    (RMSprop, rmsprop, {"lr": 0.01, "centered": True, "eps": 1e-3}),
]


@pytest.mark.parametrize(("optimizer", "formula", "options"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_formulas(optimizer, formula, options, dtype):
    params, all_grads = parameters(), gradients()
    for parameter in params:
        parameter.data = parameter.data.astype(dtype)
    expected = [
        formula(p.data.astype(np.float64), [grads[i] for grads in all_grads], **options)
        for i, p in enumerate(params)
    ]
    steps = optimizer(params, **options)
    for grads in all_grads:
        for parameter, grad in zip(params, grads, strict=True):
            parameter.grad = grad
        steps.step()
    for parameter, value in zip(params, expected, strict=True):
        assert parameter.dtype == dtype
        np.testing.assert_allclose(parameter.data, value, rtol=2e-5, atol=2e-6)
    assert steps.step_count == STEPS


def views(grad):
    """The same numbers in every kind of buffer that may turn up."""
    yield "float64", grad.astype(np.float64)
    yield "transposed", np.asfortranarray(grad)
    yield "strided", np.repeat(grad, 2, axis=-1)[..., ::2]
    yield "reversed", np.ascontiguousarray(grad[::-1])[::-1]
    yield "read-only", np.broadcast_to(grad, grad.shape)
    yield "memoryview", memoryview(np.ascontiguousarray(grad))
    yield "Tensor", Tensor(grad)
    yield "list", grad.tolist()


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
def test_any_gradient_buffer(optimizer):
    grad = np.random.default_rng(2).normal(size=(4, 6)).astype(np.float32)
    start = np.ones((4, 6))
    results = {}
    for name, buffer in [("plain", grad.copy()), *views(grad)]:
        p = Tensor(start, requires_grad=True)
        p.grad = buffer
        optimizer([p], lr=0.1).step()
        results[name] = p.data
    for name, data in results.items():
        assert np.array_equal(data, results["plain"]), name


def test_awkward_parameters():
    p = Tensor(np.ones((3, 2)), requires_grad=True)
    p.data = np.arange(6, dtype=np.float32).reshape(2, 3).T
    p.grad = np.ones((3, 2), np.float32)
    SGD([p], lr=1.0).step()
    assert np.array_equal(p.data, np.arange(6).reshape(2, 3).T - 1)
    p.data = np.broadcast_to(np.float32(1), (3, 2))
    p.grad = np.ones((3, 2), np.float32)
    SGD([p], lr=1.0).step()
    assert not p.data.any()


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
def test_parameters_of_several_dtypes(optimizer):
    """As when a student assigns a float64 array to one parameter's data in the middle of training."""
    a, b = (Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    steps = optimizer([a, b], lr=0.1)
    for _ in range(3):
        a.grad = b.grad = np.ones(3, np.float32)
        steps.step()
        b.data = b.data.astype(np.float64)
    assert a.dtype == np.float32 and b.dtype == np.float64
    np.testing.assert_allclose(a.data, b.data, rtol=1e-6)


def test_parameters_without_gradient_sit_a_step_out():
    """Adam's bias correction counts the steps of each parameter, as in PyTorch."""
    a, b = (Tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = Adam([a, b], lr=0.1)
    a.grad = np.ones(1, np.float32)
    optimizer.step()
    assert b.data == 1
    a.grad, b.grad = np.ones(1, np.float32), np.full(1, 3, np.float32)
    optimizer.step()
    ones = [np.ones(1)] * 2
    np.testing.assert_allclose(a.data, adam(np.ones(1), ones, lr=0.1), rtol=1e-6)
    np.testing.assert_allclose(b.data, adam(np.ones(1), [np.full(1, 3)], lr=0.1), rtol=1e-6)


def test_steps_are_in_place_and_noticed():
    p = Tensor([2.0], requires_grad=True)
    array = p.data
    outdated = (p * p).sum()
    p.grad = np.ones(1, np.float32)
    SGD([p], lr=0.5).step()
    assert p.data is array and array == 1.5
    with pytest.raises(RuntimeError, match=r"before optimizer\.step"):
        outdated.backward()


def test_zero_grad():
    p = Tensor([2.0], requires_grad=True)
    p.grad = np.ones(1)
    SGD([p]).zero_grad()
    assert p.grad is None


class TestState:
    @pytest.mark.parametrize(("optimizer", "formula", "options"), CASES)
    def test_restored_run_goes_on_the_same(self, optimizer, formula, options):
        def run(params, steps, all_grads):
            for grads in all_grads:
                for parameter, grad in zip(params, grads, strict=True):
                    parameter.grad = grad
                steps.step()

        params = parameters()
        first = optimizer(params, **options)
        run(params, first, gradients()[:10])
        copies = [Tensor(p.data, requires_grad=True) for p in params]
        second = optimizer(copies, lr=123.0, **{k: v for k, v in options.items() if k == "momentum"})
        second.load_state_dict(first.state_dict())
        for steps, group in ((first, params), (second, copies)):
            run(group, steps, gradients()[10:])
        assert all(np.array_equal(p.data, q.data) for p, q in zip(params, copies, strict=True))
        assert second.step_count == STEPS and second.lr == options["lr"]

    def test_state_is_a_snapshot(self):
        p = Tensor([1.0], requires_grad=True)
        optimizer = Adam([p])
        p.grad = np.ones(1, np.float32)
        optimizer.step()
        state = optimizer.state_dict()
        optimizer.step()
        assert not np.array_equal(state["buffers"]["m_buffers"][0], optimizer.m_buffers[0])

    def test_misfits(self):
        p = [Tensor([1.0], requires_grad=True)]
        with pytest.raises(ValueError, match="is that of SGD"):
            Adam(p).load_state_dict(SGD(p).state_dict())
        with pytest.raises(ValueError, match="4 parameters"):
            Adam(p).load_state_dict(Adam(parameters()).state_dict())
        p[0].grad = np.ones(1)
        optimizer = Adam(p)
        optimizer.step()
        with pytest.raises(ValueError, match=r"m_buffers\[0\] has shape \(1,\)"):
            Adam([Tensor([1.0, 2.0], requires_grad=True)]).load_state_dict(optimizer.state_dict())

    def test_momentum_state(self):
        p = Tensor([1.0], requires_grad=True)
        optimizer = SGD([p], momentum=0.9)
        p.grad = np.ones(1, np.float32)
        optimizer.step()
        state = optimizer.get_momentum_state()
        other = SGD([p], momentum=0.9)
        other.set_momentum_state(state)
        assert np.array_equal(other.momentum_buffers[0], [1]) and other.has_momentum()
        assert SGD([p]).get_momentum_state() is None


class TestMisuse:
    @pytest.mark.parametrize(
        ("optimizer", "options", "message"),
        [
            (SGD, {"lr": -0.1}, "lr must be finite and not negative"),
            (Adam, {"lr": float("nan")}, "lr must be finite"),
            (Adam, {"lr": float("inf")}, "lr must be finite"),
            (Adam, {"betas": (1.0, 0.9)}, r"beta1 must lie in \[0, 1\)"),
            (AdamW, {"eps": -1}, "eps"),
            (SGD, {"momentum": -1}, "momentum"),
            (SGD, {"weight_decay": -1}, "weight_decay"),
            (SGD, {"nesterov": True}, "momentum must be above 0"),
        ],
    )
    def test_hyperparameters(self, optimizer, options, message):
        with pytest.raises(ValueError, match=message):
            optimizer(parameters(), **options)

    def test_learning_rate_set_later(self):
        optimizer = SGD(parameters())
        optimizer.lr = -1
        with pytest.raises(ValueError, match="lr"):
            optimizer.step()

    @pytest.mark.parametrize(
        ("params", "error", "message"),
        [
            ([], ValueError, "no parameters"),
            (Linear(1, 1), TypeError, r"model\.parameters\(\)"),
            (Tensor([1.0], requires_grad=True), TypeError, "list of tensors"),
            ([np.ones(1)], TypeError, "ndarray, not a Tensor"),
            ([Tensor([1.0])], ValueError, "requires_grad=False"),
            ([Tensor([1.0], requires_grad=True) * 2], ValueError, "computed from other tensors"),
            ([parameters()[0]] * 2, ValueError, "twice"),
        ],
    )
    def test_parameters(self, params, error, message):
        with pytest.raises(error, match=message):
            SGD(params)

    def test_wrong_gradient_changes_nothing(self):
        a, b = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
        a.grad, b.grad = np.ones(2), np.ones(3)
        optimizer = SGD([a, b])
        with pytest.raises(ValueError, match=r"params\[1\] has shape \(2,\).*\(3,\)"):
            optimizer.step()
        assert a.data.tolist() == [1, 2] and optimizer.step_count == 0


def test_a_thousand_steps_leave_nothing_behind():
    """No graph outlives its step, also while the collector sleeps: nothing in it refers to itself."""
    x, target = Tensor(np.ones((64, 8))), np.zeros(64, np.int64)
    model = Sequential(Linear(8, 512), ReLU(), Linear(512, 4))  # activations large enough to be reused
    optimizer = Adam(model.parameters())

    def run(steps):
        for _ in range(steps):
            cross_entropy(model(x), target).backward()
            optimizer.step()
            optimizer.zero_grad()

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        run(50)
        objects, held = len(gc.get_objects()), tracemalloc.get_traced_memory()[0]
        run(1000)
        assert abs(len(gc.get_objects()) - objects) < 20
        assert tracemalloc.get_traced_memory()[0] - held < 50_000  # one activation has 131072 bytes
    finally:
        tracemalloc.stop()
        gc.enable()


class TestParameterGroups:
    def groups(self, optimizer=SGD, **options):
        ours = parameters()
        made = optimizer([{"params": ours[:2], "lr": 0.1}, {"params": ours[2:]}], lr=0.01, **options)
        return ours, made

    def test_each_group_has_its_own_options(self):
        ours, optimizer = self.groups(weight_decay=0.5)
        before = [parameter.data.copy() for parameter in ours]
        for parameter in ours:
            parameter.grad = np.ones(parameter.shape, np.float32)
        optimizer.step()
        for parameter, old, lr in zip(ours, before, (0.1, 0.1, 0.01, 0.01), strict=True):
            np.testing.assert_allclose(parameter.data, old - lr * (1 + 0.5 * old), atol=1e-7)

    def test_a_schedule_moves_all_in_proportion(self):
        _, optimizer = self.groups()
        optimizer.lr = 0.002
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.002])
        optimizer.lr = 0.0
        optimizer.lr = 0.001
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.001])

    def test_what_a_group_was_given_stays(self):
        ours = parameters()
        optimizer = Adam([{"params": ours[:1], "betas": (0.5, 0.6)}, {"params": ours[1:]}])
        optimizer.beta1 = 0.8
        assert [group["beta1"] for group in optimizer.param_groups] == [0.5, 0.8]
        assert [group["beta2"] for group in optimizer.param_groups] == [0.6, 0.999]

    def test_a_changed_group_counts(self):
        ours, optimizer = self.groups()
        optimizer.param_groups[1]["lr"] = 0.0
        for parameter in ours:
            parameter.grad = np.ones(parameter.shape, np.float32)
        before = [parameter.data.copy() for parameter in ours]
        optimizer.step()
        changed = [not np.array_equal(p.data, old) for p, old in zip(ours, before, strict=True)]
        assert changed == [True, True, False, False]

    def test_state_is_kept(self):
        _, first = self.groups(momentum=0.9)
        first.lr = 0.003
        _, second = self.groups(momentum=0.9)
        second.load_state_dict(first.state_dict())
        assert [group["lr"] for group in second.param_groups] == pytest.approx([0.03, 0.003])
        assert second.lr == 0.003
        with pytest.raises(ValueError, match="saved state is for 2 parameter groups, this optimizer has 1"):
            SGD(parameters(), momentum=0.9).load_state_dict(first.state_dict())

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (lambda p: [{"params": p, "speed": 1}], "group 0 has unknown speed; it may have lr"),
            (lambda p: [{"lr": 1}], "group 0 is no dict with 'params'"),
            (lambda p: [{"params": p[:1]}, p[1]], "group 1 is no dict with 'params'"),
            (lambda p: [{"params": []}], "group 0: got no parameters"),
            (lambda p: [{"params": p}, {"params": p[:1]}], "appears twice"),
            (lambda p: [{"params": p, "lr": -1}], "lr must be finite and not negative"),
        ],
    )
    def test_misuse(self, groups, message):
        with pytest.raises((ValueError, TypeError), match=message):
            SGD(groups(parameters()))
        with pytest.raises(ValueError, match="own lr must be above 0"):
            SGD([{"params": parameters(), "lr": 0.1}], lr=0.0)


def test_an_optimizer_of_ones_own():
    class Plain(Optimizer):
        def __init__(self, params, lr):
            self.lr = lr
            super().__init__(params)

        def _update(self, members, params, grads, step, lr):
            for p, g in zip(params, grads, strict=True):
                p -= lr * g

    (parameter,) = parameters()[1:2]
    before = parameter.data.copy()
    optimizer = Plain([parameter], lr=0.5)
    parameter.grad = np.ones(5, np.float32)
    optimizer.step()
    np.testing.assert_allclose(parameter.data, before - 0.5)
