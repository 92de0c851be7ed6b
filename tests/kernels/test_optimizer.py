"""Optimizer steps against the reference, in place."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

SHAPES = [(), (1,), (7,), (33, 5), (0, 3), (2, 3, 40)]


def state(seed, shapes=SHAPES):
    return [randn(*shape, seed=seed) for shape in shapes]


def zeros():
    return [np.zeros(shape, np.float32) for shape in SHAPES]


def double(arrays):
    return [a.astype(np.float64) for a in arrays]


@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_step_is_the_reference(momentum, nesterov, weight_decay):
    params, buffers = state(0), zeros() if momentum else None
    exact_params, exact_buffers = double(params), double(buffers) if momentum else None
    for step in range(4):
        grads = state(step + 1)
        kernels.sgd_step(
            params, grads, buffers, lr=0.1, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )
        reference.sgd_step(exact_params, double(grads), exact_buffers, 0.1, momentum, weight_decay, nesterov)
    assert_close(tuple(params), tuple(exact_params))
    if momentum:
        assert_close(tuple(buffers), tuple(exact_buffers))


@pytest.mark.parametrize("name", ["adam_step", "adamw_step"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_the_reference(name, weight_decay):
    params, m, v = state(0), zeros(), zeros()
    exact = double(params), double(m), double(v)
    for step in range(1, 5):
        grads = state(step)
        options = dict(step=step, lr=0.01, beta1=0.8, beta2=0.99, eps=1e-6, weight_decay=weight_decay)
        getattr(kernels, name)(params, grads, m, v, **options)
        getattr(reference, name)(exact[0], double(grads), exact[1], exact[2], **options)
    for actual, expected in zip((params, m, v), exact, strict=True):
        assert_close(tuple(actual), tuple(expected))


def test_late_steps_need_no_correction():
    params, grads = [np.ones(3, np.float32)], [np.ones(3, np.float32)]
    m, v = [np.ones(3, np.float32)], [np.ones(3, np.float32)]
    kernels.adam_step(params, grads, m, v, step=10**9, lr=0.5, eps=0.0)
    assert_close(params[0], np.full(3, 0.5))


def test_without_momentum_the_buffers_are_left_alone():
    params, buffers = [np.ones(3, np.float32)], [np.full(3, np.nan, np.float32)]
    kernels.sgd_step(params, [np.ones(3, np.float32)], buffers, lr=0.5)
    assert_close(params[0], np.full(3, 0.5))


def test_nothing_to_update():
    kernels.sgd_step([], [], lr=0.1)
    kernels.adam_step([], [], [], [], step=1, lr=0.1)


def test_gradients_may_be_views():
    params, gradient = [np.zeros((3, 2), np.float32)], randn(2, 3).T
    kernels.sgd_step(params, [gradient], lr=1.0)
    assert_close(params[0], -gradient)


def test_float64_runs_too():
    params = [np.ones(2)]
    kernels.sgd_step(params, [np.ones(2)], lr=0.25)
    assert params[0].tolist() == [0.75, 0.75]


def one():
    return [np.zeros(3, np.float32)]


READ_ONLY = np.zeros(3, np.float32)
READ_ONLY.flags.writeable = False
MISTAKES = [
    (lambda: kernels.sgd_step(one(), [], lr=0.1), ValueError, "grads has 0 arrays for 1 params"),
    (
        lambda: kernels.sgd_step(one(), [np.zeros(4, np.float32)], lr=0.1),
        ValueError,
        r"params\[0\]  \(3,\)\n  grads\[0\]   \(4,\)",
    ),
    (lambda: kernels.sgd_step(one(), one(), lr=-0.1), ValueError, "lr must be at least 0, got -0.1"),
    (lambda: kernels.sgd_step(one(), one(), lr=float("nan")), ValueError, "lr must be at least 0, got nan"),
    (lambda: kernels.sgd_step(one(), one(), lr=0.1, momentum=0.9), ValueError, "needs momentum_buffers"),
    (
        lambda: kernels.sgd_step(one(), one(), lr=0.1, nesterov=True),
        ValueError,
        "nesterov=True needs a momentum",
    ),
    (
        lambda: kernels.sgd_step(one(), one(), lr=0.1, weight_decay=-1),
        ValueError,
        "weight_decay must be at least 0",
    ),
    (
        lambda: kernels.sgd_step([[0.0]], one(), lr=0.1),
        TypeError,
        r"params\[0\] must be a float32 array, got list",
    ),
    (
        lambda: kernels.sgd_step(one(), [np.zeros(3, int)], lr=0.1),
        TypeError,
        r"grads\[0\] must be a float32 array",
    ),
    (lambda: kernels.sgd_step(one(), [None], lr=0.1), TypeError, r"grads\[0\] .* got NoneType"),
    (lambda: kernels.sgd_step(one(), [np.zeros(3)], lr=0.1), TypeError, "are mixed"),
    (
        lambda: kernels.sgd_step([READ_ONLY], one(), lr=0.1),
        ValueError,
        "updated in place and must be a writable",
    ),
    (
        lambda: kernels.sgd_step([np.zeros(6, np.float32)[::2]], one(), lr=0.1),
        ValueError,
        "must be a writable, C-contiguous array",
    ),
    (
        lambda: kernels.adam_step(one(), one(), one(), one(), step=0, lr=0.1),
        ValueError,
        "step must be at least 1",
    ),
    (
        lambda: kernels.adam_step(one(), one(), one(), one(), step=1.5, lr=0.1),
        TypeError,
        "step must be an integer",
    ),
    (
        lambda: kernels.adam_step(one(), one(), one(), one(), step=1, lr=0.1, beta1=1.0),
        ValueError,
        "beta1 must be at least 0 and below 1, got 1",
    ),
    (lambda: kernels.adamw_step(one(), one(), [], one(), step=1, lr=0.1), ValueError, "m has 0 arrays"),
    (
        lambda: kernels.adamw_step(one(), one(), one(), one(), step=1, lr=0.1, eps=-1),
        ValueError,
        "eps must be",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
