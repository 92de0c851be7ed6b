"""A student's kernel: compiled, checked apart from this process, raced, and then run in ours' place."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import compiler as compilers
from . import crashes, judge, loading, racing, runner, vectorizer
from .judge import Report
from .operations import OPERATIONS, Operation
from .process import Limits
from .racing import StudentRace

__all__ = ["StudentKernel", "compile", "operation_named"]


def operation_named(name: str) -> Operation:
    """The operation of this name; ValueError lists them."""
    if name not in OPERATIONS:
        raise ValueError(f"ckernel: there is no operation {name!r}; it can be {', '.join(OPERATIONS)}")
    return OPERATIONS[name]


def compile(
    source: str,
    operation: str,
    *,
    flags: str | Sequence[str] = (),
    compiler: str | None = None,
    sanitize: bool = False,
    limits: Limits | None = None,
) -> StudentKernel:
    """Compile a cell of C that implements an operation.

    Parameters
    ----------
    source : str
        C, with a function that has the operation's name and parameters (``OPERATIONS["matmul"].help()``).
    operation : {"matmul", "conv2d", "matmul_int8", "sparse_matmul", "attention_decode"}
    flags : str or sequence of str
        For the compiler, after ``-O3`` and its flag for this CPU.
    compiler : str, optional
        Its name or path; otherwise the first of ``$CC``, cc, gcc and clang that is here.
    sanitize : bool
        Find the line of an access outside of an array, with the address sanitizer; slow, and never raced
        or used.
    limits : Limits, optional
        What the code may use while it is checked.

    Returns
    -------
    StudentKernel
        Its `problem` says why a source does not compile.

    Raises
    ------
    CompilerMissing
        When there is no C compiler here.
    ValueError
        For another operation.
    """
    extra = tuple(shlex.split(flags) if isinstance(flags, str) else flags)
    return StudentKernel(
        source, operation_named(operation), compilers.find(compiler), extra, sanitize, limits or Limits()
    )


class StudentKernel:
    """A function in C that implements an operation; made by `compile`.

    Once it has passed its checks it can be called, on what ``kernels.use`` hands over, and runs inside this
    process from then on.

    Attributes
    ----------
    operation : Operation
    source : str
    flags : tuple of str
        What the compiler was told.
    compiler : Compiler
    problem : str
        Why the source does not compile; "" when it does.
    report : Report or None
        What the last check found.

    Examples
    --------
    >>> from tinytorch import kernels
    >>> from tinytorch.course import ckernel
    >>> mine = ckernel.compile(ckernel.OPERATIONS["matmul"].source(), "matmul")
    >>> mine.check().passed  # the stub computes nothing yet
    False
    """

    def __init__(
        self,
        source: str,
        operation: Operation,
        compiler: compilers.Compiler,
        extra_flags: Sequence[str],
        sanitize: bool,
        limits: Limits,
    ) -> None:
        self.source, self.operation, self.compiler, self.limits = source, operation, compiler, limits
        self.sanitize = sanitize
        self.flags = compilers.flags_for(compiler, extra_flags, sanitize)
        self.problem = ""
        self.report: Report | None = None
        self._remarks = ""
        self.folder = Path(tempfile.mkdtemp(prefix="ckernel-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self.library, self._remarks = compilers.compile_cell(
                compiler, operation, source, self.flags, self.folder
            )
        except compilers.CompileError as error:
            self.problem = str(error)

    def check(self) -> Report:
        """Run it on shapes that are small, odd, large and empty, and compare with the plain loop.

        The function runs in a process of its own, under `limits`; each of its arrays lies once against a page
        behind it and once against a page before it that trap every access.
        """
        self.report = self._checked()
        return self.report

    def _checked(self) -> Report:
        if self.problem:
            return Report(False, self.problem)
        try:
            program = compilers.compile_runner(self.compiler, self.operation.name, self.sanitize)
        except compilers.CompileError as error:
            return Report(False, str(error))
        operation, cases = self.operation, list(self.operation.cases())
        calls = [operation.arguments(*case.operands) for case in cases]
        symbolizer = compilers.symbolizer(self.compiler) if self.sanitize else ""
        run = runner.run_calls(program, self.library, operation, calls, self.limits, symbolizer)
        wrong = judge.verdict(operation, judge.compare(operation, cases, run))
        if run.trouble:
            case = cases[run.trouble.call]
            message = crashes.sentence(run.trouble, operation, case, self.source, self.limits)
            return Report(False, f"{message}\n\n{wrong}" if wrong else message, run.printed)
        if wrong:
            return Report(False, wrong, run.printed)
        return Report(
            True,
            f"{operation.name}: right on {len(cases)} cases (single elements, odd sizes, large, empty, "
            "extreme values), with every access inside the arrays",
            run.printed,
        )

    def explain(self) -> list[vectorizer.Loop]:
        """What the compiler says of each innermost loop: vectorised or not, and why."""
        return vectorizer.loops(self._remarks, self.source)

    def race(self, *, seconds: float = 1.0, threads: int = 1, **sizes: int) -> StudentRace:
        """Race it against the plain loop and TinyTorch's kernel, in a process of its own.

        Parameters
        ----------
        seconds : float
            About how long.
        threads : int
            For TinyTorch's kernel; the function makes its own, if any.
        **sizes : int
            As in ``m=256, k=256, n=256``; `Operation.race_sizes` has the names and what they are otherwise.

        Raises
        ------
        RuntimeError
            Unless it has passed its checks.
        """
        self._must_have_passed("race")
        return racing.race(self, seconds=seconds, threads=threads, sizes=sizes)

    def __call__(self, *args: Any, **options: Any) -> np.ndarray:
        """Run it, in this process, on what a replacement of the kernel takes (see ``kernels.use``).

        Raises
        ------
        RuntimeError
            Unless it has passed its checks.
        """
        self._must_have_passed("run")
        return self._replacement(*args, **options)

    @cached_property
    def _replacement(self) -> Any:
        return self.operation.replacement(self._call)

    @cached_property
    def _function(self) -> Any:
        return loading.load(self.library, self.operation)

    def _call(self, *operands: Any) -> np.ndarray:
        """The C function on the operation's operands, such as a (m, k) and b (k, n)."""
        self._must_have_passed("run")
        return loading.call(self._function, self.operation, operands)

    def _must_have_passed(self, what: str) -> None:
        name = self.operation.name
        if self.sanitize:
            raise RuntimeError(
                f"this {name} cannot {what}: compiled with --asan it is for checks; compile it without"
            )
        if self.report is None:
            raise RuntimeError(f"this {name} cannot {what} before it is checked: call check() first")
        if not self.report.passed:
            raise RuntimeError(
                f"this {name} cannot {what}, since it did not pass its check.\n{self.report.message}"
            )

    def __repr__(self) -> str:
        state = "not checked" if self.report is None else ("passed" if self.report.passed else "did not pass")
        return f"<{self.operation.name} in C, {self.compiler.version} {shlex.join(self.flags)}: {state}>"
