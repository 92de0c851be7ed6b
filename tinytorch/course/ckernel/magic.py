"""The ``%%ckernel`` cell: a thin layer over `compile`, for IPython and Jupyter."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from .compiler import CompilerMissing
from .kernel import StudentKernel, compile, operation_named
from .operations import OPERATIONS


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(f"ckernel: {message}\n{self.format_usage()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="%%ckernel", add_help=False)
    parser.add_argument("operation", nargs="?", help=", ".join(OPERATIONS))
    parser.add_argument("--name", default="mine", help="what the kernel is called afterwards (mine)")
    parser.add_argument("--flags", default="", help="more flags for the compiler, in quotes")
    parser.add_argument("--compiler", help="gcc, clang or a path")
    parser.add_argument("--asan", action="store_true", help="find the line of an access outside an array")
    parser.add_argument("--size", default="", help="of the race, as in m=512,k=512,n=512")
    parser.add_argument("--no-race", dest="race", action="store_false", help="check only")
    parser.add_argument("--help", action="store_true", help="the function to write, and a stub")
    return parser


def _words(line: str) -> list[str]:
    """The words of a line. Flags begin with a dash, and as words of their own would pass for options."""
    words = shlex.split(line)
    while "--flags" in words[:-1]:
        place = words.index("--flags")
        words[place : place + 2] = [f"--flags={words[place + 1]}"]
    return words


def run_cell(line: str, cell: str | None, names: dict[str, Any]) -> None:
    """Compile, check, explain and race a cell; the kernel is left in `names`.

    Where there is no compiler the name is bound to None, which for ``kernels.use`` means the built-in kernel.
    """
    options = _parser().parse_args(_words(line))
    if options.help or cell is None or options.operation is None:
        print(_help(options.operation))
        return
    if not options.name.isidentifier():
        raise ValueError(f"ckernel: --name must be a Python name, got {options.name!r}")
    sizes = _sizes(options.size)
    try:
        kernel = compile(
            cell, options.operation, flags=options.flags, compiler=options.compiler, sanitize=options.asan
        )
    except CompilerMissing as missing:
        names[options.name] = None
        print(missing)
        return
    names[options.name] = kernel
    report = kernel.check()
    if not kernel.problem:
        print(f"{kernel.compiler.version}: {shlex.join(kernel.flags)}")
    print(report)
    if report.passed and not options.asan:
        _tell_more(kernel, options.name, sizes if options.race else None)


def _tell_more(kernel: StudentKernel, name: str, sizes: dict[str, int] | None) -> None:
    for loop in kernel.explain():
        print(loop)
    if sizes is not None:
        from IPython.display import display

        result = kernel.race(**sizes)
        print(result)
        display(result.figure())
    print(f"kernels.use({kernel.operation.name}={name}) puts it in the place of TinyTorch's.")


def _sizes(text: str) -> dict[str, int]:
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        return {name.strip(): int(size) for name, size in pairs}
    except ValueError:
        raise ValueError(f"ckernel: --size must look like m=512,k=512,n=512, got {text!r}") from None


def _help(operation: str | None) -> str:
    if operation is not None:
        return operation_named(operation).help()
    return (
        f"{_parser().format_help()}\nOperations: {', '.join(OPERATIONS)}. "
        "`%ckernel --help matmul` says what to write."
    )


def register(shell: Any) -> None:
    """Make ``%%ckernel`` and ``%ckernel --help`` known to an IPython shell."""
    from IPython.core.error import UsageError
    from IPython.core.magic import no_var_expand

    @no_var_expand  # flags keep their braces and dollars
    def ckernel(line: str, cell: str | None = None) -> None:
        try:
            run_cell(line, cell, shell.user_ns)
        except ValueError as error:
            raise UsageError(str(error)) from None

    shell.register_magic_function(ckernel, magic_kind="line_cell", magic_name="ckernel")
