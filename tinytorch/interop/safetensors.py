"""Files of named arrays in the safetensors format, which hold numbers only and can run no code.

A file is the length of a header (8 bytes, little-endian), the header, and the arrays' bytes. The header is
JSON: for each array its type, its shape and where its bytes begin and end; and a dictionary of text,
``__metadata__``. Source: Hugging Face, *safetensors* (github.com/huggingface/safetensors), "Format".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

__all__ = ["SafetensorsError", "load_file", "save_file", "write"]

DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
    "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
LONGEST_HEADER = 100_000_000  # the format's own limit


class SafetensorsError(ValueError):
    """A file that is not in the safetensors format, or is damaged."""


def save_file(
    arrays: Mapping[str, np.ndarray], path: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to a file; if `path` exists, it is replaced whole or not at all.

    Parameters
    ----------
    arrays : dict of ndarray
        Booleans, integers and floating-point numbers.
    path : path
    metadata : dict of str, optional

    Raises
    ------
    TypeError
        If an array holds something else.
    FileNotFoundError
        If the folder does not exist.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    partial = f"{path}.{os.getpid()}.partial"
    try:
        with open(partial, "xb") as file:
            write(file, arrays, metadata)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def write(
    file: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to an open file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    contents, end = [], 0
    for name, array in arrays.items():
        array = np.asarray(array)
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        if little.dtype not in NAMES:
            raise TypeError(f"safetensors: {name} holds {array.dtype}, which the format has no name for")
        start, end = end, end + little.nbytes
        header[name] = {
            "dtype": NAMES[little.dtype], "shape": list(array.shape), "data_offsets": [start, end],
        }  # fmt: skip
        contents.append(little)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned in a mapped file
    file.write(len(text).to_bytes(8, "little") + text)
    for array in contents:
        file.write(array.tobytes())


def load_file(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file; bfloat16, which NumPy lacks, becomes float32.

    Raises
    ------
    SafetensorsError
        If the file is not whole, or its header is not true of it.
    """
    with open(path, "rb") as file:
        try:
            header, data = _read(file)
            metadata = header.pop("__metadata__", {})
            arrays = {name: _array(name, entry, data) for name, entry in header.items()}
            covered = sorted(tuple(entry["data_offsets"]) for entry in header.values())
        except SafetensorsError as error:
            raise SafetensorsError(f"{os.fspath(path)}: {error}") from None
    end = 0
    for start, stop in covered:  # the format allows no holes and no overlaps
        if start != end:
            raise SafetensorsError(f"{os.fspath(path)}: the arrays do not lie side by side at byte {end}")
        end = stop
    if end != len(data):
        raise SafetensorsError(f"{os.fspath(path)}: {len(data) - end} bytes belong to no array")
    return arrays, {str(key): str(value) for key, value in metadata.items()}


def _read(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """The parsed header and the bytes behind it."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > LONGEST_HEADER:
        raise SafetensorsError("this is no safetensors file")
    text = file.read(length)
    if len(text) < length:
        raise SafetensorsError(f"cut short: {len(text)} of the header's {length} bytes are there")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise SafetensorsError(f"the header cannot be read: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise SafetensorsError("the header is not a table of arrays")
    return header, file.read()


def _array(name: str, entry: Any, data: bytes) -> np.ndarray:
    """One array, whose header entry is not trusted."""
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, start, end))
    except (TypeError, KeyError, ValueError):
        raise SafetensorsError(f"the header's entry of {name} is not one of an array") from None
    if dtype != "BF16" and dtype not in DTYPES:
        raise SafetensorsError(f"{name} has the type {dtype}, which NumPy lacks")
    stored = np.dtype("<u2" if dtype == "BF16" else DTYPES[dtype])
    if not whole or end - start != math.prod(shape) * stored.itemsize:
        raise SafetensorsError(f"{name} has shape {shape}, which does not fit its place, {start} to {end}")
    if end > len(data):
        raise SafetensorsError(f"cut short: {name} ends at byte {end} of {len(data)}")
    array = np.frombuffer(data[start:end], stored).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(stored.newbyteorder("="))
