"""A timeline: what a viewer needs in the file, and spans that lie inside one another as the calls did."""

import json

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.losses import cross_entropy
from tinytorch.models import DigitsCNN, MLPClassifier
from tinytorch.optimizers import SGD
from tinytorch.profiling import trace
from tinytorch.profiling.timeline import KERNEL, LAYER, PHASE
from tinytorch.tensor import Tensor


@pytest.fixture(scope="module")
def step():
    model = DigitsCNN(channels=(2, 3))
    before = [parameter.data.copy() for parameter in model.parameters()]
    x, target = Tensor(np.ones((2, 1, 32, 32), np.float32)), np.array([1, 2])
    timeline = trace(model, x, loss_fn=cross_entropy, target=target, optimizer=SGD(model.parameters()))
    changed = any(not np.array_equal(a, p.data) for a, p in zip(before, model.parameters(), strict=True))
    return model, timeline, changed


def test_a_training_step_has_its_phases_in_order(step):
    _, timeline, changed = step
    phases = sorted((span.start, span.name) for span in timeline.spans if span.category == PHASE)
    assert [name for _, name in phases] == ["forward", "loss", "backward", "optimizer step"]
    assert changed
    assert timeline.total("forward") > 0


def test_every_layer_is_there_forward_and_backward(step):
    model, timeline, _ = step
    names = [span.name for span in timeline.spans if span.category == LAYER]
    assert {name or type(model).__name__ for name, _ in model.named_modules()} <= set(names)
    assert "layers.0 (Conv2dBackward)" in names and any(name.startswith("loss (") for name in names)


def test_kernels_lie_inside_layers(step):
    _, timeline, _ = step
    first = next(span for span in timeline.spans if span.name == "layers.0")
    inside = [
        span.name
        for span in timeline.spans
        if span.category == KERNEL
        and first.start <= span.start
        and span.start + span.seconds <= first.start + first.seconds
    ]
    assert inside == ["conv2d"]
    assert {"conv2d_backward", "cross_entropy", "sgd_step"} <= {span.name for span in timeline.spans}


def test_spans_nest(step):
    _, timeline, _ = step
    open_ends = []
    for span in sorted(timeline.spans, key=lambda span: (span.start, -span.seconds)):
        end = span.start + span.seconds
        while open_ends and open_ends[-1] <= span.start:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1] + 1e-9
        open_ends.append(end)


def test_the_file_is_what_trace_viewers_read(step, tmp_path):
    _, timeline, _ = step
    path = timeline.save(tmp_path / "trace.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    events = [event for event in found["traceEvents"] if event["ph"] == "X"]
    assert len(events) == len(timeline.spans)
    assert {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"} == set(events[0])
    assert events[0]["ts"] == 0.0 and all(event["dur"] >= 0 for event in events)
    assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    assert {event["name"] for event in found["traceEvents"] if event["ph"] == "M"} == {
        "process_name",
        "thread_name",
    }
    assert "threads" in found["otherData"] and "host" not in str(found["otherData"]).lower()


def test_the_door_to_the_kernels_is_as_it_was(step):
    assert not hasattr(kernels.conv2d, "__wrapped__")
    with pytest.raises(ValueError, match="Linear: the last axis"):
        trace(MLPClassifier((4, 2)), Tensor(np.ones((1, 3), np.float32)))
    assert not hasattr(kernels.conv2d, "__wrapped__")


def test_forward_alone_leaves_no_gradients():
    model = MLPClassifier((4, 3, 2))
    timeline = trace(model, Tensor(np.ones((1, 4), np.float32)), steps=3)
    assert sum(span.name == "forward" for span in timeline.spans) == 3
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, "steps must be at least 1"), ({"optimizer": SGD}, "needs gradients; give loss_fn")],
)
def test_misuse_is_explained(options, message):
    with pytest.raises(ValueError, match=message):
        trace(MLPClassifier((4, 2)), Tensor(np.ones((1, 4), np.float32)), **options)
