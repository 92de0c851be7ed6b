"""One experiment for each claim the report makes.

An experiment is a module with

- ``CLAIMS``: how many statements with a verdict it makes,
- ``SECONDS``: about how long it takes at each effort, for the progress bar,
- ``describe()``: its `Section` with title, opening sentences and sources, and
- ``measure(section, context)``: fills the section in as it goes, so that an interrupted run keeps what it
  has.

`run` runs them and returns a `Record`. Experiments print nothing; `tinytorch.report` lays records out.
"""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType

from tinytorch import kernels, timing
from tinytorch.experiments.context import EFFORTS, Context
from tinytorch.experiments.context import threads as threads_in_use
from tinytorch.experiments.quiet import noise_floor
from tinytorch.experiments.records import Record, Section, from_json, to_json
from tinytorch.experiments.storage import ModelCache, cache_folder

__all__ = ["EFFORTS", "NAMES", "Context", "Record", "Section", "from_json", "load", "run", "to_json"]

# In the order of the report: name → module. The gallery is measured on request: its claims would widen every
# other interval of the report.
REGISTRY = {
    "acceleration": "tinytorch.experiments.acceleration",
    "quantization": "tinytorch.experiments.quantization",
    "pruning": "tinytorch.experiments.pruning",
    "caching": "tinytorch.experiments.caching",
    "training": "tinytorch.experiments.training",
    "gallery": "tinytorch.experiments.gallery",
}
ON_REQUEST = ("gallery",)
NAMES = tuple(name for name in REGISTRY if name not in ON_REQUEST)

Progress = Callable[[float, str], None]


def load(name: str) -> ModuleType:
    """The experiment's module."""
    if name not in REGISTRY:
        raise ValueError(f"no experiment is called {name!r}; there are {', '.join(REGISTRY)}")
    return importlib.import_module(REGISTRY[name])


def run(
    names: Sequence[str] = (),
    *,
    effort: str = "normal",
    threads: int | None = None,
    progress: Progress = lambda fraction, message: None,
    cache: ModelCache | None = None,
) -> Record:
    """Run experiments, in the report's order.

    Parameters
    ----------
    names : sequence of str
        Which ones; all but those of `ON_REQUEST` when empty.
    effort : {"quick", "normal", "thorough"}
    threads : int, optional
        Threads for the kernels; the default is what they use already.
    progress : function
        Called with (fraction of the run done, what is going on).
    cache : ModelCache, optional
        Where trained models are kept; the default is the user's cache folder.

    Returns
    -------
    Record
        Its status is ``"complete"``; ``"partial"`` after Ctrl-C, with all that was measured until then;
        ``"failed"`` when an experiment broke (the others still ran).
    """
    modules = {name: load(name) for name in (*NAMES, *names) if not names or name in names}
    if cache is None:
        cache = ModelCache(cache_folder())
    with threads_in_use(threads):
        claims = max(sum(module.CLAIMS for module in modules.values()), 1)
        context = Context(effort, kernels.get_num_threads(), claims=claims, cache=cache)
        record = Record(effort, timing.machine(), context.confidence, claims)
        started = time.perf_counter()
        try:
            progress(0.0, "measuring this machine")
            _measure_machine(record, context)
            _run_all(modules, record, context, progress)
        except KeyboardInterrupt:
            record.status = "partial"
        record.seconds = time.perf_counter() - started
    if record.status == "running":
        failed = any(section.status == "failed" for section in record.sections)
        record.status = "failed" if failed else "complete"
    return record


def _measure_machine(record: Record, context: Context) -> None:
    """The noise floor and the ceilings that everything else is held against."""
    record.noise, record.samples["noise floor"] = noise_floor(context.choose(0.3, 1.0, 2.0))
    context.noise = record.noise.value
    seconds = context.choose(0.1, 0.3, 1.0)
    record.ceilings["peak, 1 thread"] = timing.measure_peak(1, seconds=seconds)
    if context.threads > 1:
        record.ceilings[f"peak, {context.threads} threads"] = timing.measure_peak(
            context.threads, seconds=seconds
        )
    record.ceilings["memory read, 1 thread"] = timing.measure_bandwidth(seconds=seconds)


def _run_all(modules: dict[str, ModuleType], record: Record, context: Context, progress: Progress) -> None:
    weights = {name: module.SECONDS[context.effort] for name, module in modules.items()}
    total, done = sum(weights.values()), 0.0
    for name, module in modules.items():
        section = module.describe()
        record.sections.append(section)

        def on_progress(fraction: float, message: str, done: float = done, name: str = name) -> None:
            progress((done + fraction * weights[name]) / total, f"{name}: {message}")

        context.on_progress = on_progress
        on_progress(0.0, "starting")
        _run_one(module, section, context)
        done += weights[name]
    progress(1.0, "done")


def _run_one(module: ModuleType, section: Section, context: Context) -> None:
    started = time.perf_counter()
    try:
        module.measure(section, context)
        section.status = "complete"
    except KeyboardInterrupt:
        section.status = "partial"
        raise
    except Exception as error:  # must not cost the other experiments; it is shown, and the exit code tells
        section.status = "failed"
        where = traceback.extract_tb(error.__traceback__)[-1]
        section.error = f"{type(error).__name__} in {where.name}: {error}"
    finally:
        section.seconds = time.perf_counter() - started
