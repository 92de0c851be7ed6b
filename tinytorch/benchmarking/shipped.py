"""The suites that come with TinyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinytorch import acceleration, kernels
from tinytorch.autograd.engine import no_grad
from tinytorch.benchmarking.suites import Suite
from tinytorch.layers import Layer
from tinytorch.models import DigitsCNN, LeNet, MLPClassifier
from tinytorch.spatial import BatchNorm2d
from tinytorch.tensor import Tensor
from tinytorch.timing import Call

Pair = tuple[Call, Call]


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _kernels() -> Suite:
    """Each kernel against the plain loop in C that does the same."""
    suite = Suite("kernels")
    for name, operation, size in (
        ("matmul 128", "matmul", 128),
        ("conv2d 16×16, 32 to 32 channels", "conv2d", 16),
        ("attention, 4 heads, 128 tokens", "attention", 128),
    ):
        suite.add(name, partial(_ends_of_ladder, operation, size), names=("plain C loop", "kernel"))
    return suite


def _ends_of_ladder(operation: str, size: int) -> Pair:
    rungs = acceleration.ladder(operation, size)
    return rungs["C, plain"], rungs["kernel"]


def _inference() -> Suite:
    """Whole models as they were trained against the same models lowered: folded, fused, packed."""
    suite = Suite("inference")
    for name, make, shape in (
        ("MLP, batch 1", MLPClassifier, (1, 1024)),
        ("MLP, batch 64", MLPClassifier, (64, 1024)),
        ("LeNet, batch 16", LeNet, (16, 1, 32, 32)),
        ("CNN, batch 16", DigitsCNN, (16, 1, 32, 32)),
    ):
        suite.add(name, partial(_lowered, make, shape), names=("layers", "lowered"))
    return suite


def _lowered(make: Callable[[], Layer], shape: tuple[int, ...]) -> Pair:
    model: Any = make()
    model.eval()
    x = _numbers(*shape)
    fast = acceleration.optimize(model)

    def layers() -> Tensor:
        with no_grad():
            return model(Tensor(x))

    return layers, lambda: fast(x)


def _fusion() -> Suite:
    """What is computed in one call against the same in several."""
    suite = Suite("fusion")
    suite.add("bias and ReLU", acceleration.fused_and_separate, names=("three calls", "one call"))
    suite.add("batch norm folded into a convolution", _folded, names=("two layers", "folded"))
    return suite


def _folded() -> Pair:
    x, weight = _numbers(8, 32, 16, 16), _numbers(32, 32, 3, 3)
    norm = BatchNorm2d(32)
    norm.eval()
    folded, bias = acceleration.fold_batch_norm(weight, None, norm)
    plain, packed = kernels.pack(weight), kernels.pack(folded)

    def two() -> np.ndarray:
        with no_grad():
            return norm(Tensor(kernels.conv2d(x, plain, padding=1))).data

    return two, lambda: kernels.conv2d(x, packed, bias, padding=1)


SUITES: dict[str, Callable[[], Suite]] = {
    "kernels": _kernels,
    "fusion": _fusion,
    "inference": _inference,
}


def suite(name: str) -> Suite:
    """A suite that comes with TinyTorch.

    Raises
    ------
    ValueError
        With the names that there are.
    """
    if name not in SUITES:
        raise ValueError(f"suite: there is no suite {name!r}; there are {', '.join(SUITES)}")
    return SUITES[name]()
