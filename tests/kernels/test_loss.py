"""cross_entropy and its gradient against the reference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel


@given(
    rows=st.integers(1, 40), classes=st.integers(1, 40), smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    ignored=st.booleans(), dtype=st.sampled_from([np.int64, np.int32, np.uint8]),
)  # fmt: skip
def test_cross_entropy_is_the_reference(rows, classes, smoothing, ignored, dtype):
    logits = 4 * randn(rows, classes)
    targets = np.random.default_rng(rows).integers(0, classes, rows)
    ignore = int(targets[0]) if ignored else -100
    if (targets == ignore).all():
        ignore = -100
    options = dict(ignore_index=ignore, label_smoothing=smoothing)
    exact = logits.astype(np.float64)
    loss = kernels.cross_entropy(logits, targets.astype(dtype), **options)
    assert isinstance(loss, float)
    assert loss == pytest.approx(reference.cross_entropy(exact, targets, **options), rel=1e-5, abs=1e-6)
    assert_close(
        kernels.cross_entropy_backward(2.0, logits, targets.astype(dtype), **options),
        reference.cross_entropy_backward(2.0, exact, targets, **options),
    )


@pytest.mark.parametrize("classes", [2, 10, 100, 3000])
def test_it_is_close_to_float64(classes):
    logits, targets = 20 * randn(9, classes), np.arange(9) % classes
    exact = reference.cross_entropy(logits.astype(np.float64), targets)
    assert abs(kernels.cross_entropy(logits, targets) - exact) <= 1e-6 * max(1, exact)


def test_the_gradient_is_written_where_it_is_told():
    logits, targets = randn(6, 40), np.arange(6)
    expected = kernels.cross_entropy_backward(1.0, logits, targets)
    out = np.full_like(logits, np.nan)
    assert kernels.cross_entropy_backward(1.0, logits, targets, out=out) is out and (out == expected).all()
    assert kernels.cross_entropy_backward(1.0, logits, list(targets), out=out) is out
    assert (out == expected).all()
    assert kernels.cross_entropy_backward(1.0, logits, targets, out=logits) is logits
    assert (logits == expected).all()
    with pytest.raises(ValueError, match="out must have the shape of the result"):
        kernels.cross_entropy_backward(1.0, logits, targets, out=np.empty(3, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_reach_the_loss(bad):
    logits = randn(3, 4)
    logits[1, 2] = bad
    assert math.isnan(kernels.cross_entropy(logits, [0, 1, 2]))
    assert np.isnan(kernels.cross_entropy_backward(1.0, logits, np.array([0, 1, 2]))[1]).all()


def test_a_certain_answer_costs_nothing_and_an_impossible_one_infinity():
    logits = np.array([[0, -np.inf]], np.float32)
    assert kernels.cross_entropy(logits, [0]) == 0
    assert kernels.cross_entropy(logits, [1]) == math.inf


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]], np.float32)
    assert kernels.cross_entropy(logits, [0, 0]) == pytest.approx(5000)


def test_nothing_left_to_average_is_nan():
    assert math.isnan(kernels.cross_entropy(randn(2, 3), [-100, -100]))
    assert not kernels.cross_entropy_backward(1.0, randn(2, 3), [-100, -100]).any()
    assert math.isnan(kernels.cross_entropy(np.ones((0, 3)), np.ones(0, int)))


def test_an_ignored_row_may_hold_nan():
    logits = randn(3, 4)
    expected = kernels.cross_entropy(logits[1:], [1, 2])
    logits[0] = np.nan
    assert kernels.cross_entropy(logits, [-100, 1, 2]) == pytest.approx(expected)


def test_float64_is_more_accurate():
    logits = randn(3, 4).astype(np.float64)
    assert kernels.cross_entropy_backward(1.0, logits, [0, 1, 2]).dtype == np.float64


LOGITS = randn(4, 3)
MISTAKES = [
    (
        lambda: kernels.cross_entropy(LOGITS, [0, 1, 3, 0]),
        ValueError,
        r"target 3 in row 2 is not a class; logits \(4, 3\) have classes 0 ... 2",
    ),
    (lambda: kernels.cross_entropy(LOGITS, [0, -1, 0, 0]), ValueError, "target -1 in row 1 is not a class"),
    (lambda: kernels.cross_entropy_backward(1.0, LOGITS, [0, 1, 3, 0]), ValueError, "target 3 in row 2"),
    (lambda: kernels.cross_entropy(LOGITS, [0.0, 1.0, 2.0, 0.0]), TypeError, "targets must be integers"),
    (
        lambda: kernels.cross_entropy(LOGITS, [True, False, True, False]),
        TypeError,
        "targets must be integers",
    ),
    (
        lambda: kernels.cross_entropy(LOGITS, np.eye(4, 3, dtype=int)),
        ValueError,
        r"become them by argmax\(axis=1\)",
    ),
    (lambda: kernels.cross_entropy(LOGITS, [0, 1, 2]), ValueError, "4 is not 3"),
    (lambda: kernels.cross_entropy(LOGITS[0], [0]), ValueError, r"logits must have 2 axes \(N, C\)"),
    (
        lambda: kernels.cross_entropy(LOGITS, [0, 1, 2, 0], label_smoothing=1.5),
        ValueError,
        "label_smoothing must be",
    ),
    (
        lambda: kernels.cross_entropy(LOGITS, [0, 1, 2, 0], ignore_index=0.5),
        TypeError,
        "ignore_index must be an integer",
    ),
    (
        lambda: kernels.cross_entropy_backward(LOGITS, LOGITS, [0, 1, 2, 0]),
        TypeError,
        "dy must be one number",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
