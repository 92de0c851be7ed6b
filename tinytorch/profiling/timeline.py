"""A timeline of what runs when: layers, the kernels inside them, backward, the optimizer.

It is written in the Trace Event Format, which chrome://tracing and https://ui.perfetto.dev open.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinytorch import kernels, timing
from tinytorch.autograd.engine import Function, no_grad, topological_order
from tinytorch.module import Module
from tinytorch.profiling.steps import claim, last_node
from tinytorch.profiling.watching import LayerCall, watch
from tinytorch.tensor import Tensor

PHASE, LAYER, KERNEL = "phase", "layer", "kernel"


@dataclass(frozen=True)
class Span:
    """Something that ran: `start` and `seconds` on the clock of `time.perf_counter`."""

    name: str
    category: str
    start: float
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Timeline:
    """Spans that lie inside one another as the calls did."""

    spans: list[Span] = field(default_factory=list)

    @contextmanager
    def span(self, name: str, category: str = PHASE, **details: Any) -> Iterator[None]:
        """Record what runs inside the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spans.append(Span(name, category, start, time.perf_counter() - start, details))

    def total(self, name: str) -> float:
        """Seconds of all spans of this name."""
        return sum(span.seconds for span in self.spans if span.name == name)

    def to_dict(self) -> dict[str, Any]:
        """As the Trace Event Format wants it: complete events, times in microseconds from the first."""
        spans = sorted(self.spans, key=lambda span: (span.start, -span.seconds))
        first = spans[0].start if spans else 0.0
        names = [
            {"name": "process_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "TinyTorch"}},
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "Python"}},
        ]
        events = [
            {
                "name": span.name,
                "cat": span.category,
                "ph": "X",
                "ts": (span.start - first) * 1e6,
                "dur": span.seconds * 1e6,
                "pid": 1,
                "tid": 1,
                "args": span.details,
            }
            for span in spans
        ]
        return {"traceEvents": names + events, "displayTimeUnit": "ms", "otherData": timing.machine()}

    def save(self, path: str | Path) -> Path:
        """Write the file to open in chrome://tracing or Perfetto."""
        path = Path(path)
        path.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")
        return path


def trace(
    model: Module,
    x: Any,
    *,
    loss_fn: Callable[[Any, Any], Tensor] | None = None,
    target: Any = None,
    optimizer: Any = None,
    steps: int = 1,
    warmup: int = 1,
) -> Timeline:
    """Record a few passes, or training steps when there is a loss.

    Recording takes time itself, about a microsecond for each span; for figures use `profile_layers` or
    `profile_step`.

    Parameters
    ----------
    model, x
        As `profile_layers` takes them.
    loss_fn, target : optional
        ``loss_fn(model(x), target)`` is the loss; with it, backward is recorded, too.
    optimizer : optional
        Takes a step after each backward pass, which changes the model.
    steps, warmup : int
        Passes recorded, and passes before them that are not.
    """
    if steps < 1:
        raise ValueError(f"trace: steps must be at least 1, got {steps}")
    if optimizer is not None and loss_fn is None:
        raise ValueError("trace: an optimizer needs gradients; give loss_fn and target, too")
    timeline = Timeline()
    for number in range(warmup + steps):
        if number == warmup:
            timeline.spans.clear()
        with ExitStack() as stack:
            stack.enter_context(_kernels_recorded(timeline))
            if loss_fn is None:
                stack.enter_context(no_grad())
                _forward(timeline, model, x, {})
            else:
                _train(timeline, model, x, loss_fn, target, optimizer)
    return timeline


def _forward(timeline: Timeline, model: Module, x: Any, owners: dict[Function, str]) -> Any:
    outside: list[set] = []  # for each layer that is running, the nodes of its inputs

    def enter(inputs: tuple) -> None:
        outside.append({getattr(value, "_grad_fn", None) for value in inputs})

    def see(call: LayerCall) -> None:
        details = {"kind": type(call.module).__name__, "input": list(call.input_shape)}
        timeline.spans.append(Span(call.name, LAYER, call.start, call.elapsed, details))
        claim(call.output, call.name, owners, outside.pop())

    with timeline.span("forward"), watch(model, see, enter):
        return model(x)


def _train(timeline: Timeline, model: Module, x: Any, loss_fn: Callable, target: Any, optimizer: Any) -> None:
    owners: dict[Function, str] = {}
    output = _forward(timeline, model, x, owners)
    with timeline.span("loss"):
        loss = loss_fn(output, target)
    for node in topological_order(last_node(loss)):
        _record_backward(timeline, node, owners.get(node, "loss"))
    with timeline.span("backward"):
        loss.backward()
    if optimizer is None:
        model.zero_grad()
        return
    with timeline.span("optimizer step"):
        optimizer.step()
        optimizer.zero_grad()


def _record_backward(timeline: Timeline, node: Function, owner: str) -> None:
    gradients = node._gradients

    def recorded(grad: Any) -> tuple:
        with timeline.span(f"{owner} ({type(node).__name__})", LAYER):
            return gradients(grad)

    node._gradients = recorded  # type: ignore[method-assign]


@contextmanager
def _kernels_recorded(timeline: Timeline) -> Iterator[None]:
    """Record each call of a kernel through the door, `tinytorch.kernels`; kernels inside it show as one."""

    def recorded(name: str, kernel: Callable) -> Callable:
        @functools.wraps(kernel)
        def run(*args: Any, **options: Any) -> Any:
            with timeline.span(name, KERNEL):
                return kernel(*args, **options)

        return run

    before = {name: getattr(kernels, name) for name in kernels.reference.__all__}
    try:
        for name, kernel in before.items():
            setattr(kernels, name, recorded(name, kernel))
        yield
    finally:
        for name, kernel in before.items():
            setattr(kernels, name, kernel)
