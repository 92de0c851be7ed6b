"""Pooling: values by hand, gradients in float64, what is refused. Agreement with PyTorch: test_spatial.py."""

import numpy as np
import pytest

import tinytorch.nn.functional as F
from tests.test_spatial import check_gradients, zeros
from tinytorch.pooling import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool2d,
)
from tinytorch.tensor import Tensor


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


@pytest.mark.parametrize("pool", [MaxPool2d, AvgPool2d])
@pytest.mark.parametrize("window", [(2,), (3, 2), (2, 1), ((2, 3), None, 1), (3, 2, 1)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_gradients_of_windows(pool, window, ceil_mode):
    check_gradients(pool(*window, ceil_mode=ceil_mode), 2, 2, 5, 6)


@pytest.mark.parametrize(
    "layer",
    [
        MaxPool2d(2, dilation=2),
        MaxPool2d((2, 3), 1, 1, dilation=(1, 2)),
        AvgPool2d(3, 2, 1, count_include_pad=False),
        AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        GlobalAvgPool2d(),
        GlobalMaxPool2d(),
        AdaptiveAvgPool2d((5, 2)),
        AdaptiveAvgPool2d((2, 4)),
        AdaptiveAvgPool2d((None, 7)),
        AdaptiveMaxPool2d((2, 4)),
        AdaptiveMaxPool2d(4),
    ],
    ids=repr,
)
def test_gradients(layer):
    check_gradients(layer, 2, 2, 5, 6)


def test_values():
    x = Tensor(np.arange(16).reshape(1, 1, 4, 4).astype(np.float32))
    assert MaxPool2d(2)(x).data.tolist() == [[[[5, 7], [13, 15]]]]
    assert MaxPool2d(2, 1, dilation=3)(x).data.tolist() == [[[[15]]]]
    assert MaxPool2d(3, ceil_mode=True)(x).data.tolist() == [[[[10, 11], [14, 15]]]]
    assert AvgPool2d(2)(x).data.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert AvgPool2d(2, padding=1)(Tensor(np.ones((1, 1, 2, 2)))).data.tolist() == [[[[0.25] * 2] * 2]]
    inside = AvgPool2d(2, padding=1, count_include_pad=False)
    assert inside(Tensor(np.ones((1, 1, 2, 2)))).data.tolist() == [[[[1] * 2] * 2]]
    assert GlobalAvgPool2d()(x).data.tolist() == [[[[7.5]]]] and GlobalMaxPool2d()(x).item() == 15
    assert AdaptiveAvgPool2d((3, 1))(x).data.ravel().tolist() == [3.5, 7.5, 11.5]
    assert AdaptiveMaxPool2d((None, 3))(x).shape == (1, 1, 4, 3)


@pytest.mark.parametrize(
    "layer", [MaxPool2d(2), MaxPool2d(2, ceil_mode=True), GlobalMaxPool2d(), AdaptiveMaxPool2d(1)], ids=repr
)
def test_first_maximum_gets_the_gradient(layer):
    x = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


@pytest.mark.parametrize(
    "layer", [MaxPool2d(2), MaxPool2d(2, dilation=2, stride=2), AdaptiveMaxPool2d(3)], ids=repr
)
def test_nan_wins_and_stays_in_its_windows(layer):
    x = np.zeros((1, 1, 8, 8), np.float32)
    x[0, 0, 2, 2] = np.nan
    y = layer(Tensor(x)).data
    assert np.isnan(y).any() and not np.isnan(y).all()


def test_integers_are_pooled_as_floats():
    x = Tensor(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4))
    assert AvgPool2d(2)(x).dtype == MaxPool2d(2, dilation=2)(x).dtype == np.float32
    assert AdaptiveAvgPool2d(3)(x).dtype == AdaptiveMaxPool2d(3)(x).dtype == np.float32


MISUSE = {
    "no batch axis": (lambda: MaxPool2d(2)(zeros(3, 4, 4)), r"MaxPool2d.*4-D.*unsqueeze"),
    "two axes": (lambda: AvgPool2d(2)(zeros(4, 4)), "AvgPool2d.*4-D"),
    "an array": (lambda: F.max_pool2d(np.zeros((1, 1, 4, 4)), 2), "got ndarray; wrap it"),
    "no window": (lambda: AvgPool2d(0), "AvgPool2d: kernel_size must be whole and at least 1"),
    "backwards": (lambda: MaxPool2d(2, stride=-1), "MaxPool2d: stride must be whole and at least 1"),
    "negative padding": (lambda: MaxPool2d(2, padding=-1), "padding must be whole and at least 0"),
    "too much padding": (lambda: MaxPool2d(2, padding=2)(zeros(1, 1, 4, 4)), "more than half"),
    "too much padding, inside": (
        lambda: AvgPool2d(2, padding=2, count_include_pad=False)(zeros(1, 1, 4, 4)), "more than half"
    ),
    "a window too large": (lambda: MaxPool2d(5)(zeros(1, 1, 4, 4)), "does not fit"),
    "too much dilation": (lambda: MaxPool2d(2, dilation=4)(zeros(1, 1, 4, 4)), "of height 5 does not fit"),
    "no dilation": (lambda: MaxPool2d(2, dilation=0), "dilation must be whole and at least 1"),
    "no output": (lambda: AdaptiveAvgPool2d(0), "output_size must be whole and at least 1"),
    "an output of three sizes": (lambda: AdaptiveMaxPool2d((1, 2, 3)), r"a number or \(height, width\)"),
    "images without pixels": (lambda: GlobalAvgPool2d()(zeros(1, 1, 0, 4)), "without pixels"),
    "a vector": (lambda: GlobalMaxPool2d()(zeros(4)), "GlobalMaxPool2d.*4-D"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake()
