"""How two processes exchange values: JSON for the shape of a message, raw bytes for its arrays.

Nothing here can run code: no pickle, and arrays hold numbers only. It imports NumPy alone, for the worker has
nothing else.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

LARGEST_MESSAGE = 256 * 2**20
NUMBERS = "biufc"

Lift = Callable[[Any], Any]  # turns what cannot travel into a reference, and a reference into something


class WireError(Exception):
    """The other side broke off, or sent what is no message."""


def send(stream: BinaryIO, message: Any, lift: Lift) -> None:
    """Write one message; `lift(value)` gives the JSON that stands for a value which cannot travel."""
    blobs: list[bytes] = []
    head = json.dumps(_encode(message, blobs, lift)).encode()
    sizes = [len(head), *map(len, blobs)]
    stream.write(struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
    for part in (head, *blobs):
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO, lower: Lift) -> Any:
    """Read one message; `lower(reference)` gives what stands for it on this side.

    Raises
    ------
    WireError
        At the end of the stream, and for anything that `send` would not have written.
    """
    (count,) = struct.unpack("<I", _exactly(stream, 4))
    if not 1 <= count <= 10_000:
        raise WireError("damaged message")
    sizes = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    if sum(sizes) > LARGEST_MESSAGE:
        raise WireError(f"a message of {sum(sizes)} bytes; at most {LARGEST_MESSAGE} are read")
    head, *blobs = (_exactly(stream, size) for size in sizes)
    try:
        return _decode(json.loads(head), blobs, lower)
    except WireError:
        raise
    except Exception as error:
        raise WireError(f"damaged message ({type(error).__name__})") from None


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise WireError("the other side broke off")
    return data


def _encode(value: Any, blobs: list[bytes], lift: Lift) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return {type(value).__name__: [_encode(item, blobs, lift) for item in value]}
    if type(value) is dict:
        return {"dict": [[_encode(part, blobs, lift) for part in pair] for pair in value.items()]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in NUMBERS:
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        array = np.ascontiguousarray(value)
        blobs.append(array.tobytes())
        return {kind: [array.dtype.str, list(np.shape(value)), len(blobs) - 1]}
    return lift(value)


def _decode(tree: Any, blobs: list[bytes], lower: Lift) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, body),) = tree.items()
    if kind in ("list", "tuple"):
        items = [_decode(item, blobs, lower) for item in body]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {_decode(key, blobs, lower): _decode(item, blobs, lower) for key, item in body}
    if kind in ("array", "scalar"):
        dtype = np.dtype(body[0])
        if dtype.kind not in NUMBERS:
            raise WireError(f"an array of {dtype}")
        array = np.frombuffer(blobs[body[2]], dtype).reshape(body[1]).copy()
        return array if kind == "array" else array[()]
    return lower(tree)
