"""Observers: each draws the range that it says it does, over batches, per tensor and per channel."""

import numpy as np
import pytest

from tinytorch.quantization import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    MSEObserver,
    PercentileObserver,
    Scale,
    quantize_weight,
)

RNG = np.random.default_rng(0)
ALL = [MinMaxObserver, MovingAverageObserver, PercentileObserver, MSEObserver]


def squared_error(scale: Scale, x: np.ndarray) -> float:
    return float(np.mean((scale.round(x) - x) ** 2))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_symmetric_scales_mirror(dtype, bits):
    scale = Scale.of_range(-1.0, 3.0, dtype, symmetric=True, bits=bits)
    x = np.linspace(-3, 3, 301, dtype=np.float32)
    np.testing.assert_array_equal(scale.round(x), -scale.round(-x))
    assert scale.round(np.float32([3]))[0] == pytest.approx(3)
    assert len(np.unique(scale.quantize(x))) == 2**bits - 1


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_bits_are_how_many_integers_there_are(bits):
    for dtype in ("uint8", "int8"):
        scale = Scale.of_range(-1.0, 1.0, dtype, bits=bits)
        q = scale.quantize(np.linspace(-2, 2, 1001, dtype=np.float32))
        assert len(np.unique(q)) == 2**bits


def test_moving_average_is_its_formula():
    observer, low, high = MovingAverageObserver(momentum=0.25), None, None
    for _ in range(5):
        x = RNG.standard_normal(50).astype(np.float32)
        observer.observe(x)
        low = x.min() if low is None else 0.75 * low + 0.25 * x.min()
        high = x.max() if high is None else 0.75 * high + 0.25 * x.max()
    assert (observer.low, observer.high) == (pytest.approx(low), pytest.approx(high))


def test_histograms_lose_no_count_while_they_widen():
    observer, whole = HistogramObserver(), []
    for size in (1e-6, 0.3, 0.2, 50, 1e4):
        x = (size * RNG.standard_normal(777)).astype(np.float32)
        observer.observe(x)
        whole.append(x)
        counts = np.histogram(np.concatenate(whole), observer.edges)[0]
        np.testing.assert_array_equal(observer.counts[0], counts)


@pytest.mark.parametrize("percentile", [90, 99, 100])
def test_percentile_keeps_its_share(percentile):
    x = RNG.standard_normal(20_000).astype(np.float32)
    observer = PercentileObserver(percentile)
    for part in np.split(x, 4):
        observer.observe(part)
    scale = observer.scale()
    low, high = scale.dequantize(np.uint8([0, 255]))
    outside = (100 - percentile) / 2
    assert low == pytest.approx(np.percentile(x, outside), abs=0.03)
    assert high == pytest.approx(np.percentile(x, 100 - outside), abs=0.03)


def test_one_outlier_spoils_minmax_alone():
    x = RNG.standard_normal(10_000).astype(np.float32)
    x[17] = 1000
    scales = {}
    for kind in (MinMaxObserver, PercentileObserver, MSEObserver):
        observer = kind()
        observer.observe(x)
        scales[kind] = observer.scale()
    body = np.delete(x, 17)
    assert squared_error(scales[PercentileObserver], body) < 0.01 * squared_error(
        scales[MinMaxObserver], body
    )
    assert squared_error(scales[MSEObserver], x) <= squared_error(scales[MinMaxObserver], x)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_least_squares_beats_the_others_at_few_bits(bits):
    x = RNG.standard_normal(20_000).astype(np.float32)
    errors = {}
    for kind in ALL:
        observer = kind(symmetric=True)
        observer.observe(x)
        errors[kind] = squared_error(observer.scale("int8", bits), x)
    assert errors[MSEObserver] < 0.8 * errors[MinMaxObserver]
    assert errors[MSEObserver] <= 1.02 * min(errors.values())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_channels_are_observed_one_by_one(kind, symmetric):
    x = (RNG.standard_normal((4, 3, 50)) * np.array([0.1, 1, 30])[:, None]).astype(np.float32)
    observer = kind(axis=1, symmetric=symmetric)
    observer.observe(x[:2])
    observer.observe(x[2:])
    scale = observer.scale("int8")
    assert scale.scale.shape == scale.zero_point.shape == (3,)
    for channel in range(3):
        alone = kind(symmetric=symmetric)
        alone.observe(x[:2, channel])
        alone.observe(x[2:, channel])
        # The bins of a shared histogram are as wide as the widest channel needs.
        assert scale.scale[channel] == pytest.approx(alone.scale("int8").scale, rel=0.25)
    assert not symmetric or not scale.zero_point.any()


def test_channels_of_their_own_are_finer():
    w = (RNG.standard_normal((20, 30)) * np.geomspace(0.01, 1, 30)).astype(np.float32)
    errors = []
    for axis in (1, None):
        q, scale = quantize_weight(w, axis)
        errors.append(np.mean((q * scale - w) ** 2))
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.parametrize("bits, most", [(8, 127), (4, 7), (2, 1)])
def test_weights_of_few_bits(bits, most):
    w = RNG.standard_normal((6, 5)).astype(np.float32)
    q, scale = quantize_weight(w, 1, bits=bits)
    assert np.abs(q).max() == most
    assert np.abs(q * scale - w).max() <= scale.max() * 0.5001
