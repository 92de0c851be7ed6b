"""Build the extension: each CPU level's flags go to that level's files only.

Everything else about the package stands in pyproject.toml.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

CSRC = Path("csrc")
MSVC = sys.platform == "win32" and "GCC" not in sys.version and "MSYSTEM" not in os.environ

# What a file needs so that the compiler may use a level's instructions. A level that the compiler
# does not know is left out; which of the built ones is used is decided at run time.
X86_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma"],
}
X86_FLAGS["vnni"] = [*X86_FLAGS["avx512"], "-mavx512vnni"]
X86_FLAGS_MSVC = {"avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"], "vnni": ["/arch:AVX512"]}
ARM_FLAGS = {"neon": [], "neondot": ["-march=armv8.2-a+dotprod"]}

if MSVC:
    LANGUAGE_FLAGS = ["/std:c11", "/experimental:c11atomics"]
    OPTIMIZE_FLAGS = ["/O2", "/fp:precise"]
    NO_VECTORIZER: list[str] = []
else:
    LANGUAGE_FLAGS = ["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra"]
    OPTIMIZE_FLAGS = ["-O3", "-ffp-contract=off"]
    NO_VECTORIZER = ["-fno-tree-vectorize", "-fno-tree-slp-vectorize"]


def level_flags(machine: str) -> dict[str, list[str]]:
    """Flags for each CPU level of a kind of machine; "scalar" is always there."""
    machine = machine.lower()
    flags: dict[str, list[str]] = {"scalar": []}
    if machine in ("x86_64", "amd64"):
        flags.update(X86_FLAGS_MSVC if MSVC else X86_FLAGS)
    elif machine in ("aarch64", "arm64"):
        flags.update({"neon": []} if MSVC else ARM_FLAGS)
    return flags


@dataclass(frozen=True)
class Group:
    """Sources that are compiled with the same flags; `folder` keeps the objects of the levels apart."""

    sources: list[Path]
    flags: list[str] = field(default_factory=list)
    macros: list[tuple[str, str]] = field(default_factory=list)
    folder: str = ""


def groups(levels: dict[str, list[str]], folders: tuple[str, ...]) -> list[Group]:
    """The sources in these folders of csrc/, the lessons, and the micro-kernels of these levels."""
    have = [(f"TT_HAVE_{level.upper()}", "1") for level in levels]
    result = [Group(c_files(*folders), macros=have)]
    result.append(Group(c_files("lessons"), NO_VECTORIZER, [lesson_flags(NO_VECTORIZER)]))
    for level, flags in levels.items():
        macros = [("TT_LEVEL", level), (f"TT_LEVEL_{level.upper()}", "1"), lesson_flags(flags)]
        # vnni and neondot add INT8 instructions only: their float kernels are those of the level below.
        written_once = () if level in ("vnni", "neondot") else ("microkernels", "lessons/vector")
        result.append(
            Group(c_files(f"microkernels/{level}", "lessons/integer", *written_once), flags, macros, level)
        )
    return result


def c_files(*folders: str) -> list[Path]:
    return [source for folder in folders for source in sorted((CSRC / folder).glob("*.c"))]


def lesson_flags(flags: list[str]) -> tuple[str, str]:
    """The macro that lets a lesson say how it was compiled."""
    return ("TT_LESSON_FLAGS", '"' + " ".join([*OPTIMIZE_FLAGS, *flags]) + '"')


class BuildExt(build_ext):
    """Compiles each source with the flags of its group, as many at a time as there are CPUs."""

    def build_extension(self, ext: Extension) -> None:
        machine = os.environ.get("TINYTORCH_BUILD_MACHINE", platform.machine())
        levels = {level: flags for level, flags in level_flags(machine).items() if self.compiler_knows(flags)}
        extra_flags = os.environ.get("TINYTORCH_CFLAGS", "").split()

        def compile_one(source: Path, group: Group) -> list[str]:
            return self.compiler.compile(
                [str(source)],
                output_dir=str(Path(self.build_temp) / group.folder),
                include_dirs=ext.include_dirs,
                macros=ext.define_macros + group.macros,
                extra_postargs=[*LANGUAGE_FLAGS, *OPTIMIZE_FLAGS, *group.flags, *extra_flags],
            )

        parts = groups(levels, ("runtime", "ops", "python"))
        jobs = [(source, group) for group in parts for source in group.sources]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for objects in pool.map(compile_one, *zip(*jobs, strict=True)):
                ext.extra_objects += objects
        super().build_extension(ext)

    def compiler_knows(self, flags: list[str]) -> bool:
        """Whether the compiler accepts all the flags, found by compiling an empty function."""
        if MSVC or not flags:
            return True
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / "probe.c"
            probe.write_text("int probe(void) { return 0; }\n")
            try:
                self.compiler.compile([str(probe)], output_dir=folder, extra_postargs=[*flags, "-Werror"])
            except Exception:
                return False
        return True


def extension() -> Extension:
    import numpy

    return Extension(
        "tinytorch._C",
        sources=[],
        include_dirs=[str(CSRC), numpy.get_include()],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_25_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION"),
        ],
        depends=[str(path) for path in CSRC.rglob("*.[ch]")],
        extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
    )


class BuildPy(build_py):
    """Takes the students' notebooks along into the package; their sources, with the solutions, stay here."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # found where they lie
        for notebook in sorted(Path("notebooks").glob("*.ipynb")):
            target = Path(self.build_lib, "tinytorch", "course", "notebooks", notebook.name)
            self.mkpath(str(target.parent))
            self.copy_file(str(notebook), str(target))


if __name__ == "__main__":
    setup(ext_modules=[extension()], cmdclass={"build_ext": BuildExt, "build_py": BuildPy})
