"""Build the extension: each CPU level's flags go to that level's files only.

Everything else about the package stands in pyproject.toml.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path("csrc")
# Written over vec.h, and compiled once for each CPU level.
WRITTEN_ONCE = sorted([*(CSRC / "microkernels").glob("*.c"), *(CSRC / "lessons" / "vector").glob("*.c")])
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


def level_flags() -> dict[str, list[str]]:
    """Flags for each CPU level of the machine that is built for; "scalar" is always there."""
    machine = os.environ.get("TINYTORCH_BUILD_MACHINE", platform.machine()).lower()
    flags: dict[str, list[str]] = {"scalar": []}
    if machine in ("x86_64", "amd64"):
        flags.update(X86_FLAGS_MSVC if MSVC else X86_FLAGS)
    elif machine in ("aarch64", "arm64"):
        flags.update({"neon": []} if MSVC else ARM_FLAGS)
    return flags


class BuildExt(build_ext):
    """Compiles the sources in groups that share their flags."""

    def build_extension(self, ext: Extension) -> None:
        built = {level: flags for level, flags in level_flags().items() if self.compiler_knows(flags)}
        have = [(f"TT_HAVE_{level.upper()}", "1") for level in built]
        for folder in ("runtime", "ops", "python"):
            self.add_objects(ext, sorted((CSRC / folder).glob("*.c")), [], have)
        plain_steps = sorted((CSRC / "lessons").glob("*.c"))
        self.add_objects(ext, plain_steps, NO_VECTORIZER, [lesson_flags(NO_VECTORIZER)])
        for level, flags in built.items():
            macros = [("TT_LEVEL", level), (f"TT_LEVEL_{level.upper()}", "1"), lesson_flags(flags)]
            own = sorted((CSRC / "microkernels" / level).glob("*.c"))
            # vnni and neondot add INT8 instructions only: their float kernels are those of the level below.
            every = [] if level in ("vnni", "neondot") else WRITTEN_ONCE
            self.add_objects(ext, own + every, flags, macros, subfolder=level)
        super().build_extension(ext)

    def add_objects(
        self, ext: Extension, sources: list[Path], flags: list[str], macros: list, subfolder: str = ""
    ) -> None:
        if not sources:
            return
        ext.extra_objects += self.compiler.compile(
            [str(source) for source in sources],
            output_dir=str(Path(self.build_temp) / subfolder),
            include_dirs=ext.include_dirs,
            macros=ext.define_macros + macros,
            extra_postargs=[
                *LANGUAGE_FLAGS,
                *OPTIMIZE_FLAGS,
                *flags,
                *os.environ.get("TINYTORCH_CFLAGS", "").split(),
            ],
            depends=ext.depends,
        )

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


def lesson_flags(flags: list[str]) -> tuple[str, str]:
    """The macro that lets a lesson say how it was compiled."""
    return ("TT_LESSON_FLAGS", '"' + " ".join([*OPTIMIZE_FLAGS, *flags]) + '"')


setup(
    ext_modules=[
        Extension(
            "tinytorch._C",
            sources=[],
            include_dirs=[str(CSRC), numpy.get_include()],
            define_macros=[
                ("NPY_NO_DEPRECATED_API", "NPY_1_25_API_VERSION"),
                ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION"),
            ],
            depends=[str(header) for header in CSRC.rglob("*.[ch]")],
            extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
