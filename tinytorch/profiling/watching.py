"""Watching a model's layers while it runs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tinytorch.module import Module


@dataclass
class LayerCall:
    """One layer's run.

    Attributes
    ----------
    inputs, output : what it was given and what it gave
    seconds : without the layers inside it
    start, elapsed : when it began (of `time.perf_counter`) and how long it took, layers inside it included
    """

    name: str
    module: Module
    inputs: tuple
    output: Any
    seconds: float
    start: float
    elapsed: float

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the first input."""
        return getattr(self.inputs[0], "shape", ()) if self.inputs else ()

    @property
    def moved_bytes(self) -> int:
        """Of the arrays and tensors that went in and came out."""
        return sum(_nbytes(value) for value in (*self.inputs, self.output))


@contextmanager
def watch(
    model: Module, see: Callable[[LayerCall], None], enter: Callable[[tuple], None] | None = None
) -> Iterator[None]:
    """Call `see` after each layer of `model` has run (inner layers first) and `enter` with a layer's inputs
    before.
    """
    inner: list[float] = []  # for each layer that is running, the time spent in layers inside it

    def watched(name: str, module: Module, forward: Callable) -> Callable:
        @functools.wraps(forward)
        def run(*args: Any, **kwargs: Any) -> Any:
            entered = time.perf_counter()
            if enter is not None:
                enter(args)
            inner.append(0.0)
            start = time.perf_counter()
            output = forward(*args, **kwargs)
            elapsed = time.perf_counter() - start
            own = elapsed - inner.pop()
            see(LayerCall(name or type(module).__name__, module, args, output, own, start, elapsed))
            if inner:  # what watching costs is nobody's time
                inner[-1] += time.perf_counter() - entered
            return output

        return run

    modules = list(model.named_modules())
    before = [vars(module).get("forward") for _, module in modules]
    try:
        for name, module in modules:
            vars(module)["forward"] = watched(name, module, module.forward)
        yield
    finally:
        for (_, module), forward in zip(modules, before, strict=True):
            if forward is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


def _nbytes(value: Any) -> int:
    """Of an array, or of a tensor's array; 0 for anything else."""
    return int(getattr(getattr(value, "data", value), "nbytes", 0))
