"""Lab 17, quantization: what the student's observer, quantizers and integer layer have to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.course.checks import Lab, choice, close, expect, same
from tinytorch.course.failures import CheckFailed
from tinytorch.course.subject import Subject

lab = Lab(17, "Quantization: a network in 8-bit integers")

RANGE_HINT = "the range has to hold all that was seen, in every batch, and 0 as well, for padding must stay 0"
POINT_HINT = (
    "`low` becomes the integer 0, so 0.0 becomes -low / scale: round it to an int and keep it in 0 … 255"
)


@lab.add("observer", points=2)
def check_observer(Observer: Subject, *, rng: np.random.Generator) -> None:
    """An observer finds scale and zero point from all that it has seen."""
    for shift in (0.0, 3.0, -3.0):  # around 0, all above it, all below it
        observer = Observer()
        batches = [rng.standard_normal((4, 5)).astype(np.float32) * 0.5 + np.float32(shift) for _ in range(3)]
        batches[1] *= 2  # neither the first batch nor the last decides
        for batch in batches:
            observer.observe(batch)
        low = min(0.0, min(float(batch.min()) for batch in batches))
        high = max(0.0, max(float(batch.max()) for batch in batches))
        _check_parameters(observer.parameters(), low, high)
    observer = Observer()
    observer.observe(np.zeros(3, np.float32))
    scale, zero_point = _pair(observer.parameters())
    expect(
        np.isfinite(scale) and scale > 0,
        f"after nothing but zeros the scale is {scale}, and x / scale would be no number",
        "choose any scale above 0, such as 1.0, when high equals low",
    )
    expect(0 <= zero_point <= 255, f"the zero point {zero_point} is not in 0 … 255", POINT_HINT)


def _pair(parameters: Any) -> tuple[float, int]:
    expect(
        isinstance(parameters, tuple) and len(parameters) == 2,
        f"parameters() should give (scale, zero_point), and gives {parameters!r}",
    )
    scale, zero_point = parameters
    expect(
        isinstance(zero_point, (int, np.integer)),
        f"the zero point should be a whole number, and is {zero_point!r}",
        "int(round(…))",
    )
    return scale, zero_point


def _check_parameters(parameters: Any, low: float, high: float) -> None:
    scale, zero_point = _pair(parameters)
    seen = f"for values from {low:.4g} to {high:.4g} (0 included)"
    close(f"the scale {seen}", scale, (high - low) / 255, RANGE_HINT)
    exact = -low / (high - low) * 255
    expect(
        0 <= zero_point <= 255 and abs(zero_point - exact) <= 0.5 + 1e-3,
        f"the zero point {seen} should be {round(exact)}, and is {zero_point}",
        POINT_HINT,
    )


@lab.add("quantize", points=2)
def check_quantize(quantize: Subject, dequantize: Subject, *, rng: np.random.Generator) -> None:
    """Floats become integers: rounded half to even, moved to the zero point, clamped; and come back."""
    halves = np.array([-2.5, -1.5, -0.6, -0.5, 0.0, 0.4, 0.5, 1.5, 2.5], np.float32)
    hint = "round to the nearest, half to even (np.rint); a cast with astype cuts off instead"
    same("quantize of halves", quantize(halves, 1.0, 10, None, "uint8"), _q(halves, 1.0, 10), hint)
    far = np.array([-1e6, -300.0, 0.0, 300.0, 1e6], np.float32)
    hint = "np.clip to the dtype's range before astype, which would wrap around: 256 becomes 0"
    same("quantize of values out of range", quantize(far, 1.0, 100, None, "uint8"), _q(far, 1.0, 100), hint)
    same("quantize to int8", quantize(far, 1.0, -5, None, "int8"), _q(far, 1.0, -5, None, "int8"), hint)

    x = rng.standard_normal((5, 7)).astype(np.float32)
    scale, point = np.float32(rng.uniform(0.01, 0.03)), int(rng.integers(90, 160))
    q = quantize(x, scale, point, None, "uint8")
    same("quantize", q, _q(x, scale, point), "round(x / scale) + zero_point")
    hint = "bytes wrap around when subtracted: widen q first, q.astype(np.int32) - zero_point"
    close("dequantize", dequantize(q, scale, point, None), (q.astype(np.float64) - point) * scale, hint)
    for axis, length in ((0, 5), (1, 7)):
        scales = rng.uniform(0.005, 0.03, length).astype(np.float32)
        points = rng.integers(-20, 20, length).astype(np.int32)
        q = quantize(x, scales, points, axis, "int8")
        hint = "reshape scale and zero_point to 1 everywhere but along `axis`, then they broadcast"
        same(f"quantize with axis={axis}", q, _q(x, scales, points, axis, "int8"), hint)
        wanted = kernels.dequantize(q, scales, points, axis=axis)
        close(f"dequantize with axis={axis}", dequantize(q, scales, points, axis), wanted, hint)


def _q(x: np.ndarray, scale: Any, point: Any, axis: int | None = None, dtype: str = "uint8") -> np.ndarray:
    return kernels.quantize(x, scale, point, axis=axis, dtype=dtype)


@lab.add("quantize_weight", points=2)
def check_quantize_weight(quantize_weight: Subject, *, rng: np.random.Generator) -> None:
    """Weights become int8, symmetric about 0, with a scale for each output column."""
    w = rng.standard_normal((6, 4)).astype(np.float32) * np.array([0.1, 1.0, 30.0, 0.0], np.float32)
    q, scale = _weights(quantize_weight(w), w)
    largest = np.abs(w).max(axis=0)
    hint = (
        "one scale for each output, that is for each column of w (in, out): the largest |w| there, over 127"
    )
    close("the scales of the columns that are not 0", scale[:3], largest[:3] / 127, hint)
    expect(scale[3] > 0, "a column of zeros has scale 0, and 0 / 0 is no number", "take 1.0 as its scale")
    expect((q[:, 3] == 0).all(), "a column of zeros should stay zeros", "")
    expect(
        (np.abs(q[:, :3].astype(int)).max(axis=0) == 127).all(),
        "the largest weight of a column should become 127 or -127",
        hint,
    )
    wrong = np.abs(q * scale.astype(np.float64) - w).max(axis=0) > 0.501 * np.where(scale > 0, scale, 1)
    expect(not wrong.any(), f"column {int(wrong.argmax())} is off by more than half a step", hint)


def _weights(result: Any, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    expect(
        isinstance(result, tuple) and len(result) == 2,
        f"quantize_weight should give (q, scale), and gives {type(result).__name__}",
    )
    q, scale = result
    for name, array, shape, dtype in (("q", q, w.shape, np.int8), ("scale", scale, w.shape[1:], np.float32)):
        same(f"the shape of {name}", np.shape(array), shape, "w is (in, out): one scale for each column")
        expect(
            array.dtype == dtype, f"{name} should be {np.dtype(dtype)}, and is {array.dtype}", "use astype"
        )
    return q, scale


@lab.add("matmul_int8", points=1)
def check_matmul_int8(matmul_int8: Subject, *, rng: np.random.Generator) -> None:
    """The product of 8-bit integers is exact, in int32."""
    hint = "255 · 127 needs 15 bits and a sum of many needs more: widen both to int32 before multiplying"
    for m, k, n in ((1, 1, 1), (3, 5, 2), (4, 300, 7), (2, 0, 3)):
        a = rng.integers(0, 256, (m, k)).astype(np.uint8)
        b = rng.integers(-128, 128, (k, n)).astype(np.int8)
        same(f"the product of ({m}, {k}) and ({k}, {n})", matmul_int8(a, b), kernels.matmul_int8(a, b), hint)
    a, b = np.full((2, 600), 255, np.uint8), np.full((600, 2), -128, np.int8)
    same("the product of extreme values", matmul_int8(a, b), kernels.matmul_int8(a, b), hint)


@lab.add("linear_int8", points=3)
def check_linear_int8(linear_int8: Subject, *, rng: np.random.Generator) -> None:
    """An integer layer: exact sums, scaled once to the next layer's integers."""
    for batch, inputs, outputs, x_point, out_point in (
        (3, 20, 5, 0, 0),
        (2, 33, 4, 37, 0),
        (4, 16, 6, 128, 90),
    ):
        x_q = rng.integers(0, 256, (batch, inputs)).astype(np.uint8)
        w_q = rng.integers(-127, 128, (inputs, outputs)).astype(np.int8)
        w_scale = rng.uniform(0.001, 0.02, outputs).astype(np.float32)
        bias = rng.standard_normal(outputs).astype(np.float32)
        x_scale = float(rng.uniform(0.005, 0.05))
        real = (x_q.astype(np.float64) - x_point) @ w_q * (x_scale * w_scale.astype(np.float64)) + bias
        out_scale = float(np.abs(real).max() / 100)
        got = linear_int8(x_q, x_scale, x_point, w_q, w_scale, bias, out_scale, out_point)
        exact = np.clip(real / out_scale + out_point, 0, 255)
        same("the result's shape", np.shape(got), exact.shape)
        expect(got.dtype == np.uint8, f"the result should be uint8, and is {got.dtype}", "clip, then astype")
        wrong = np.abs(got - exact) > 0.51  # a sum that lies between two integers may go to either
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            _explain(x_point, out_point, where, got[where], exact[where])


def _explain(x_point: int, out_point: int, where: tuple, got: object, exact: float) -> None:
    case = f"with x_zero_point={x_point} and out_zero_point={out_point}"
    hint = "acc · x_scale · w_scale + bias is the real result; quantize it with out_scale, out_zero_point"
    if x_point:
        hint = "x_q stands for (x_q - x_zero_point) · x_scale; the difference needs more than 8 bits"
    raise CheckFailed(f"{case}, result{list(where)} should be {round(exact)}, and is {got}", hint)


@lab.add("calibrate", points=2)
def check_calibrate(calibrate: Subject, *, rng: np.random.Generator) -> None:
    """Calibration gives scale and zero point of the input and of every layer's output."""
    batches = [rng.uniform(-1, 2, (4, 3)).astype(np.float32) for _ in range(3)]
    layers = [lambda x: np.maximum(2 * x, 0), lambda x: x - 5, lambda x: x * x]
    found = calibrate(layers, batches)
    expect(
        isinstance(found, (list, tuple)) and len(found) == len(layers) + 1,
        f"calibrate of {len(layers)} layers should give {len(layers) + 1} pairs (scale, zero_point), "
        f"and gives {len(found) if isinstance(found, (list, tuple)) else found!r}",
        "one for the input, and one for the output of each layer",
    )
    values = batches
    for place, pair in enumerate(found):
        low = min(0.0, min(float(value.min()) for value in values))
        high = max(0.0, max(float(value.max()) for value in values))
        try:
            _check_parameters(pair, low, high)
        except CheckFailed as error:
            where = f"the output of layer {place - 1}" if place else "the input"
            hint = "a layer sees what the one before gave"
            raise CheckFailed(f"{where}: {error.problem}", hint) from None
        if place < len(layers):
            values = [layers[place](value) for value in values]


@lab.add("gap", points=1)
def check_gap(gap: str) -> None:
    """What decides a wide layer's time at batch 1."""
    hint = "divide the operations of a layer at batch 1 by the bytes of its weights: how many for each byte?"
    choice(gap, "b", hint)
