"""Lab 15, profiling: what the student's timer, counters, roofline and Amdahl's estimate have to do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import kernels, profiling
from tinytorch.attention import MultiHeadAttention
from tinytorch.course.checks import Lab, choice, close, expect, expect_error, same
from tinytorch.course.subject import Subject
from tinytorch.layers import Linear
from tinytorch.module import Module
from tinytorch.profiling.counting import own_parameters, run_watched
from tinytorch.profiling.watching import LayerCall
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor

lab = Lab(15, "Profiling: where a model's time goes")

# From sign-test tables: how many of the smallest of n samples lie below an interval of their median.
BELOW_LOW = {
    0.90: {5: 0, 8: 1, 11: 2, 15: 3, 20: 5, 30: 10, 50: 18, 100: 41},
    0.95: {6: 0, 8: 0, 9: 1, 12: 2, 15: 3, 20: 5, 30: 9, 50: 17, 100: 39},
    0.99: {8: 0, 12: 1, 15: 2, 20: 3, 30: 7, 50: 15, 100: 36},
}
TOO_FEW = {0.90: 4, 0.95: 5, 0.99: 7}


class Machine:
    """A machine on which time passes only when it is told to: nothing here depends on a real clock."""

    def __init__(self, costs: list[int], *, read: int = 0, tick: int = 1, set_up: int = 0) -> None:
        self.costs, self.read, self.tick, self.set_up_cost = costs, read, tick, set_up
        self.now = 12_345
        self.calls: list[int] = []  # what each call of the function took
        self.set_ups: list[int] = []  # how many calls had been before each set-up

    def clock(self) -> int:
        """Nanoseconds, in steps of `tick`; reading it takes `read`."""
        seen = self.now // self.tick * self.tick
        self.now += self.read
        return seen

    def call(self) -> None:
        cost = self.costs[min(len(self.calls), len(self.costs) - 1)]
        self.calls.append(cost)
        self.now += cost

    def set_up(self) -> None:
        self.set_ups.append(len(self.calls))
        self.now += self.set_up_cost


@lab.add("samples", points=3)
def check_samples(samples: Subject, *, rng: np.random.Generator) -> None:
    """The timer warms up, repeats, and counts nothing but the function."""
    warmup, rounds, repeats = int(rng.integers(2, 5)), int(rng.integers(5, 9)), int(rng.integers(3, 6))
    slow = [1_000_000] * warmup
    costs = slow + [int(cost) for cost in rng.integers(200, 900, rounds * repeats)]

    machine = Machine(costs)
    found = _times(samples(machine.call, machine.clock, warmup, rounds, repeats), rounds)
    ran = f"with warmup={warmup}, rounds={rounds}, repeats={repeats}"
    expect(
        len(machine.calls) == len(costs),
        f"{ran} the function should run {len(costs)} times, and runs {len(machine.calls)} times",
        "warm up once, untimed; then each round calls it `repeats` times",
    )
    wanted = np.reshape(costs[warmup:], (rounds, repeats)).mean(axis=1)
    hint = (
        "on this machine the first calls are slow; a sample is the time of a whole round divided by repeats"
    )
    close(f"the samples {ran}", found, wanted, hint)

    machine = Machine([800], read=3000)
    found = _times(samples(machine.call, machine.clock, 1, 4, 10), 4)
    hint = "read the clock twice for a round, not twice for a call: reading it takes time as well"
    close("a function of 800 ns, clock of 3 µs, repeats=10", found, np.full(4, 1100.0), hint)

    machine = Machine([500], set_up=70_000)
    found = _times(samples(machine.call, machine.clock, warmup, rounds, 2, machine.set_up), rounds)
    expect(
        len(machine.set_ups) >= rounds,
        f"in {rounds} rounds, set_up should run {rounds} times, and runs {len(machine.set_ups)} times",
        "set_up() comes first in every round",
    )
    hint = "set_up() comes before the clock is read, for its time is not the function's"
    close("a function of 500 ns that needs a set-up of 70 µs", found, np.full(rounds, 500.0), hint)
    expect(
        set(machine.set_ups[-rounds:]) == {warmup + 2 * i for i in range(rounds)},
        "set_up does not run at the start of each round",
        "once before each round, not before each call",
    )


def _times(found: Any, rounds: int) -> Any:
    expect(
        isinstance(found, (list, tuple, np.ndarray)) and len(found) == rounds,
        f"samples should give one time for each of {rounds} rounds, and gives {found!r}",
        "keep every sample: what they are summed up to is decided later",
    )
    return found


@lab.add("interval", points=3)
def check_interval(interval: Subject, *, rng: np.random.Generator) -> None:
    """The median of the samples, between two of them that enclose the true median."""
    for confidence, table in BELOW_LOW.items():
        for n, below in table.items():
            values = rng.lognormal(6, 1, n)  # times are skewed: a few are far too long
            found = _triple(interval(values, confidence))
            case = f"of {n} samples at {confidence:.0%}"
            hint = "half of the samples lie below it; the mean follows whatever disturbed the machine"
            close(f"the median {case}", found[0], np.median(values), hint)
            ordered = np.sort(values)
            hint = (
                "count from 0 in the sorted samples: the largest k whose tail, the chance of at most k heads "
                "in n throws, is at most (1 - confidence) / 2"
            )
            close(f"low {case}", found[1], ordered[below], hint)
            close(f"high {case}", found[2], ordered[n - 1 - below], f"as many from the top; {hint}")
    for confidence, n in TOO_FEW.items():
        hint = f"{n} throws come out all alike too often for {confidence:.0%}, so nothing can be said"
        expect_error("ValueError", interval, rng.lognormal(6, 1, n), confidence, hint=hint)


def _triple(found: Any) -> tuple[Any, ...]:
    expect(
        isinstance(found, (tuple, list)) and len(found) == 3,
        f"interval should give (median, low, high), and gives {found!r}",
    )
    return tuple(found)


@lab.add("layer_work", points=3)
def check_layer_work(linear_work: Subject, conv2d_work: Subject, *, rng: np.random.Generator) -> None:
    """The operations and bytes of Linear and Conv2d are those that tinytorch counts on real layers."""
    for _ in range(3):
        batch, inputs, outputs = (int(n) for n in rng.integers(2, 40, 3))
        layer = Linear(inputs, outputs)
        run = _run(layer, batch, inputs)
        _compare_work(f"linear_work({batch}, {inputs}, {outputs})", linear_work(batch, inputs, outputs), run)
    for stride, padding in ((1, 0), (1, 2), (2, 1), (3, 0)):
        batch, before, after, kernel = (int(n) for n in rng.integers(2, 6, 4))
        height, width = (int(n) for n in rng.integers(8, 15, 2))
        conv = Conv2d(before, after, kernel, stride=stride, padding=padding)
        run = _run(conv, batch, before, height, width)
        sizes = (batch, before, height, width, after, kernel, stride, padding)
        _compare_work(f"conv2d_work{sizes}", conv2d_work(*sizes), run)


def _run(layer: Module, *shape: int) -> LayerCall:
    (call,) = run_watched(layer, Tensor(np.zeros(shape, np.float32)))
    return call


def _compare_work(name: str, found: Any, run: LayerCall) -> None:
    flops, moved = _pair(name, found)
    wanted = profiling.Profiler().count_flops(run.module, run.input_shape)
    shape = "what is the output's shape? " if isinstance(run.module, Conv2d) else ""
    hint = f"{shape}each output is a sum of products: two operations for each product"
    same(f"the operations of {name}", flops, wanted, hint, dtype=False)
    wanted = run.moved_bytes + sum(parameter.data.nbytes for parameter in own_parameters(run.module))
    hint = "input, weights, bias and output, each once, in float32"
    same(f"the bytes of {name}", moved, wanted, hint, dtype=False)


def _pair(name: str, found: Any) -> tuple[Any, Any]:
    expect(
        isinstance(found, (tuple, list)) and len(found) == 2,
        f"{name} should give (operations, bytes), and gives {found!r}",
    )
    return found[0], found[1]


@lab.add("attention_work", points=2)
def check_attention_work(attention_work: Subject, *, rng: np.random.Generator) -> None:
    """Attention: work that grows with the square of the length, bytes that do not."""
    for length in (1, 9, 16):
        batch, heads, width = (int(n) for n in rng.integers(2, 5, 3))
        name = f"attention_work({batch}, {heads}, {length}, {width})"
        flops, moved = _pair(name, attention_work(batch, heads, length, width))
        layer = MultiHeadAttention(heads * width, heads)
        (run,) = (
            call
            for call in run_watched(layer, Tensor(np.zeros((batch, length, heads * width), np.float32)))
            if call.module is layer
        )
        hint = "a score for each pair of positions, then a sum over all positions for each: two products"
        same(f"the operations of {name}", flops, profiling.counting.layer_flops(run), hint, dtype=False)
        q = np.zeros((batch, heads, length, width), np.float32)
        wanted = 3 * q.nbytes + np.asarray(kernels.attention(q, q, q)).nbytes
        hint = "q, k, v and the output, in float32; the scores are never stored"
        same(f"the bytes of {name}", moved, wanted, hint, dtype=False)


@lab.add("roofline", points=2)
def check_roofline(roofline: Subject, *, rng: np.random.Generator) -> None:
    """A dot has an intensity and a speed, and the lower of two ceilings above it."""
    for _ in range(4):
        peak, bandwidth = float(rng.uniform(40, 2000)), float(rng.uniform(5, 100))
        moved, nanoseconds = int(rng.integers(10_000, 1_000_000)), float(rng.uniform(1e4, 1e6))
        for side, bound in ((0.3, "memory"), (3.0, "compute")):
            intensity = side * peak / bandwidth
            flops = round(intensity * moved)
            found = roofline(flops, moved, nanoseconds, peak, bandwidth)
            expect(
                isinstance(found, (tuple, list)) and len(found) == 4,
                f"roofline should give (intensity, speed, ceiling, bound), and gives {found!r}",
            )
            case = f"of {flops} operations, {moved} bytes"
            close(f"the intensity {case}", found[0], flops / moved, "operations for each byte")
            hint = "operations in a nanosecond are the same number as billions of them in a second"
            close(f"the speed (GFLOP/s) {case} in {nanoseconds:.0f} ns", found[1], flops / nanoseconds, hint)
            hint = "bytes arrive at `bandwidth`, each for `intensity` operations; and `peak` is the most"
            ceiling = peak * min(side, 1)
            close(
                f"the ceiling under {peak:.0f} GFLOP/s and {bandwidth:.0f} GB/s",
                found[2], ceiling, hint, rtol=1e-3,
            )  # fmt: skip
            expect(
                found[3] == bound,
                f"the bound at {side:g} times the ridge's intensity should be {bound!r}, and is {found[3]!r}",
                "'memory' where the bandwidth's ceiling is the lower one, 'compute' where the peak is",
            )


@lab.add("amdahl", points=2)
def check_amdahl(amdahl: Subject, *, rng: np.random.Generator) -> None:
    """What the whole gains when a part gets faster."""
    cases = [(0.5, 4.0), (0.0, 10.0), (1.0, 3.0), (0.3, 1.0), (0.9, math.inf), (0.6, 0.5)]
    cases += [(float(rng.uniform(0.05, 0.95)), float(rng.uniform(1.5, 50))) for _ in range(4)]
    for share, factor in cases:
        hint = "let the whole take 1 second: how long do the part and the rest take afterwards?"
        wanted = profiling.amdahl(share, factor)
        close(f"amdahl({share:.3g}, {factor:.3g})", amdahl(share, factor), wanted, hint)


@lab.add("gap", points=1)
def check_gap(gap: str) -> None:
    """Why the whole stopped gaining."""
    hint = (
        "the last step takes no time at all for the layer, and the whole still takes some: whose time is it?"
    )
    choice(gap, "c", hint)
