"""A program run apart from this process, with a deadline and a folder of its own, and all of it ended.

It hands back bytes through a pipe, and whatever it prints goes to a file. Nothing of what it sends is ever
executed or unpickled. This guards against accidents, not against somebody who means harm: the program has its
user's rights.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SLICE = 0.1  # seconds between two looks at the clock
MOST_PRINTED = 2000  # characters of what it printed that are kept


@dataclass(frozen=True)
class Limits:
    """What a cell's code may use.

    Attributes
    ----------
    seconds : float
        For all checks together, on the clock and of CPU time; a race gets more.
    memory : int
        Bytes of address space. macOS does not enforce it.
    """

    seconds: float = 10.0
    memory: int = 2**30


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes
    ----------
    data : bytes
        What it sent.
    code : int
        Its exit code, minus the signal's number when a signal ended it.
    timed_out : bool
    printed : str
        The beginning of what it printed.
    """

    data: bytes
    code: int
    timed_out: bool
    printed: str


def run_apart(
    command: Sequence[str],
    *,
    folder: Path,
    seconds: float,
    most_bytes: int,
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program until it ends, has sent `most_bytes`, or `seconds` are over; then end its whole group.

    Parameters
    ----------
    command : sequence of str
        ``{fd}`` in it is replaced by the number of the file descriptor for what it sends.
    folder : Path
        Where it runs, and where what it prints is kept.
    """
    receives, sends = os.pipe()
    printed = folder / "printed.txt"
    try:
        with printed.open("wb") as output:
            process = subprocess.Popen(
                [part.replace("{fd}", str(sends)) for part in command],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(sends,),
                start_new_session=True,  # a group of its own, so that its children end with it
            )
        os.close(sends)
        sends = -1
        try:
            data, timed_out = _receive(receives, seconds, most_bytes)
            if not timed_out:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        os.close(receives)
        if sends >= 0:
            os.close(sends)
    with printed.open(errors="replace") as file:
        said = file.read(MOST_PRINTED)
    return Ended(data, process.returncode, timed_out, said)


def _receive(pipe: int, seconds: float, most_bytes: int) -> tuple[bytes, bool]:
    """What comes through the pipe, and whether the time ended it."""
    data = bytearray()
    while len(data) < most_bytes:
        start = time.monotonic()
        if select.select([pipe], [], [], min(SLICE, max(seconds, 0)))[0]:
            part = os.read(pipe, 1 << 20)
            if not part:
                break
            data += part
        # A pause of the whole machine, or of this process with its children, is not the program's fault.
        seconds -= min(time.monotonic() - start, 2 * SLICE)
        if seconds <= 0:
            return bytes(data), True
    return bytes(data), False
