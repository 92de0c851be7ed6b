"""Build the C tests into one program that needs no Python: csrc/ without csrc/python/, and csrc/tests/.

The flags are those of setup.py; the compiler, the machine it builds for and what it should watch for are
the caller's: python csrc/tests/build.py PROGRAM --cc clang --flags="-fsanitize=thread -g"
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import setup  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--flags", default="", help="more flags for compiling and linking")
    options = parser.parse_args()
    options.program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        build(options.program, options.cc, options.machine, options.flags.split(), Path(folder))


def build(program: Path, cc: str, machine: str, more: list[str], folder: Path) -> None:
    def knows(flags: list[str]) -> bool:
        probe = [cc, *flags, "-Werror", "-x", "c", "-c", os.devnull, "-o", str(folder / "probe.o")]
        return subprocess.run(probe, stderr=subprocess.DEVNULL).returncode == 0

    levels = {level: flags for level, flags in setup.level_flags(machine).items() if knows(flags)}
    commands, objects = [], []
    for group in setup.groups(levels, ("runtime", "ops", "tests")):
        for source in group.sources:
            objects.append(str(folder / f"{len(objects)}.o"))
            macros = [f"-D{name}={value}" for name, value in group.macros]
            flags = [*setup.LANGUAGE_FLAGS, "-Werror", *setup.OPTIMIZE_FLAGS, *group.flags, *more]
            commands.append([cc, "-c", str(source), "-o", objects[-1], f"-I{setup.CSRC}", *macros, *flags])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda command: subprocess.run(command).returncode, commands))
    if any(results):
        sys.exit(f"{sum(map(bool, results))} of {len(results)} files did not compile with {cc}")
    link = [cc, *objects, "-o", str(program), "-lm", "-pthread", *more]
    if subprocess.run(link).returncode:
        sys.exit(f"{program} did not link with {cc}")


if __name__ == "__main__":
    main()
