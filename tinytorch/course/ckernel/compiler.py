"""The system's C compiler: found, called, and its complaints turned into sentences."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .operations import OPERATIONS, Operation

CANDIDATES = ("cc", "gcc", "clang")
OPTIMIZE = ("-O3",)
# Not the student's to choose: how a library is made, and mistakes that C only warns of.
FIXED = (
    "-std=gnu11", "-fPIC", "-shared", "-g", "-Wall", "-fdiagnostics-color=never",
    "-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types", "-Werror=int-conversion",
)  # fmt: skip
SECONDS = 300
VECTORIZER_FILE = "vectorizer.txt"


class CompilerMissing(RuntimeError):
    """There is no C compiler here, or the system is one on which cells of C do not run."""


class CompileError(ValueError):
    """What the compiler does not accept, with the student's line and what it usually means."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler.

    Attributes
    ----------
    path : str
    kind : "gcc" or "clang"
    version : str
        As in ``gcc 12.2.0``.
    native : tuple of str
        Its flag for this very CPU; none where it has no such flag.
    """

    path: str
    kind: str
    version: str
    native: tuple[str, ...]


def find(name: str | None = None) -> Compiler:
    """The compiler of this name, or the first of ``$CC``, cc, gcc and clang.

    Raises
    ------
    CompilerMissing
        When there is none; the message says how to install one.
    """
    if sys.platform == "win32":
        raise CompilerMissing(
            "ckernel: cells of C need Linux or macOS; on Windows, run the notebook in WSL "
            "(`wsl --install`). Everything else in the notebook runs without them."
        )
    wanted = [name] if name else [os.environ.get("CC", ""), *CANDIDATES]
    for candidate in filter(None, wanted):
        path = shutil.which(candidate)
        if path:
            return _known(path)
    install = "xcode-select --install" if sys.platform == "darwin" else "sudo apt install gcc"
    raise CompilerMissing(
        f"ckernel: there is no C compiler here (looked for {', '.join(filter(None, wanted))}). "
        f"`{install}` brings one. Everything else in the notebook runs without it."
    )


@functools.cache
def _known(path: str) -> Compiler:
    says = _run([path, "--version"]).stdout
    kind = "clang" if "clang" in says else "gcc"
    number = re.search(r"\d+\.\d+(\.\d+)?", _run([path, "-dumpfullversion"]).stdout + says)
    flags = ("-march=native", "-mcpu=native")
    native = tuple(flag for flag in flags if _accepts(path, flag))[:1]
    return Compiler(path, kind, f"{kind} {number[0] if number else '(version unknown)'}", native)


def _accepts(path: str, flag: str) -> bool:
    result = subprocess.run(
        [path, flag, "-x", "c", "-fsyntax-only", "-"], input="int x;\n", text=True, capture_output=True
    )
    return result.returncode == 0 and flag not in result.stderr  # clang may only warn


def _run(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},  # complaints in English, since they are read here
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
    )


def symbolizer(compiler: Compiler) -> str:
    """Clang's address sanitizer needs a program to tell lines from addresses; "" where it brings its own."""
    if compiler.kind != "clang":
        return ""
    found = _run([compiler.path, "-print-prog-name=llvm-symbolizer"]).stdout.strip()
    return found if os.path.isabs(found) else shutil.which("llvm-symbolizer") or ""


def flags_for(compiler: Compiler, extra: Sequence[str], sanitize: bool) -> tuple[str, ...]:
    """The flags that decide what the code does: what is shown to the student."""
    if sanitize:
        return ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address", *extra)
    return (*OPTIMIZE, *compiler.native, *extra)


def compile_cell(
    compiler: Compiler, operation: Operation, source: str, flags: Sequence[str], folder: Path
) -> tuple[Path, str]:
    """Make a library of the cell in `folder`.

    Returns
    -------
    library : Path
    remarks : str
        What the compiler said of its own accord: warnings, and about vectorised loops.

    Raises
    ------
    CompileError
    """
    cell, library = folder / "cell.c", folder / "kernel.so"
    cell.write_text(source if source.endswith("\n") else source + "\n")
    # The prototype comes first, so that a cell with other parameters does not compile.
    header = folder / f"{operation.name}.h"
    header.write_text(f"#include <stdint.h>\n{operation.prototype};\n")
    linker = ("-Wl,-z,defs",) if sys.platform == "linux" and "-fsanitize=address" not in flags else ()
    command = [
        compiler.path, *flags, *FIXED, *_account_of_loops(compiler), "-include", header.name, cell.name,
        "-o", library.name, "-lm", *linker,
    ]  # fmt: skip
    try:
        result = _run(command, folder)
    except subprocess.TimeoutExpired:
        raise CompileError(f"{operation.name}: the compiler did not end within {SECONDS} s") from None
    if result.returncode:
        raise CompileError(explained(result.stderr, source, operation, compiler, flags))
    account = folder / VECTORIZER_FILE
    return library, result.stderr + (account.read_text() if account.exists() else "")


def _account_of_loops(compiler: Compiler) -> tuple[str, ...]:
    if compiler.kind == "gcc":
        return (f"-fopt-info-vec-all-internals={VECTORIZER_FILE}",)
    return tuple(f"-Rpass{what}=loop-vectorize" for what in ("", "-missed", "-analysis"))


@functools.cache
def _runners() -> tempfile.TemporaryDirectory[str]:
    """A folder for the programs that call cells; it goes when this process ends."""
    return tempfile.TemporaryDirectory(prefix="ckernel-runners-")


@functools.cache
def compile_runner(compiler: Compiler, name: str, sanitize: bool) -> Path:
    """Make the program that calls the functions of an operation, once for each operation.

    Raises
    ------
    CompileError
        When this compiler cannot make it, as where the address sanitizer's library is not installed.
    """
    folder = Path(tempfile.mkdtemp(dir=_runners().name))
    (folder / "call.h").write_text(call_header(OPERATIONS[name]))
    runner = folder / "runner"
    result = _run(
        [
            compiler.path, "-O1", "-std=gnu11", "-I", ".", str(Path(__file__).with_name("runner.c")),
            *(["-fsanitize=address"] if sanitize else []), "-o", runner.name, "-ldl",
        ],
        folder,
    )  # fmt: skip
    if result.returncode:
        what = "a program with the address sanitizer" if sanitize else "the program that runs the cell"
        raise CompileError(f"{name}: {compiler.version} cannot make {what}:\n{result.stderr[:800]}")
    return runner


def call_header(operation: Operation) -> str:
    """call.h for runner.c."""
    pointers = [p for p in operation.parameters if p.kind != "number"]
    numbers = [p for p in operation.parameters if p.kind == "number"]
    given = [
        f"({p.type})x[{numbers.index(p)}]" if p.kind == "number" else f"p[{pointers.index(p)}]"
        for p in operation.parameters
    ]
    output = next(i for i, p in enumerate(pointers) if p.kind == "output")
    function = operation.prototype.replace(f"void {operation.name}(", "typedef void function(")
    return (
        f"#include <stdint.h>\n"
        f'#define NAME "{operation.name}"\n'
        f"enum {{ BUFFERS = {len(pointers)}, OUTPUT = {output}, NUMBERS = {len(numbers)} }};\n"
        f"{function};\n"
        f"static void call(void *f, void **p, const double *x) {{ ((function *)f)({', '.join(given)}); }}\n"
    )


# ---- what the compiler's complaints mean ----

HEADERS = {
    "math.h": ("exp", "log", "sqrt", "fabs", "fmax", "fmin", "pow", "tanh", "fma", "INFINITY", "NAN"),
    "stdlib.h": ("malloc", "calloc", "free", "exit", "abs", "aligned_alloc"),
    "string.h": ("mem", "str"),
    "stdio.h": ("printf", "fprintf", "puts"),
    "immintrin.h": ("_mm", "__m"),
    "arm_neon.h": ("vld", "vst", "vfma", "float32x4"),
    "stdbool.h": ("bool", "true", "false"),
    "stddef.h": ("size_t", "NULL"),
}

# GCC's words, or Clang's, and what they usually mean.
MEANINGS = (
    (r"conflicting types for|static declaration of", "the function has to be declared as\n    {prototype}"),
    (r"expected [‘'\"]?;", "a semicolon is missing, here or at the end of the line before."),
    (r"expected declaration or statement at end|expected '}'", "a closing brace is missing."),
    (r"expected identifier or [‘']\(|extraneous closing brace", "there is a brace too many, or a statement "
     "outside of the function."),
    (r"undeclared|implicit declaration|implicitly declaring|unknown type name", "{undeclared}"),
    (r"subscripted value is (?:neither array|not an array)", "arrays are flat here, with one index: "
     "row i, column j of a matrix with n columns is c[i * n + j]."),
    (r"read-only|const-qualified|cannot assign to", "inputs are const: only {output} may be written."),
    (r"too (?:few|many) arguments", "the function called takes another number of arguments."),
    (r"inlining failed|target specific option|requires target feature|needs target feature",
     "this CPU, or the flags, lack that instruction: {native} allows all that this CPU has."),
    (r"incompatible pointer|int-conversion|makes (?:pointer|integer)", "a pointer meets a number or a "
     "pointer to another type: is a * or an index missing?"),
    (r"invalid operands", "the types do not go together: is an index missing, as in a[i]?"),
    (r"undefined reference|[Uu]ndefined symbols|undefined symbol", "a function is declared and called, "
     "but not defined in this cell; each cell is compiled on its own."),
    (r"redefinition", "the name is defined twice in this cell."),
    (r"No such file|file not found", "that header is not installed here."),
    (r"unrecognized|unknown argument|unsupported option", "this compiler does not know one of the flags."),
)  # fmt: skip


def explained(
    complaint: str, source: str, operation: Operation, compiler: Compiler, flags: Sequence[str]
) -> str:
    """The first error, with the student's line and what it usually means."""
    error = re.search(
        r"^.*?(?:error: |(?=undefined reference)|(?=Undefined symbols))(.*)$", complaint, re.MULTILINE
    )
    said = error[1] if error else complaint.strip()[:800]
    # An error in a header has its line of the cell further down.
    place = error and re.compile(r"\bcell\.c:(\d+):(?:(\d+):)?").search(complaint, error.start())
    where, shown = "", f"    {said}"
    if place:
        line, column = int(place[1]), int(place[2] or 1)
        text = [*source.splitlines(), ""][line - 1].expandtabs(1)
        where = f" at line {line} of the cell"
        shown = f"    {line:>3} | {text}\n        | {' ' * (column - 1)}^ {said}"
    meaning = _meaning(said, operation, compiler)
    return f"{operation.name} does not compile ({compiler.version} {shlex.join(flags)}){where}:\n{shown}" + (
        f"\n  what it usually means: {meaning}" if meaning else ""
    )


def _meaning(said: str, operation: Operation, compiler: Compiler) -> str:
    for pattern, meaning in MEANINGS:
        if re.search(pattern, said):
            return meaning.format(
                prototype=operation.prototype,
                output=operation.parameters[operation.output].name,
                native=" ".join(compiler.native) or "another machine",
                undeclared=_undeclared(said, operation),
            )
    return ""


def _undeclared(said: str, operation: Operation) -> str:
    quoted = re.search(r"[‘'`]([\w]+)", said)
    name = quoted[1] if quoted else ""
    for header, starts in HEADERS.items():
        if name.startswith(starts):
            if header == "immintrin.h" and platform.machine() not in ("x86_64", "AMD64", "i686"):
                return f"{name} is an instruction of x86 CPUs, and this one is {platform.machine()}."
            return f"{name} is declared in a header: begin the cell with #include <{header}>"
    parameters = ", ".join(parameter.name for parameter in operation.parameters)
    return f"{name} is not declared: is it misspelt? The parameters are {parameters}."
