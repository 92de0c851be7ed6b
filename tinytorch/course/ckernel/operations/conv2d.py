"""conv2d: images convolved with weights, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.kernels import lessons, reference
from tinytorch.kernels.conv import Window
from tinytorch.kernels.reference.activation import activate

from .operation import (
    UNIT,
    Arguments,
    Call,
    Case,
    Mistake,
    Operation,
    Opponent,
    doubled,
    named,
    normal,
    whole,
)

SIZES = ("n", "c", "h", "w", "o", "kh", "kw", "stride", "padding")
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1, 1, 0), (1, 1, 4, 5, 1, 2, 3, 1, 0), (1, 1, 5, 4, 1, 3, 3, 1, 1),
    (1, 2, 5, 7, 3, 2, 3, 1, 0), (2, 3, 6, 5, 4, 3, 2, 2, 1), (1, 1, 3, 3, 2, 3, 3, 1, 2),
    (3, 2, 9, 8, 5, 1, 1, 3, 0), (1, 4, 17, 19, 9, 3, 3, 1, 1), (2, 3, 13, 33, 8, 5, 5, 2, 2),
    (0, 2, 5, 5, 3, 3, 3, 1, 1), (2, 0, 4, 5, 3, 3, 3, 1, 1), (2, 2, 5, 5, 0, 3, 3, 1, 1),
]  # fmt: skip


def _output_size(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> tuple[int, ...]:
    spans = [(x.shape[axis] + 2 * padding - w.shape[axis]) // stride + 1 for axis in (2, 3)]
    return x.shape[0], w.shape[0], *spans


def arguments(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> Arguments:
    Window("conv2d", stride, padding, 1, 1).output_shape("conv2d", x.shape, w.shape)  # or it raises
    y = np.empty(_output_size(x, w, stride, padding), np.float32)
    return x, w, y, *x.shape, w.shape[0], *w.shape[2:], stride, padding


def cases() -> Iterator[Case]:
    for shape in SHAPES:
        n, c, h, width, o, kh, kw, stride, padding = shape
        operands = whole(n, c, h, width), whole(o, c, kh, kw, seed=1), stride, padding
        yield Case(named(**dict(zip(SIZES, shape, strict=True))), operands)
    x, w = normal(2, 5, 11, 9), normal(6, 5, 3, 3, seed=1)
    yield Case("n=2, c=5, h=11, w=9, o=6, kh=kw=3, stride=1, padding=1, not whole", (x, w, 1, 1), exact=False)
    x, w = normal(1, 2, 6, 7), normal(3, 2, 3, 3, seed=1)
    x[0, 0, 2, 3], x[0, 1, 5, 6], w[1, 0] = np.nan, np.inf, 0
    yield Case(
        "n=1, c=2, h=6, w=7, o=3, kh=kw=3, with NaN and infinities", (x, w, 1, 0), exact=False, special=True
    )


def expected(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x, w = doubled(x, w)
    with np.errstate(invalid="ignore"):
        return reference.conv2d(x, w, stride=(stride, stride), padding=(padding, padding))


def tolerance(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    terms = max(w[0].size, 1) if len(w) else 1
    return 2 * terms * UNIT * expected(np.abs(x), np.abs(w), stride, padding) + 1e-30


def _no_padding(x: np.ndarray, w: np.ndarray, stride: int, padding: int, **_: Any) -> np.ndarray:
    """Windows that start at (oh * stride, ow * stride), and leave the image at its far end only."""
    shifted = np.zeros((*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding), np.float64)
    shifted[:, :, : x.shape[2], : x.shape[3]] = x
    return expected(shifted, w, stride, 0)


MISTAKES = (
    Mistake(
        "the kernel is turned round: the tap (r, s) meets x at (oh * stride + r - padding, ...), "
        "not at minus r",
        lambda x, w, stride, padding, **_: expected(x, w[:, :, ::-1, ::-1], stride, padding),
    ),
    Mistake("padding is not subtracted: the window starts at oh * stride - padding", _no_padding),
    Mistake(
        "only one of the c channels is in the sum: add over all of them",
        lambda x, w, stride, padding, **_: expected(x[:, -1:], w[:, -1:], stride, padding),
    ),
    Mistake(
        "only the first of the c channels is in the sum: add over all of them",
        lambda x, w, stride, padding, **_: expected(x[:, :1], w[:, :1], stride, padding),
    ),
    Mistake(
        "w is read as if its first two axes were (c, o): its element is w[((o * c + ch) * kh + r) * kw + s]",
        lambda x, w, stride, padding, **_: expected(
            x, w.reshape(w.shape[1], w.shape[0], *w.shape[2:]).swapaxes(0, 1), stride, padding
        ),
    ),
)


def race_operands(n: int, c: int, h: int, w: int, o: int, kh: int, kw: int) -> Arguments:
    return normal(n, c, h, w), normal(o, c, kh, kw, seed=1), 1, 0


def work(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> tuple[float, float]:
    outputs = float(np.prod(_output_size(x, w, stride, padding)))
    return 2 * outputs * w[0].size, 4 * (x.size + w.size + outputs)


def opponents(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> list[Opponent]:
    y = kernels.empty(_output_size(x, w, stride, padding))
    return [
        Opponent("plain loop", lambda: lessons.conv2d[0](x, w, out=y, stride=stride, padding=padding)),
        Opponent("TinyTorch", lambda: kernels.conv2d(x, w, stride=stride, padding=padding)),
    ]


def replacement(call: Call) -> Callable[..., np.ndarray]:
    """Brings what the C function does not know (bias, activation, groups, dilation, steps that differ for
    height and width) down to what it knows."""

    def one_group(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
        if dilation != (1, 1):
            spans = [(size - 1) * d + 1 for size, d in zip(w.shape[2:], dilation, strict=True)]
            spread = np.zeros((*w.shape[:2], *spans), np.float32)
            spread[:, :, :: dilation[0], :: dilation[1]] = w
            w = spread
        if padding[0] != padding[1]:
            x, padding = reference.conv.pad2d(x, padding), (0, 0)
        if stride[0] != stride[1]:
            return call(x, w, 1, padding[0])[:, :, :: stride[0], :: stride[1]]
        return call(x, w, stride[0], padding[0])

    def conv2d(
        x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None, stride: Any = (1, 1),
        padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1, activation: str | None = None,
    ) -> np.ndarray:  # fmt: skip
        parts = zip(np.split(x, groups, axis=1), np.split(w, groups), strict=True)
        ys = [one_group(*part, stride, padding, dilation) for part in parts]
        y = ys[0] if groups == 1 else np.concatenate(ys, axis=1)
        if bias is not None:
            y = y + bias[:, None, None]
        return activate(y, activation)

    return conv2d


CONV2D = Operation(
    name="conv2d",
    prototype=(
        "void conv2d(const float *x, const float *w, float *y, "
        "int n, int c, int h, int wd, int o, int kh, int kw, int stride, int padding)"
    ),
    about=(
        "conv2d: y = x convolved with w (not turned round, as in all deep learning). x is (n, c, h, wd),\n"
        "w is (o, c, kh, kw), y is (n, o, oh, ow) with oh = (h + 2 * padding - kh) / stride + 1, and ow\n"
        "likewise. Around x lie `padding` rows and columns of zeros, which are not stored. y holds\n"
        "anything at first; n, c and o may be 0."
    ),
    stub=(
        "int oh = (h + 2 * padding - kh) / stride + 1, ow = (wd + 2 * padding - kw) / stride + 1;\n"
        "for (int i = 0; i < n * o * oh * ow; i++)\n"
        "    y[i] = 0;  /* the sum over channels ch < c and taps r < kh, s < kw */"
    ),
    arguments=arguments,
    cases=cases,
    expected=expected,
    tolerance=tolerance,
    mistakes=MISTAKES,
    replacement=replacement,
    race_sizes={"n": 8, "c": 16, "h": 34, "w": 34, "o": 32, "kh": 3, "kw": 3},
    race_operands=race_operands,
    work=work,
    opponents=opponents,
)
