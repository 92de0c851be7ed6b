"""Files written whole or not at all, and trained models kept for the next run."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

# What a trained model does not depend on: changing a picture must not cost a training.
_NOT_TRAINING = (
    "cli/",
    "viz/",
    "report/",
    "course/",
    "grading/",
    "interop/",
    "benchmarking",
    "profiling",
    "timing",
)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; a report is there to be shared
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def cache_folder() -> Path:
    """Where trained models are kept: TINYTORCH_CACHE, else the platform's folder for caches."""
    chosen = os.environ.get("TINYTORCH_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tinytorch"


def code_fingerprint() -> str:
    """SHA-256 over all that training depends on: the package's code, compiled and not, and versions."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(f"numpy {np.__version__} python {sys.version_info[:2]}".encode())
    files = [*package.rglob("*.py"), *package.glob("_C*.so"), *package.glob("_C*.pyd")]
    for file in sorted(files):
        name = file.relative_to(package).as_posix()
        if not name.startswith(_NOT_TRAINING):
            digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class ModelCache:
    """Arrays of trained models, kept in a folder under a hash of the code, the settings and the CPU level.

    A folder that cannot be written and a file that cannot be read cost a training, never an error.

    Parameters
    ----------
    folder : Path, optional
        None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._fingerprint: str | None = None

    def arrays(
        self, name: str, train: Callable[[], dict[str, np.ndarray]], **settings: object
    ) -> dict[str, np.ndarray]:
        """What `train()` returned the last time with this code and these settings, or what it returns now.

        Parameters
        ----------
        name : str
            Of the model; becomes a part of the file's name.
        train : function
            Returns name → array.
        **settings
            Everything else that the result depends on: seed, epochs, sizes, CPU level.
        """
        path = self._path(name, settings)
        if path is not None and path.is_file():
            try:
                with np.load(path, allow_pickle=False) as stored:
                    return dict(stored)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile):
                pass  # cut short or foreign: train again and replace it
        arrays = train()
        if path is not None:
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)  # type: ignore[arg-type]
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, buffer.getvalue())
            except OSError:
                self.folder = None
        return arrays

    def _path(self, name: str, settings: dict[str, object]) -> Path | None:
        if self.folder is None:
            return None
        if self._fingerprint is None:
            self._fingerprint = code_fingerprint()
        key = hashlib.sha256(f"{self._fingerprint} {name} {sorted(settings.items())}".encode()).hexdigest()[
            :20
        ]
        return self.folder / f"{name}-{key}.npz"
