"""The gallery of optimizations that lose: small cases, each with the reason why, raced on this machine.

``run("threads_on_a_small_product")`` measures one case and returns its `Finding`. The same cases, all of
them, are the experiment ``gallery``.
"""

from __future__ import annotations

from tinytorch import kernels, timing
from tinytorch.experiments.context import Context
from tinytorch.experiments.gallery import extra_work, other_goals, overhead
from tinytorch.experiments.gallery.case import CASES, Calls, Case, Finding, find
from tinytorch.experiments.records import Section, Source, Table
from tinytorch.quantities import Measured

__all__ = ["CASES", "Case", "Finding", "describe", "find", "measure", "names", "run"]

CLAIMS = len(CASES)
SECONDS = {"quick": 8, "normal": 20, "thorough": 60}

GROUPS = {
    "The work is too small for the fixed cost": overhead,
    "It adds more work than it saves": extra_work,
    "One number improves, not the one that matters": other_goals,
}


def names() -> tuple[str, ...]:
    """What `run` takes."""
    return tuple(CASES)


def run(name: str, *, seconds: float = 0.5) -> Finding:
    """Measure one case on this machine.

    Parameters
    ----------
    name : str
        One of `names()`.
    seconds : float
        About how long the race takes; half of it more goes into racing the plain way against itself, whose
        interval is the noise floor of the verdict.

    Raises
    ------
    ValueError
        For a name that is not in the gallery.
    """
    case = find(name)
    compared = case.set_up()
    noise = 1.0
    if isinstance(compared, Calls):
        noise, _ = timing.noise_floor(compared.plain, seconds=seconds / 2)
    effort = "quick" if seconds < 0.5 else "normal"
    return case.measure(Context(effort, kernels.get_num_threads(), noise=noise), seconds=seconds)


def describe() -> Section:
    """The section before anything is measured."""
    return Section(
        "gallery",
        "The gallery: optimizations that lose",
        [
            "Every optimization trades something: a fixed cost before the first result, extra work, memory, "
            "accuracy, or somebody's waiting time. Each case here is a small piece of code in which the "
            "price exceeds the gain, with the reason in a sentence.",
            "It helps to read it before optimizing, and to race one's own case. It hurts to take it for a "
            "list of bad ideas: with other sizes, each of these is used in production.",
            "Whether a case holds depends on the machine. Where the interval does not lie wholly on the "
            "losing side, beyond the noise, the gallery says 'not reproduced here'.",
        ],
        [
            Source(
                "Amdahl, Validity of the single processor approach to achieving large scale computing "
                "capabilities, AFIPS 1967",
                "https://doi.org/10.1145/1465482.1465560",
            ),
            Source(
                "Hoefler and Belli, Scientific benchmarking of parallel computing systems, SC 2015",
                "https://doi.org/10.1145/2807591.2807644",
            ),
        ],
    )


def measure(section: Section, context: Context) -> None:
    """Measure every case, group by group."""
    findings: list[Finding] = []
    for group, module in GROUPS.items():
        table = Table(
            group,
            ["optimization", "case", "effect", "verdict", "why"],
            note="Effect: time of the plain way / time of the optimized one, so below 1 it loses; or points "
            "of accuracy lost.",
        )
        section.tables.append(table)
        for case in (case for case in CASES.values() if case.set_up.__module__ == module.__name__):
            context.progress(len(findings) / len(CASES), case.title)
            finding = case.measure(context)
            findings.append(finding)
            table.add(finding.title, finding.name, finding.effect, finding.verdict, finding.why)
            if finding.race is not None:
                section.samples[case.name] = finding.race
    section.say(
        "{lost} of {all} optimizations lose here, with confidence.",
        lost=Measured.count(sum(finding.hurts for finding in findings)),
        all=Measured.count(len(findings)),
    )
