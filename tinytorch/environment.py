"""What TinyTorch runs on: Python, NumPy, the compiler, the CPU and the threads."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sysconfig
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import kernels, timing
from tinytorch.quantities import Measured

OPTIONAL = ("matplotlib", "rich", "tqdm")


@dataclass(frozen=True)
class Check:
    """One thing looked at. `cure` says what to do when it is not `ok`."""

    name: str
    found: str
    ok: bool = True
    cure: str = ""


def describe() -> dict[str, Any]:
    """`timing.machine` and more as plain data: levels, caches, compiler. No host and no user."""
    info = kernels.cpu_info()
    return {
        **timing.machine(),
        "levels": list(info.get("levels", [])),
        "caches": dict(info.get("caches") or {}),
        "compiler": compiler(),
        "level cap": os.environ.get("TINYTORCH_CPU"),
        "packages": {name: importlib.util.find_spec(name) is not None for name in OPTIONAL},
    }


def compiler() -> str | None:
    """The C compiler that a build would use, None when there is none."""
    configured = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    for name in (configured, "cc", "gcc", "clang", "cl"):
        if shutil.which(name):
            return os.path.basename(name)
    return None


def install_command() -> str:
    """The command that installs a C compiler and Python's headers here."""
    if platform.system() == "Darwin":
        return "xcode-select --install"
    if platform.system() == "Windows":
        return "winget install Microsoft.VisualStudio.2022.BuildTools"
    if shutil.which("dnf"):
        return "sudo dnf install gcc python3-devel"
    return "sudo apt install build-essential python3-dev python3-venv"


def check() -> list[Check]:
    """Everything `tinytorch doctor` reports, in its order."""
    about = describe()
    caches = ", ".join(f"{name} {Measured.count(size, 'B')}" for name, size in about["caches"].items())
    checks = [
        Check("Python", about["python"]),
        Check("NumPy", np.__version__),
        Check("TinyTorch", str(about["tinytorch"])),
        Check("CPU", f"{about['cpu'] or about['architecture']}, {about['cores']} cores"),
        Check(
            "CPU levels found",
            ", ".join(about["levels"]) or "none",
            bool(about["levels"]),
            "pip install -e .",
        ),
        Check("CPU level used", about["level"] + (" (TINYTORCH_CPU)" if about["level cap"] else "")),
        Check("caches", caches or "unknown"),
        Check("threads", str(about["threads"])),
        Check("C compiler", about["compiler"] or "none", about["compiler"] is not None, install_command()),
    ]
    peak, read = timing.measure_peak(), timing.measure_bandwidth()
    checks.append(Check("peak, 1 thread", f"{peak} (measured)"))
    checks.append(Check("memory read, 1 thread", f"{read} (measured)"))
    for name, present in about["packages"].items():
        checks.append(Check(name, "installed" if present else "missing", present, f"pip install {name}"))
    return checks
