"""Observers look at numbers as they pass, and choose the range that integers will cover.

A wide range clips nothing but rounds coarsely; a narrow one rounds finely and clips what lies outside. The
observers differ in where they draw that line:

- `MinMaxObserver`: nothing seen is clipped. One outlier can stretch the scale for all.
- `MovingAverageObserver`: a running mean of the batches' smallest and largest: outliers fade.
- `PercentileObserver`: clips a fixed share of the numbers.
- `MSEObserver`: tries many clipping points and keeps the one with the least squared error.

Each works on the whole tensor or, with `axis`, on each channel by itself; asymmetric or, with `symmetric`,
around 0. In an integer product the scale of each output can be taken out of the sum, but not that of each
input: so weights have a scale for each output channel, and activations one for all.

Source: R. Krishnamoorthi, *Quantizing deep convolutional networks for efficient inference*, 2018, section 3;
H. Wu et al., *Integer Quantization for Deep Learning Inference*, 2020, section 5.
"""

from __future__ import annotations

import math

import numpy as np

from .scales import Array, Scale, integer_limits

BINS = 4096  # of a histogram, zero in the middle
CLIPPINGS = np.linspace(1.0, 0.02, 99)  # shares of the seen range that MSEObserver tries


class MinMaxObserver:
    """Remembers the smallest and the largest value that passed, over any number of batches.

    Parameters
    ----------
    axis : int, optional
        Observe each index of this axis by itself.
    symmetric : bool
        Give ranges with 0 in their middle.
    """

    def __init__(self, axis: int | None = None, symmetric: bool = False) -> None:
        self.axis, self.symmetric = axis, symmetric
        self.low: Array | float = np.inf
        self.high: Array | float = -np.inf

    def observe(self, x: Array) -> None:
        """Take in one batch."""
        if x.size == 0:
            return
        low, high = self._extremes(x)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError(
                f"quantization: the values observed, of shape {x.shape}, hold NaN or Inf; "
                "no range covers them. Clean the calibration data, or look where the model diverges."
            )
        self._take(x, low, high)

    def scale(self, dtype: str = "uint8", bits: int = 8) -> Scale:
        """The scale for what was observed."""
        if np.any(np.asarray(self.low) > self.high):
            raise ValueError("quantization: nothing was observed; calibrate with at least one sample")
        low, high = self._range(dtype, bits)
        return Scale.of_range(low, high, dtype, symmetric=self.symmetric, axis=self.axis, bits=bits)

    def _extremes(self, x: Array) -> tuple[Array, Array]:
        if self.axis is None:
            return x.min(), x.max()
        others = tuple(i for i in range(x.ndim) if i != self.axis % x.ndim)
        return x.min(axis=others), x.max(axis=others)

    def _take(self, x: Array, low: Array, high: Array) -> None:
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)

    def _range(self, dtype: str, bits: int) -> tuple[Array | float, Array | float]:
        return self.low, self.high


class MovingAverageObserver(MinMaxObserver):
    """The running mean of each batch's smallest and largest value.

    Parameters
    ----------
    momentum : float
        The share of the newest batch, above 0 and at most 1.
    axis, symmetric
        As for `MinMaxObserver`.
    """

    def __init__(self, momentum: float = 0.1, axis: int | None = None, symmetric: bool = False) -> None:
        super().__init__(axis, symmetric)
        if not 0 < momentum <= 1:
            raise ValueError(f"MovingAverageObserver: momentum must be above 0 and at most 1, got {momentum}")
        self.momentum = momentum

    def _take(self, x: Array, low: Array, high: Array) -> None:
        first = np.any(np.asarray(self.low) > self.high)
        self.low = low if first else self.low + self.momentum * (low - self.low)
        self.high = high if first else self.high + self.momentum * (high - self.high)


class HistogramObserver(MinMaxObserver):
    """Counts values in bins of equal width, a power of two, with 0 between the middle two.

    When a batch reaches beyond them, the width doubles and bins merge in pairs: no count is ever split.
    """

    def __init__(self, axis: int | None = None, symmetric: bool = False) -> None:
        super().__init__(axis, symmetric)
        self._counts = np.zeros((1, BINS), np.int64)
        self._width = 0.0

    def _take(self, x: Array, low: Array, high: Array) -> None:
        super()._take(x, low, high)
        channels = (
            x.reshape(1, -1) if self.axis is None else np.moveaxis(x, self.axis, 0).reshape(len(low), -1)
        )
        if len(self._counts) != len(channels):
            self._counts = np.zeros((len(channels), BINS), np.int64)
        reach = float(max(np.max(np.abs(self.low)), np.max(np.abs(self.high))))
        self._widen(2.0 ** math.ceil(math.log2(max(reach, np.finfo(np.float32).tiny) / (BINS // 2 - 1))))
        bins = np.floor(channels / self._width).astype(np.int64) + BINS // 2
        places = bins + BINS * np.arange(len(channels))[:, None]
        self._counts += np.bincount(places.ravel(), minlength=self._counts.size).reshape(self._counts.shape)

    def _widen(self, width: float) -> None:
        if self._width == 0.0:
            self._width = width
        while self._width < width:
            pairs = self._counts.reshape(len(self._counts), -1, 2).sum(axis=2)
            self._counts = np.pad(pairs, ((0, 0), (BINS // 4, BINS // 4)))
            self._width *= 2

    @property
    def edges(self) -> Array:
        """Where the bins begin and end, (BINS + 1,)."""
        return (np.arange(BINS + 1) - BINS // 2) * self._width

    @property
    def counts(self) -> Array:
        """How many values each bin holds, (channels, BINS); one channel without `axis`."""
        return self._counts

    def _as_range(self, low: Array, high: Array) -> tuple[Array | float, Array | float]:
        return (low, high) if self.axis is not None else (float(low[0]), float(high[0]))


class PercentileObserver(HistogramObserver):
    """The range that leaves out a fixed share of the values: half of it below, half above.

    Parameters
    ----------
    percentile : float
        The share kept, in percent; above 50, at most 100.
    axis, symmetric
        As for `MinMaxObserver`.
    """

    def __init__(self, percentile: float = 99.9, axis: int | None = None, symmetric: bool = False) -> None:
        super().__init__(axis, symmetric)
        if not 50 < percentile <= 100:
            raise ValueError(
                f"PercentileObserver: percentile must be above 50 and at most 100, got {percentile}"
                + (f"; did you mean {100 * percentile:g}?" if 0.5 < percentile <= 1 else "")
            )
        self.percentile = percentile

    def _range(self, dtype: str, bits: int) -> tuple[Array | float, Array | float]:
        outside = (100 - self.percentile) / 200
        below = np.cumsum(self._counts, axis=1) / self._counts.sum(axis=1, keepdims=True)
        low = self.edges[(below > outside).argmax(axis=1)]
        high = self.edges[1:][(below >= 1 - outside).argmax(axis=1)]
        return self._as_range(np.maximum(low, self.low), np.minimum(high, self.high))


class MSEObserver(HistogramObserver):
    """The range, among shares of what was seen, whose integers lie nearest to the values (least squares)."""

    def _range(self, dtype: str, bits: int) -> tuple[Array | float, Array | float]:
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        lows, highs = np.atleast_1d(np.asarray(self.low)), np.atleast_1d(np.asarray(self.high))
        best = [
            self._best_share(centres[counts > 0], counts[counts > 0], low, high, dtype, bits)
            for counts, low, high in zip(self._counts, lows, highs, strict=True)
        ]
        return self._as_range(lows * best, highs * best)

    def _best_share(
        self, values: Array, counts: Array, low: float, high: float, dtype: str, bits: int
    ) -> float:
        scale = Scale.of_range(
            low * CLIPPINGS, high * CLIPPINGS, dtype, symmetric=self.symmetric, axis=0, bits=bits
        )
        step, zero = np.asarray(scale.scale)[:, None], np.asarray(scale.zero_point)[:, None]
        q = np.clip(np.rint(values / step) + zero, *integer_limits(dtype, bits))
        errors = ((step * (q - zero) - values) ** 2 * counts).sum(axis=1)
        return float(CLIPPINGS[errors.argmin()])


OBSERVERS = {
    "minmax": MinMaxObserver,
    "moving average": MovingAverageObserver,
    "percentile": PercentileObserver,
    "mse": MSEObserver,
}


def observer_type(name: str | type[MinMaxObserver]) -> type[MinMaxObserver]:
    """An observer's class by name, or the class itself."""
    if isinstance(name, str):
        if name not in OBSERVERS:
            raise ValueError(
                f"quantization: no observer is called {name!r}; there are {', '.join(OBSERVERS)}"
            )
        return OBSERVERS[name]
    return name


def quantize_weight(
    weight: Array,
    axis: int | None,
    *,
    bits: int = 8,
    observer: str | type[MinMaxObserver] = MinMaxObserver,
) -> tuple[Array, Array]:
    """int8 weights and their float32 scales: symmetric, so that -w has the integer -q.

    Parameters
    ----------
    weight : float32 array
    axis : int or None
        One scale for each index of this axis, or one for all.
    bits : int
        8 uses -127 ... 127, 4 uses -7 ... 7; the array holds int8 all the same.
    observer
        How to choose the ranges.

    Returns
    -------
    q : int8 array, like weight
    scale : float32 array (channels,) or (1,)
    """
    if not np.isfinite(weight).all():
        raise ValueError(
            "quantization: the weights hold NaN or Inf; train again with a smaller learning rate"
        )
    axis = None if axis is None else axis % weight.ndim
    watcher = observer_type(observer)(axis=axis, symmetric=True)
    if weight.size == 0:
        return np.zeros(weight.shape, np.int8), np.ones(1 if axis is None else weight.shape[axis], np.float32)
    watcher.observe(weight)
    scale = watcher.scale("int8", bits)
    most = integer_limits("int8", bits)[1]
    return np.clip(scale.quantize(weight), -most, most), np.atleast_1d(np.asarray(scale.scale, np.float32))
