"""What a fast kernel is worth: one matrix product from Python loops up to the packed, threaded kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import matmul_lists, matmul_naive, matmul_rows
from tinytorch.experiments.context import Context, threads
from tinytorch.experiments.records import Chart, Section, Series, Source, Summary, Table
from tinytorch.kernels import lessons

CLAIMS = 8
SECONDS = {"quick": 12, "normal": 60, "thorough": 200}

ELEMENTS = "loops over array elements"
LISTS = "loops over lists"
ROWS = "NumPy, row by column"
THREADED = "C, threaded"
KERNEL = "kernels.matmul"
CEILING = "multiply-adds on registers"
CEILING_OF_ALL = "multiply-adds on registers, all threads"

# For quick, normal and thorough. Loops over array elements take seconds for one product of 256.
LADDER_SIZES = (128, 256, 256)
PEAK_SIZES = ([64, 256, 512], [32, 64, 128, 256, 512, 1024], [32, 64, 128, 256, 512, 1024, 2048])
IDEA_SIZES = ([32, 128, 256], [16, 32, 64, 128, 256, 512], [16, 32, 64, 128, 256, 512, 1024])
ROUNDS = {ELEMENTS: (5, 5, 10), LISTS: (6, 10, 20), ROWS: (20, 20, 40)}

# Which lesson is raced against which to find the size from which its idea pays.
IDEAS = (
    ("tiling", "reordered", "tiled"),
    ("packing", "vectorised", "packed"),
    ("threads", "packed", "threaded"),
)

HURTS = {
    "tiling": "the operands fit into the cache already",
    "packing": "copying the operands costs more than it saves: small or thin matrices",
    "threads": "waking the threads takes longer than the product",
}


def describe() -> Section:
    """The section before anything is measured."""
    return Section(
        "acceleration",
        "Acceleration: one matrix product, from Python loops to the hardware's limit",
        [
            "Every rung of this ladder computes the same product and does the same arithmetic. What changes "
            "is what surrounds it: the interpreter's work for each number, the order in which memory is "
            "read, how many numbers one instruction handles, how often a number is fetched again, how many "
            "cores take part.",
            "It helps wherever a program multiplies matrices larger than a few dozen rows: linear layers, "
            "convolutions, attention. It hurts when the matrices are tiny: packing copies both operands "
            "first, and waking a thread costs microseconds, so small products are faster without either.",
            "In production: the packing and register blocking shown here are those of GotoBLAS, which "
            "OpenBLAS and BLIS carry on. NumPy's own wheels multiply with OpenBLAS; PyTorch on CPUs uses "
            "oneDNN or MKL, built on the same idea.",
        ],
        [
            Source(
                "Goto and van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 2008",
                "https://doi.org/10.1145/1356052.1356053",
            ),
            Source(
                "Van Zee and van de Geijn, BLIS: a framework for rapidly instantiating BLAS functionality, "
                "ACM TOMS 2015",
                "https://doi.org/10.1145/2764454",
            ),
            Source(
                "Lam, Rothberg and Wolf, The cache performance and optimizations of blocked algorithms, "
                "ASPLOS 1991",
                "https://doi.org/10.1145/106972.106981",
            ),
            Source("OpenBLAS", "https://github.com/OpenMathLib/OpenBLAS"),
        ],
    )


def measure(section: Section, context: Context) -> None:
    """Climb the ladder, hold the kernel against the machine's peak, find where tiling, packing and threads
    start to pay.
    """
    _climb(section, context)
    _against_the_peak(section, context)
    _where_ideas_pay(section, context)


# ---- measuring ----


def _operands(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    return a, b, np.empty((size, size), np.float32)


def _operations(size: int) -> float:
    """Multiplications and additions in one product, in 1e9."""
    return 2.0 * size**3 / 1e9


def _step_call(step: lessons.MatmulStep, size: float) -> Callable[[], object]:
    a, b, out = _operands(int(size))
    return lambda: step(a, b, out)


def _kernel_call(size: int) -> Callable[[], object]:
    a, b, out = _operands(size)
    return lambda: kernels.matmul(a, b, out=out)


def _ceiling(workers: int = 1) -> tuple[Callable[[], object], float]:
    """The peak as a contender: multiply-adds on registers alone, and how many (1e9) one call does."""
    iterations = 100_000
    work = workers * kernels.run_fma(iterations) / 1e9
    if workers == 1:
        return (lambda: kernels.run_fma(iterations)), work
    pool = ThreadPoolExecutor(workers)
    return (lambda: list(pool.map(kernels.run_fma, [iterations] * workers))), work


def _climb(section: Section, context: Context) -> None:
    size = context.choose(*LADDER_SIZES)
    a, b, _ = _operands(size)
    steps = lessons.matmul
    fast = {f"C, {step.name}": _step_call(step, size) for step in steps}
    fast[KERNEL] = _kernel_call(size)
    ceilings = {CEILING: _ceiling(), CEILING_OF_ALL: _ceiling(context.threads)}
    slow = {
        ELEMENTS: lambda: matmul_naive(a, b),
        LISTS: lambda: matmul_lists(a, b),
        ROWS: lambda: matmul_rows(a, b),
    }
    # Each Python rung gets a race of its own with all the fast ones: few rounds where one call takes seconds.
    with_loops = {}
    for index, (name, call) in enumerate(slow.items()):
        context.progress(0.15 * index, f"{name}, size {size}")
        with_loops[name] = context.race_many(
            {name: call, **fast},
            rounds=context.choose(*ROUNDS[name]),
            repeats={name: 1},
            sample_seconds=context.choose(0.01, 0.03, 0.05),
        )
    context.progress(0.5, f"C steps, size {size}")
    among = context.race_many({**fast, **{name: call for name, (call, _) in ceilings.items()}})
    section.samples["ladder"] = {**with_loops, "fast": among}

    work = _operations(size)
    table = Table(
        f"The ladder at {size} × {size}",
        [
            "rung",
            "time",
            "speed",
            "share of peak",
            *(f"over {loops}" for loops in ("elements", "lists", "rows")),
        ],
        note="Peak: multiply-adds on registers alone, run in turn with the rungs; of one thread, and for the "
        f"threaded rung and {KERNEL} of {context.threads}. {_flags(steps)}",
    )
    for name, races in with_loops.items():
        table.add(name, races.time(name), races.rate(name, work, "GFLOP/s"), None, None, None, None)
    for name in fast:
        over = [races.between(loops, name).ratio for loops, races in with_loops.items()]
        peak = CEILING_OF_ALL if name in (THREADED, KERNEL) else CEILING
        share = among.between(peak, name).ratio.scaled(100 * work / ceilings[peak][1], "%")
        table.add(name, among.time(name), among.rate(name, work, "GFLOP/s"), share, *over)
    section.tables.append(table)
    section.figures.append(_ladder_chart(table, size))
    gains = {name: races.between(name, KERNEL).ratio for name, races in with_loops.items()}
    section.say(
        f"At {size} × {size}, {KERNEL} is {{elements}} faster than loops over array elements, "
        "{lists} faster than loops over lists and {rows} faster than NumPy row by column.",
        elements=gains[ELEMENTS],
        lists=gains[LISTS],
        rows=gains[ROWS],
    )
    for name, gain in gains.items():
        section.summaries.append(
            Summary(
                f"C, not {name}",
                gain,
                hurts_when="the product is so small that the call outweighs it",
            )
        )


def _flags(steps: Sequence[lessons.Step]) -> str:
    """Which steps were compiled how, as a sentence."""
    groups: dict[str, list[str]] = {}
    for step in steps:
        groups.setdefault(step.flags, []).append(step.name)
    return (
        "Compiled with: " + "; ".join(f"{', '.join(names)} {flags}" for flags, names in groups.items()) + "."
    )


def _ladder_chart(table: Table, size: int) -> Chart:
    names = [str(row[0]) for row in table.rows]
    speeds = Series.of("speed", names, [row[2] for row in table.rows])
    return Chart(f"Speed of each rung at {size} × {size}", "", "GFLOP/s", [speeds], kind="bar", y_scale="log")


def _against_the_peak(section: Section, context: Context) -> None:
    """One thread, several sizes, the kernel and the ceiling in turn."""
    table = Table(
        f"{KERNEL} on one thread against the peak of one thread", ["size", "time", "speed", "share of peak"]
    )
    sizes = context.choose(*PEAK_SIZES)
    ceiling, ceiling_work = _ceiling()
    shares = []
    with threads(1):
        for index, size in enumerate(sizes):
            context.progress(0.55 + 0.02 * index, f"share of the peak, size {size}")
            races = context.race_many({CEILING: ceiling, KERNEL: _kernel_call(size)})
            work = _operations(size)
            shares.append(races.between(CEILING, KERNEL).ratio.scaled(100 * work / ceiling_work, "%"))
            table.add(f"{size}", races.time(KERNEL), races.rate(KERNEL, work, "GFLOP/s"), shares[-1])
            section.samples[f"share of peak at {size}"] = races
    section.tables.append(table)
    section.figures.append(
        Chart(
            "Share of the measured peak, one thread",
            "size (rows = columns)",
            "% of peak",
            [Series.of(KERNEL, [float(size) for size in sizes], shares)],
            x_scale="log",
            level=100.0,
        )
    )


def _where_ideas_pay(section: Section, context: Context) -> None:
    steps = {step.name: step for step in lessons.matmul}
    table = Table(
        "From which size each idea pays",
        ["idea", "raced", "pays from", "gain at the largest size", "verdict"],
    )
    series, marks = [], []
    for index, (idea, before, after) in enumerate(IDEAS):
        if idea == "threads" and context.threads == 1:
            continue
        context.progress(0.7 + 0.1 * index, f"where {idea} pays")
        sizes = context.choose(*IDEA_SIZES)
        found = context.breakeven(
            functools.partial(_step_call, steps[before]),
            functools.partial(_step_call, steps[after]),
            sizes,
            unit="rows",
            step=8,
        )
        largest = found.races[-1]
        table.add(idea, f"{after} against {before}", found.answer, largest.ratio, largest.verdict)
        section.summaries.append(
            Summary(
                f"{idea} (size {sizes[-1]})", largest.ratio, pays_from=found.answer, hurts_when=HURTS[idea]
            )
        )
        section.samples[f"pays from: {idea}"] = found
        series.append(Series.of(idea, list(found.sizes), [race.ratio for race in found.races]))
        if found.status == "crosses" and found.pays_from:
            marks.append((found.pays_from.value, f"{idea} pays"))
    section.tables.append(table)
    section.figures.append(
        Chart(
            "Gain of each idea over the step before it",
            "size (rows = columns)",
            "times faster",
            series,
            x_scale="log",
            y_scale="log",
            marks=marks,
            level=1.0,
        )
    )
