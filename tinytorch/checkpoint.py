"""The checkpoint file: arrays and JSON in an .npz archive, without pickle, replaced whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import Any

import numpy as np

__all__ = ["CheckpointError", "read_checkpoint", "write_checkpoint"]

FORMAT = "tinytorch-checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or belongs to another version or model."""


def write_checkpoint(
    path: str | os.PathLike, metadata: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Write a checkpoint, so that at every moment `path` holds the old one or the new one, whole.

    Parameters
    ----------
    path : path
        Used as it is, whatever its suffix.
    metadata : dict
        Anything that JSON can hold.
    arrays : dict of ndarray
        Numbers only.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write the checkpoint {path}: there is no folder {folder}")
    header = json.dumps({"format": FORMAT, "version": VERSION, **metadata})
    partial = f"{path}.{os.getpid()}.partial"
    try:
        with open(partial, "xb") as file:
            np.savez(file, metadata=np.frombuffer(header.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata and the arrays of a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CheckpointError
        If it cannot be read to its end, or was written by another version.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        metadata = json.loads(arrays.pop("metadata").tobytes())
        found = metadata.get("format"), metadata.get("version")
    except (
        ValueError,
        EOFError,
        KeyError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise CheckpointError(
            f"{os.fspath(path)} is not a whole checkpoint (perhaps it was cut short in copying): "
            f"{error}. Use an earlier one."
        ) from None
    if found != (FORMAT, VERSION):
        raise CheckpointError(
            f"{os.fspath(path)} has format {found[0]!r}, version {found[1]!r}; "
            f"this release reads {FORMAT!r}, version {VERSION}. Load it with the release that wrote it."
        )
    return metadata, arrays
