"""The checkpoint file: arrays and JSON in the safetensors format, replaced whole or not at all."""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import numpy as np

from .interop import safetensors

__all__ = ["CheckpointError", "read_checkpoint", "write_checkpoint"]

FORMAT = "tinytorch-checkpoint"
VERSION = "2"


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
    text = json.dumps(metadata)
    checksum = str(_checksum(text, arrays))
    header = {"format": FORMAT, "version": VERSION, "checksum": checksum, "state": text}
    safetensors.save_file(arrays, path, header)


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
        arrays, header = safetensors.load_file(path)
    except safetensors.SafetensorsError as error:
        raise _damaged(str(error)) from None
    found = header.get("format"), header.get("version")
    if found != (FORMAT, VERSION):
        raise CheckpointError(
            f"{os.fspath(path)} has format {found[0]!r}, version {found[1]!r}; "
            f"this release reads {FORMAT!r}, version {VERSION}. Load it with the release that wrote it."
        )
    text = header.get("state", "")
    if header.get("checksum") != str(_checksum(text, arrays)):
        raise _damaged(f"{os.fspath(path)}: the checksum differs")
    metadata: dict[str, Any] = json.loads(text)
    return metadata, arrays


def _checksum(text: str, arrays: dict[str, np.ndarray]) -> int:
    """CRC-32 of everything that is stored."""
    checksum = zlib.crc32(text.encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), checksum)
    return checksum


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(
        f"{what}: not a whole checkpoint (perhaps it was cut short in copying). Use an earlier one."
    )
