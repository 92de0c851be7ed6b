"""A race of a student's function against the plain loop and TinyTorch's kernel, and the price of using it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch import intervals, kernels, timing, viz
from tinytorch.profiling import Roofline, rooflines

from . import judge
from .operations import Case
from .process import run_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .kernel import StudentKernel

YOURS, OURS = "yours", "TinyTorch"
STARTUP_SECONDS, PER_SECOND = 30, 20  # how much longer than its rounds a race may take
MOST_REPORT = 1 << 24
NEEDED_MEMORY = 4 << 30  # address space of Python, NumPy and their threads


@dataclass(frozen=True)
class StudentRace:
    """What a race measured.

    Attributes
    ----------
    sizes : dict of name → size
    races : timing.Races
        With every sample of ``"yours"``, ``"TinyTorch"`` and, where a lesson has it, ``"plain loop"``.
    operations, moved_bytes : float
        Of one call.
    threads : int
        Of TinyTorch's kernel.

    Notes
    -----
    The clock runs in the process that runs the student's code, and code that sets out to could stop it. The
    last timed call's result is compared here.
    """

    operation: str
    sizes: dict[str, int]
    races: timing.Races
    operations: float
    moved_bytes: float
    threads: int

    @property
    def race(self) -> timing.Race:
        """Yours against ours: a ratio above 1 says that yours is faster."""
        return self.races.between(OURS, YOURS)

    def rooflines(self) -> list[Roofline]:
        """Each contender under this machine's ceilings, which are measured once."""
        return [
            rooflines.place(
                name, self.operations, self.moved_bytes,
                self.races.rate(name, self.operations / 1e9, "GFLOP/s"), threads=self.threads,
            )
            for name in self.races.seconds
        ]  # fmt: skip

    def figure(self) -> Figure:
        """The contenders as dots on the roofline."""
        title = f"{self.operation}: {named_sizes(self.sizes)}"
        if "int8" in self.operation:
            title += "\n(the ceiling is that of float32)"
        return viz.roofline(self.rooflines(), title=title)

    def __str__(self) -> str:
        width = max(map(len, self.races.seconds))
        lines = [
            f"{self.operation}, {named_sizes(self.sizes)}, measured ({self.threads} thread(s) for TinyTorch):"
        ]
        for name in self.races.seconds:
            rate = self.races.rate(name, self.operations / 1e9, "GFLOP/s")
            lines.append(f"  {name:<{width}}  {self.races.time(name)}   {rate}")
        ratio = self.race.ratio
        word = {"faster": "faster than", "slower": "slower than"}.get(
            self.race.verdict, "not told apart from"
        )
        noise = f"identical code differs by up to {self.races.noise:.2f}× here and now"
        lines.append(f"  yours is {word} TinyTorch's: {ratio} its speed, n = {ratio.n} rounds; {noise}")
        return "\n".join(lines)


def named_sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def race(kernel: StudentKernel, *, seconds: float, threads: int, sizes: dict[str, int]) -> StudentRace:
    """Race a checked kernel; see `StudentKernel.race`."""
    operation = kernel.operation
    unknown = set(sizes) - set(operation.race_sizes)
    if unknown or any(not isinstance(size, int) or size < 1 for size in sizes.values()):
        raise ValueError(
            f"race: {operation.name} has the sizes {', '.join(operation.race_sizes)}, each at least 1, "
            f"got {named_sizes(sizes)}"
        )
    sizes = {**operation.race_sizes, **sizes}
    operands = operation.race_operands(**sizes)
    output = operation.arguments(*operands)[operation.output]
    request = {
        "library": str(kernel.library), "operation": operation.name, "sizes": sizes, "seconds": seconds,
        "threads": threads, "memory": kernel.limits.memory + NEEDED_MEMORY,
    }  # fmt: skip
    most = seconds * PER_SECOND + STARTUP_SECONDS
    with tempfile.TemporaryDirectory(prefix="ckernel-") as folder:
        ended = run_apart(
            [sys.executable, "-m", f"{__package__}.worker", "{fd}", json.dumps(request)],
            folder=Path(folder),
            seconds=most,
            most_bytes=MOST_REPORT + output.nbytes,
            env=_environment(),
        )
    line, _, result = ended.data.partition(b"\n")
    try:
        samples = json.loads(line)
        got = np.frombuffer(result, output.dtype).reshape(output.shape)
    except ValueError:
        why = f"not done within {most:g} s" if ended.timed_out else f"exit code {ended.code}"
        raise RuntimeError(f"race: {operation.name} did not finish: {why}\n{ended.printed}") from None
    case = Case("the raced sizes", operands, exact=False)
    expected = operation.expected(*operands)
    if judge.differs(got, expected, operation.tolerance(*case.operands)).any():
        raise RuntimeError(
            f"race: {operation.name} is wrong with {named_sizes(sizes)}, so its time means nothing"
        )
    races = timing.Races(
        {name: tuple(map(float, times)) for name, times in samples["seconds"].items()},
        samples["repeats"],
        float(samples["noise"]),
        intervals.CONFIDENCE,
        {**timing.machine(), "threads": threads},
    )
    flops, moved = operation.work(*operands)
    return StudentRace(operation.name, sizes, races, flops, moved, threads)


def _environment() -> dict[str, str]:
    """This process's, with this package where the worker finds it."""
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def price(step: Callable[[], Any], *, seconds: float = 2.0, **implementations: Any) -> timing.Race:
    """What a kernel of one's own costs a program: a step on it against the same step on the built-in kernels.

    Parameters
    ----------
    step : function of no arguments
        One training step, or one token of text.
    seconds : float
        About how long.
    **implementations : callable
        As for ``kernels.use``.

    Returns
    -------
    timing.Race
        Of "built-in" and "yours": `seconds` for one step of each, and the ratio, above 1 where yours is
        faster.
    """

    def on_mine() -> None:
        with kernels.use(**implementations):
            step()

    return timing.race(step, on_mine, names=("built-in", YOURS), seconds=seconds)
