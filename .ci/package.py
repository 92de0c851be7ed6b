"""The source distribution holds all that a build needs, and the wheel built from it all that a user needs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
USE_IT = "import tinytorch, tinytorch.kernels as k; print(tinytorch.__file__, k.cpu_info()['level'])"


def run(*command: str | Path, **options: object) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout  # type: ignore[call-overload]


def expect(names: set[str], wanted: set[str], where: str) -> None:
    missing = sorted(wanted - names)
    if missing:
        sys.exit(f"{where} lacks {', '.join(missing)}")


def tracked(*patterns: str) -> set[str]:
    return set(run("git", "ls-files", *patterns, cwd=ROOT).split())


def main(folder: Path) -> None:
    build = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"
    archive = (
        folder / run(sys.executable, "-c", build, folder, cwd=ROOT, stderr=subprocess.DEVNULL).split()[-1]
    )
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    expect(
        names,
        tracked(
            *("benchmarks", "csrc", "notebooks", "tinytorch", "tests"),
            "setup.py",
            "pyproject.toml",
            "LICENSE",
            "README.md",
        ),
        archive.name,
    )

    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, archive)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as contents:
        names = set(contents.namelist())
    notebooks = {f"tinytorch/course/{name}" for name in tracked("notebooks/*.ipynb")}
    expect(names, tracked("tinytorch") | notebooks, wheel.name)
    if not any(name.startswith("tinytorch/_C.") and name.endswith((".so", ".pyd")) for name in names):
        sys.exit(f"{wheel.name} lacks the compiled extension")
    if stray := sorted(name for name in names if not name.startswith("tinytorch")):
        sys.exit(f"{wheel.name} holds what no user needs: {', '.join(stray)}")

    run(*pip, "install", "--no-deps", "--target", folder / "installed", wheel)
    used = run(sys.executable, "-c", USE_IT, cwd=folder, env={"PYTHONPATH": str(folder / "installed")})
    if "installed" not in used:
        sys.exit(f"the installed package was not the one imported, but {used}")
    print(f"{archive.name} and {wheel.name} are complete; the installed package runs on {used.split()[-1]}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
