"""How a check says what is wrong: the problem in one sentence, and a hint."""

from __future__ import annotations

from collections.abc import Sequence


class CheckFailed(AssertionError):
    """What a check found.

    Attributes
    ----------
    problem : str
        What is wrong, with the numbers that show it.
    hint : str
        What usually causes it; never the solution.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem + (f"\nHint: {hint}" if hint else ""))
        self.problem, self.hint = problem, hint

    def _render_traceback_(self) -> list[str]:
        """In a notebook the message is all that helps; the check's own lines would only bury it."""
        return [f"{type(self).__name__}: {self}"]


class NotYet(CheckFailed, NotImplementedError):
    """Something that a student has still to do. A notebook that is not finished raises nothing else."""


class NotBuilt(NotYet):
    """The stub is still there."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not built yet", "replace `raise NotImplementedError()` by your code and run its cell"
        )


class Borrowed(CheckFailed):
    """The answer came out of tinytorch."""

    def __init__(self, name: str, source: str) -> None:
        super().__init__(
            f"{name} uses {source}, so it is tinytorch's work and not yours",
            "write it with NumPy alone; when your own passes, the lab races it against tinytorch's",
        )


class StudentError(CheckFailed):
    """The student's code raised; `kinds` names the exception's class and its bases."""

    def __init__(self, name: str, kinds: Sequence[str], message: str, line: str = "") -> None:
        where = f", at `{line}`" if line else ""
        super().__init__(f"{name} raised {kinds[0]}: {message}{where}", _CURES.get(kinds[0], ""))
        self.kinds = tuple(kinds)


class Died(Exception):
    """The process that ran a student's code is gone, so nothing can be said about that code; says why."""


_CURES = {
    "NameError": "a build cell uses NumPy (np) and what earlier build cells made; import what else it needs",
    "TypeError": "compare the arguments with the stub's signature",
    "UnboundLocalError": "a branch of your function leaves this variable unset",
    "MemoryError": "an array became far larger than the inputs; look at the shapes that broadcasting gives",
}
