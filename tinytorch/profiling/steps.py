"""Where the time of a training step goes: forward, backward, optimizer, and layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinytorch import intervals, timing
from tinytorch.autograd.engine import Function, topological_order
from tinytorch.module import Module
from tinytorch.profiling.watching import LayerCall, watch
from tinytorch.quantities import Measured
from tinytorch.tensor import Tensor


@dataclass(frozen=True)
class LayerTime:
    """Median seconds of one layer in a step, layers inside it left out."""

    name: str
    kind: str
    forward: Measured | None
    backward: Measured | None

    @property
    def seconds(self) -> float:
        """Both passes together."""
        return sum(half.value for half in (self.forward, self.backward) if half is not None)


@dataclass
class StepProfile:
    """Where the time of one training step goes.

    Attributes
    ----------
    phases : dict
        ``forward`` (with the loss), ``backward``, ``optimizer``: seconds, measured without watching layers.
    whole : seconds for all three
    layers : list of LayerTime
        Measured in further steps, with layers watched.
    samples : dict
        Every sample of `phases`.
    """

    phases: dict[str, Measured]
    whole: Measured
    layers: list[LayerTime] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class TrainingStep:
    """All that one step needs."""

    model: Module
    loss_fn: Callable[[Any, Any], Tensor]
    optimizer: Any
    x: Any
    target: Any

    def update(self) -> None:
        """Move the parameters and forget the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad()


def profile_step(
    model: Module,
    loss_fn: Callable[[Any, Any], Tensor],
    optimizer: Any,
    x: Any,
    target: Any,
    *,
    steps: int = 10,
    group: Callable[[str], str] = str,
    confidence: float = intervals.CONFIDENCE,
) -> StepProfile:
    """Train a few steps on one batch and measure where their time goes.

    Parameters
    ----------
    model, loss_fn, optimizer
        As a `Trainer` takes them. The model is trained by this.
    x, target
        One batch.
    steps : int
        Steps measured, after two that are not; then as many again with layers watched.
    group : function
        Layer's name → name under which it is added up with others.
    """
    if steps < 1:
        raise ValueError(f"profile_step: steps must be at least 1, got {steps}")
    step = TrainingStep(model, loss_fn, optimizer, x, target)
    samples: dict[str, list[float]] = {"forward": [], "backward": [], "optimizer": []}
    for number in range(steps + 2):
        marks = [time.perf_counter()]
        loss = loss_fn(model(x), target)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        step.update()
        marks.append(time.perf_counter())
        if number >= 2:
            for name, seconds in zip(samples, np.diff(marks), strict=True):
                samples[name].append(float(seconds))
    phases = {name: timing.measured(seconds, "s", confidence) for name, seconds in samples.items()}
    whole = timing.measured(np.sum(list(samples.values()), axis=0), "s", confidence)
    return StepProfile(phases, whole, _profile_layers(step, steps, group, confidence), samples)


def _profile_layers(
    step: TrainingStep, steps: int, group: Callable[[str], str], confidence: float
) -> list[LayerTime]:
    """Run `steps` steps with layers watched, and their nodes' backward timed."""
    kinds: dict[str, str] = {"loss": "loss"}
    history: dict[str, list[list[float]]] = {}  # for each layer and step, seconds forward and backward
    for _ in range(steps):
        seconds: dict[str, list[float]] = {}
        owners: dict[Function, str] = {}
        outside: list[set] = []  # for each layer that is running, the nodes of its inputs

        def enter(inputs: tuple, outside: list = outside) -> None:
            outside.append({getattr(value, "_grad_fn", None) for value in inputs})

        def see(
            call: LayerCall, seconds: dict = seconds, owners: dict = owners, outside: list = outside
        ) -> None:
            name = group(call.name)
            kinds[name] = type(call.module).__name__
            seconds.setdefault(name, [0.0, 0.0])[0] += call.seconds
            claim(call.output, name, owners, outside.pop())

        with watch(step.model, see, enter):
            output = step.model(step.x)
        start = time.perf_counter()
        loss = step.loss_fn(output, step.target)
        seconds["loss"] = [time.perf_counter() - start, 0.0]
        for node in topological_order(last_node(loss)):
            _time_backward(node, seconds[owners.get(node, "loss")])
        loss.backward()
        step.update()
        for name, both in seconds.items():
            history.setdefault(name, []).append(both)
    return [
        LayerTime(name, kinds[name], *(_measured(column, confidence) for column in zip(*both, strict=True)))
        for name, both in history.items()
    ]


def _measured(samples: Sequence[float], confidence: float) -> Measured | None:
    """None for a layer without such a pass: it took no time at all."""
    return timing.measured(samples, "s", confidence) if min(samples) > 0 else None


def claim(output: Any, name: str, owners: dict[Function, str], outside: set) -> None:
    """Give a layer the nodes that lead from its inputs to its output and belong to no layer inside it."""
    waiting = [getattr(output, "_grad_fn", None)]
    seen = set(outside)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function) and node not in seen:
            seen.add(node)
            owners.setdefault(node, name)
            waiting.extend(node.next_functions or ())


def last_node(loss: Tensor) -> Function:
    """The last operation of the graph."""
    if not isinstance(loss._grad_fn, Function):
        raise ValueError("the loss does not depend on any parameter, so there is nothing to train")
    return loss._grad_fn


def _time_backward(node: Function, seconds: list[float]) -> None:
    gradients = node._gradients

    def timed(grad: np.ndarray) -> tuple:
        start = time.perf_counter()
        result = gradients(grad)
        seconds[1] += time.perf_counter() - start
        return result

    node._gradients = timed  # type: ignore[method-assign]
