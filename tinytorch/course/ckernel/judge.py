"""Outputs compared with the plain loop's: which element is wrong first, and what that looks like."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .operations import Case, Operation
from .runner import Run

MOST_ROWS, MOST_COLUMNS = 12, 32  # of a picture


@dataclass(frozen=True)
class Report:
    """What checking a function found.

    Attributes
    ----------
    passed : bool
    message : str
    printed : str
        The beginning of what the function printed.
    """

    passed: bool
    message: str
    printed: str = ""

    def __str__(self) -> str:
        if not self.printed.strip():
            return self.message
        return f"{self.message}\n  it printed:\n{textwrap.indent(self.printed.rstrip(), '    ')}"


@dataclass(frozen=True)
class Compared:
    """A call's outputs beside what they should be."""

    case: Case
    outputs: Sequence[np.ndarray]
    expected: np.ndarray
    wrong: Sequence[np.ndarray]  # of bools, for each output

    @property
    def right(self) -> bool:
        return not any(wrong.any() for wrong in self.wrong)


def compare(operation: Operation, cases: Sequence[Case], run: Run) -> list[Compared]:
    """The calls that returned, each beside what it should have returned."""
    return [
        _compared(operation, case, outputs)
        for case, outputs in zip(cases, run.outputs, strict=False)
        if len(outputs) == 2
    ]


def _compared(operation: Operation, case: Case, outputs: Sequence[np.ndarray]) -> Compared:
    expected = operation.expected(*case.operands)
    tolerance = np.zeros(expected.shape) if case.exact else operation.tolerance(*case.operands)
    wrong = [differs(output, expected, tolerance) for output in outputs]
    return Compared(case, outputs, expected, wrong)


def differs(output: np.ndarray, expected: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Where an output is not within the tolerance, nor the same infinity, nor NaN as expected."""
    with np.errstate(invalid="ignore"):
        close = np.abs(output - expected) <= tolerance
    return ~(close | (output == expected) | (np.isnan(output) & np.isnan(expected)))


def verdict(operation: Operation, compared: Sequence[Compared]) -> str:
    """What is wrong, in words and as a picture; "" when all is right."""
    failed = [one for one in compared if not one.right]
    if not failed:
        return ""
    later = next((one for one in failed if not one.wrong[0].any()), None)  # right in the first call only
    # Otherwise a small one that is large enough to see.
    bad = later or next((one for one in failed if one.expected.size > 1), failed[0])
    name = operation.name
    output = operation.parameters[operation.output].name
    which = 1 if later else 0
    wrong, got = bad.wrong[which], bad.outputs[which]
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    start = f"{name} is wrong with {bad.case.name} ({len(failed)} of {len(compared)} cases are wrong)"
    if which == 1:
        start = f"{name} is right in a first call and wrong in a second, with {bad.case.name}"
    lines = [
        f"{start}: {wrong.sum()} of {wrong.size} elements differ.",
        f"  The first is {output}[{', '.join(map(str, first))}] = {got[first]:.7g}, "
        f"and it should be {bad.expected[first]:.7g}.",
    ]
    looks = _diagnosis(operation, compared, which)
    if looks:
        lines.append(f"  It looks as if {looks}.")
    if wrong.size > 1:
        lines.append(picture(wrong, output, first))
    return "\n".join(lines)


def _diagnosis(operation: Operation, compared: Sequence[Compared], which: int) -> str:
    """The mistake that explains every finite output, in words; "" when none does."""
    if which == 1:
        return "something is kept from call to call: a static variable, perhaps"
    finite = [one for one in compared if not one.case.special]
    if all(one.right for one in finite):
        return (
            "NaN and infinities are lost: 0 times NaN is NaN, so zeros may not be skipped; and -ffast-math "
            "lets the compiler assume that there are none"
        )
    fills = [operation.fill(one.outputs[0]) for one in finite]
    output = operation.parameters[operation.output].name
    common = {
        f"{output} is added to, but never set to 0 first: it holds anything at the start": lambda one, fill: (
            one.expected + fill
        ),
        f"{output} is never written": lambda one, fill: np.full(one.expected.shape, fill),
        f"{output} is set to 0, and nothing is added to it": lambda one, fill: np.zeros(one.expected.shape),
    }
    for says, made in common.items():
        if all(_same(made(one, fill), one) for one, fill in zip(finite, fills, strict=True)):
            return says
    for mistake in operation.mistakes:
        outputs = (
            mistake.output(*one.case.operands, expected=one.expected, fill=fill)
            for one, fill in zip(finite, fills, strict=True)
        )
        if all(_same(made, one) for made, one in zip(outputs, finite, strict=True)):
            return mistake.says
    if all((one.outputs[0] == fill)[one.wrong[0]].all() for one, fill in zip(finite, fills, strict=True)):
        return f"those elements of {output} are never written"
    return ""


def _same(made: np.ndarray, one: Compared) -> bool:
    """Whether a mistake's output is this one, as far as rounding lets one tell."""
    return (
        np.shape(made) == one.expected.shape
        and not differs(one.outputs[0], made, 1e-5 + 1e-6 * np.abs(made)).any()
    )


def picture(wrong: np.ndarray, name: str, first: tuple[int, ...]) -> str:
    """The matrix that holds the first wrong element: ``·`` where it is right and ``X`` where it is wrong."""
    plane = wrong[first[:-2]] if wrong.ndim > 2 else np.atleast_2d(wrong)
    title = f"{name}[{', '.join([*map(str, first[:-2]), ':', ':'])}]" if wrong.ndim > 2 else name
    rows, columns = (
        max(1, -(-size // most)) for size, most in zip(plane.shape, (MOST_ROWS, MOST_COLUMNS), strict=True)
    )
    scale = f", each mark {rows} x {columns} elements" if rows * columns > 1 else ""
    lines = [f"  {title}, · right, X wrong{scale}:"]
    for r in range(0, plane.shape[0], rows):
        marks = (plane[r : r + rows, c : c + columns].any() for c in range(0, plane.shape[1], columns))
        lines.append("    " + " ".join("X" if mark else "·" for mark in marks))
    return "\n".join(lines)
