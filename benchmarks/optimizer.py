"""Optimizer steps on one parameter or a model's many, against PyTorch's fused steps, called directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels

MODELS = (  # parameters, elements of each
    (1, 1_000), (40, 1_000), (1, 1_000_000), (100, 10_000), (1, 10_000_000), (100, 100_000),
)  # fmt: skip
DECAY, RATE, MOMENTUM = 0.01, 1e-3, 0.9


def cases(threads: int) -> Iterator[Case]:
    """Each step at each size; both sides update arrays of their own, in place."""
    for count, size in MODELS:
        yield _adamw(_arrays(count, size, 4))
        yield _sgd(_arrays(count, size, 3))


def _adamw(lists: list[list[np.ndarray]]) -> Case:
    return _case(
        "adamw_step",
        lists,
        lambda: kernels.adamw_step(*lists, step=10, lr=RATE, weight_decay=DECAY),
        _fused_adamw,
    )


def _sgd(lists: list[list[np.ndarray]]) -> Case:
    return _case(
        "sgd_step",
        lists,
        lambda: kernels.sgd_step(*lists, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY),
        _fused_sgd,
    )


def _arrays(count: int, size: int, kinds: int) -> list[list[np.ndarray]]:
    """Parameters, gradients, and what is remembered of them, of which squares must be positive."""
    rng = np.random.default_rng(0)
    values = [[rng.standard_normal(size, dtype=np.float32) for _ in range(count)] for _ in range(2)]
    return [*values, *([np.full(size, 0.01, np.float32) for _ in range(count)] for _ in range(kinds - 2))]


def _case(name: str, lists: list[list[np.ndarray]], ours: Call, theirs: Callable[..., Call]) -> Case:
    """`theirs` makes PyTorch's call from lists of tensors."""
    calls: dict[str, Call] = {}
    if peers.torch:
        calls["PyTorch"] = theirs(*([peers.torch.tensor(array) for array in arrays] for arrays in lists))
    count, size = len(lists[0]), lists[0][0].size
    return Case(name, f"{count} x {size}", ours, calls, read_bytes=4.0 * len(lists) * count * size)


def _fused_adamw(params: Any, grads: Any, m: Any, v: Any) -> Call:
    steps = [peers.torch.tensor(10.0) for _ in params]
    options = {"lr": RATE, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": DECAY}
    return lambda: peers.torch._fused_adamw_(
        params, grads, m, v, [], steps, amsgrad=False, maximize=False, **options
    )


def _fused_sgd(params: Any, grads: Any, buffers: Any) -> Call:
    options = {"lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY, "dampening": 0.0}
    return lambda: peers.torch._fused_sgd_(
        params, grads, buffers, nesterov=False, maximize=False, is_first_step=False, **options
    )
