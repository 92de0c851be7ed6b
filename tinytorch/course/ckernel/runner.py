"""Calls to a student's function, through runner.c, in another process: what came back, or how it ended."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .operations import Arguments, Operation
from .process import Ended, Limits, run_apart

# Kinds of records, as in runner.c.
PLACED, RESULT, FAULT, OUTSIDE, MISSING = range(1, 6)
RECORD = struct.Struct("8q")  # kind, call, end, four values, bytes of payload
GUARD = 1 << 20
ENDS = 2  # each call is made with its arrays at either end of their pages


@dataclass(frozen=True)
class Trouble:
    """Why a call did not return what it should have.

    Attributes
    ----------
    kind : {"fault", "outside", "missing", "timeout", "exit", "sanitizer", "forged"}
    call : int
        Which call ran.
    values : tuple of int
        Of a fault: signal, code, address, 1 for a write; of "outside": the distance in bytes; of "exit":
        the code.
    addresses : tuple of int
        Where the call's arrays were, and the stack.
    text : str
        Of "missing": the linker's words; of "sanitizer": its report.
    """

    kind: str
    call: int
    values: tuple[int, ...] = ()
    addresses: tuple[int, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Run:
    """The outputs of the calls that returned, two for each, and what stopped the others, if anything."""

    outputs: list[list[np.ndarray]]
    trouble: Trouble | None
    printed: str


def run_calls(
    runner: Path, library: Path, operation: Operation, calls: Sequence[Arguments], limits: Limits,
    symbolizer: str = "",
) -> Run:  # fmt: skip
    """Call the function once for each of `calls`, with arrays at either end of their pages.

    An output begins with `Operation.fill` in all its elements.
    """
    with tempfile.TemporaryDirectory(prefix="ckernel-") as name:
        folder = Path(name)
        (folder / "calls").write_bytes(b"".join(_written(operation, calls)))
        expected = sum(
            ENDS * (2 * RECORD.size + 8 * len(call) + 8 + _output(operation, call).nbytes) for call in calls
        )
        command = [str(runner), str(library), "calls", "{fd}", str(int(limits.seconds)), str(limits.memory)]
        ended = run_apart(
            command,
            folder=folder,
            seconds=limits.seconds,
            most_bytes=expected,
            env=_environment(limits, symbolizer),
        )
        log = "".join(path.read_text(errors="replace") for path in folder.glob("asan.*"))
    outputs, trouble = _read(operation, calls, ended, log)
    return Run(outputs, trouble, ended.printed.replace("AddressSanitizer:DEADLYSIGNAL\n", ""))


def _environment(limits: Limits, symbolizer: str) -> dict[str, str]:
    options = {
        "log_path": "asan", "detect_leaks": 0, "allocator_may_return_null": 1, "color": "never",
        "hard_rss_limit_mb": limits.memory >> 20,
    }  # fmt: skip
    sanitizer = ":".join(f"{name}={value}" for name, value in options.items())
    return {
        **os.environ,
        "ASAN_OPTIONS": sanitizer,
        **({"ASAN_SYMBOLIZER_PATH": symbolizer} if symbolizer else {}),
    }


def _output(operation: Operation, call: Arguments) -> np.ndarray:
    return call[operation.output]


def _written(operation: Operation, calls: Sequence[Arguments]) -> Iterator[bytes]:
    """The calls as runner.c reads them."""
    yield struct.pack("q", len(calls))
    for call in calls:
        numbers = [x for x in call if not isinstance(x, np.ndarray)]
        arrays = [np.ascontiguousarray(x) for x in call if isinstance(x, np.ndarray)]
        yield np.array(numbers, np.float64).tobytes()
        yield np.array([array.nbytes for array in arrays], np.int64).tobytes()
        output = _output(operation, call)
        for array in arrays:
            yield (np.full_like(array, operation.fill(array)) if array is output else array).tobytes()


def _read(
    operation: Operation, calls: Sequence[Arguments], ended: Ended, log: str
) -> tuple[list[list[np.ndarray]], Trouble | None]:
    """The records, each checked against what has to come next: the pipe is open to the cell's code, too."""
    outputs: list[list[np.ndarray]] = []
    addresses: tuple[int, ...] = ()
    at, data = 0, ended.data
    for number, call in enumerate(calls):
        output = _output(operation, call)
        outputs.append([])
        for end in range(ENDS):
            for wanted in (PLACED, RESULT):
                if at + RECORD.size > len(data):
                    return outputs, _without_record(ended, log, number, addresses)
                kind, *place, a, b, c, d, size = RECORD.unpack_from(data, at)
                payload = data[at + RECORD.size : at + RECORD.size + size] if 0 <= size <= len(data) else b""
                at += RECORD.size + len(payload)
                if kind == MISSING:
                    return outputs, Trouble("missing", number, text=payload.decode(errors="replace"))
                if place != [number, end] or kind not in (wanted, FAULT, OUTSIDE):
                    return outputs, Trouble("forged", number)
                if kind == FAULT:
                    return outputs, Trouble("fault", number, (a, b, c, d), addresses)
                if kind == OUTSIDE:
                    return outputs, Trouble("outside", number, (a,), addresses)
                if kind == PLACED:
                    addresses = struct.unpack(f"{len(payload) // 8}q", payload[: len(payload) // 8 * 8])
                elif len(payload) == output.nbytes:
                    outputs[-1].append(np.frombuffer(payload, output.dtype).reshape(output.shape))
                else:
                    return outputs, _without_record(ended, log, number, addresses)
    return outputs, None


def _without_record(ended: Ended, log: str, number: int, addresses: tuple[int, ...]) -> Trouble:
    if log:
        return Trouble("sanitizer", number, addresses=addresses, text=log)
    if ended.timed_out:
        return Trouble("timeout", number)
    return Trouble("exit", number, (ended.code,))
