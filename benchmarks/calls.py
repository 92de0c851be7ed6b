"""What a call costs when the arithmetic is next to nothing: recording, checking, allocating."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels
from tinytorch.activations import relu
from tinytorch.tensor import Tensor

SIDE = 8


def cases(threads: int) -> Iterator[Case]:
    """Operations on 8 x 8 tensors that need gradients, the way back, and the kernels beneath."""
    torch: Any = peers.torch
    yield _operation("a + b", lambda a, b: a + b)
    yield _operation("a * b", lambda a, b: a * b)
    yield _operation("a @ b", lambda a, b: a @ b)
    yield _operation("relu(a)", lambda a, b: relu(a), lambda a, b: torch.relu(a))
    yield _operation(
        "relu(a @ b + a).sum(), backward", _there_and_back(relu), _there_and_back(lambda x: torch.relu(x))
    )
    yield _matmul()
    yield _relu()


def _there_and_back(relu: Any) -> Callable:
    def run(a: Any, b: Any) -> object:
        relu(a @ b + a).sum().backward()
        a.grad = b.grad = None
        return None

    return run


def _operation(name: str, ours: Callable, theirs: Callable | None = None) -> Case:
    a, b = _matrices()
    tensors = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    calls: dict[str, Call] = {}
    if peers.torch:
        peer, leaves = theirs or ours, [peers.torch.from_numpy(x).requires_grad_() for x in (a, b)]
        calls["PyTorch"] = lambda: peer(*leaves)
    return Case("call", name, lambda: ours(*tensors), calls)


def _matmul() -> Case:
    a, b = _matrices()
    calls: dict[str, Call] = {"NumPy": lambda: np.matmul(a, b)}
    if peers.torch:
        torch, tensors = peers.torch, [peers.torch.from_numpy(x) for x in (a, b)]
        calls["PyTorch"] = lambda: torch.mm(*tensors)
    return Case("call", "kernels.matmul", lambda: kernels.matmul(a, b), calls)


def _relu() -> Case:
    x, _ = _matrices()
    calls: dict[str, Call] = {"NumPy": lambda: np.maximum(x, 0)}
    if peers.torch:
        torch, tensor = peers.torch, peers.torch.from_numpy(x)
        calls["PyTorch"] = lambda: torch.relu(tensor)
    return Case("call", "kernels.relu", lambda: kernels.relu(x), calls)


def _matrices() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, SIDE, SIDE), dtype=np.float32)
    return a, b
