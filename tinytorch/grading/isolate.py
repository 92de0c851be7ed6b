"""A process of its own for a submission, with limits on time and memory, and the channel to it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinytorch.course.failures import Borrowed, CheckFailed, Died, NotBuilt, StudentError
from tinytorch.course.subject import Subject, refuse_changes
from tinytorch.grading import wire

NO_ANSWER = "it sent what is no answer"
BORROWED = "a build cell may not import tinytorch"  # the start of the worker's own words


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    seconds : of wall clock, for loading its cells
    cpu_seconds : for each process that runs it
    memory : bytes of address space
    file_bytes : that it may write
    """

    seconds: float = 30.0
    cpu_seconds: int = 60
    memory: int = 4 * 2**30
    file_bytes: int = 16 * 2**20


class Worker:
    """A submission's process. As a context manager it takes its process along at the end.

    Implements `course.subject.Channel`.

    Parameters
    ----------
    cells : list of str
        The code to load.
    """

    def __init__(self, cells: list[str], limits: Limits) -> None:
        self.cells, self.limits = cells, limits
        self.deadline = 0.0
        self.errors: list[CheckFailed | None] = []
        self._functions: list[Callable] = []
        self._folder = tempfile.mkdtemp(prefix="tinytorch-grading-")
        here = Path(__file__).parent
        variables = {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TINYTORCH_LIMITS": f"{limits.cpu_seconds} {limits.memory} {limits.file_bytes}",
        }
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            variables[name] = "1"
        if "SYSTEMROOT" in os.environ:  # without it Python does not start on Windows
            variables["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        self._process = subprocess.Popen(
            [sys.executable, str(here / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env=variables,
            start_new_session=True,
        )
        self._replies: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):  # what it was not sent in time
            self._process.stdin.close()  # type: ignore[union-attr]
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- what a check asks for ---

    def load(self) -> None:
        """Run the cells; what each raised is in `errors`.

        Raises
        ------
        Died
            If the process ended or took too long.
        """
        self.allow(self.limits.seconds)
        match self._order(do="run", cells=self.cells):
            case [*errors] if len(errors) == len(self.cells):
                self.errors = [None if error is None else failure("the cell", error) for error in errors]
            case _:
                raise Died(NO_ANSWER)

    def allow(self, seconds: float) -> None:
        """From now on the worker has this much time."""
        self.seconds, self.deadline = seconds, time.monotonic() + seconds

    def look_up(self, name: str) -> list[Any]:
        """The submission's object of this name, in a list that is empty if there is none."""
        match self._order(do="look_up", name=name):
            case ([] | [_]) as found:
                return found
        raise Died(NO_ANSWER)

    def call(self, name: str, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        match self._order(name, do="call", target=target, args=args, kwargs=kwargs):
            case {"result": result, "changed": [*changed]}:
                refuse_changes(name, changed)
                return _named(result, name)
        raise Died(NO_ANSWER)

    def get(self, name: str, target: Any, attribute: str) -> Any:
        return _named(self._order(name, do="get", target=target, attribute=attribute), f"{name}.{attribute}")

    # --- the protocol ---

    def _order(self, about: str = "the submission", **order: Any) -> Any:
        """Send an order and wait for its answer, calling the check's functions when it asks for them."""
        self._send(order)
        while True:
            reply = self._next()
            match reply:
                case {"value": value}:
                    return value
                case {"error": error}:
                    raise failure(about, error)
                case {"function": int(number), "args": tuple(args), "kwargs": dict(kwargs)}:
                    self._call_back(number, args, kwargs)
                case _:
                    raise Died(NO_ANSWER)

    def _call_back(self, number: int, args: tuple, kwargs: dict[str, Any]) -> None:
        if not 0 <= number < len(self._functions):
            raise Died("it called a function that it was never given")
        try:
            message = {"returned": self._functions[number](*args, **kwargs)}
        except (Died, CheckFailed):
            raise
        except Exception as error:
            message = {"raised": f"{type(error).__name__}: {error}"}
        self._send(message)

    def _send(self, message: Any) -> None:
        try:
            wire.send(self._process.stdin, message, self._lift)  # type: ignore[arg-type]
        except OSError:
            raise Died(self._why()) from None

    def _next(self) -> Any:
        try:
            reply = self._replies.get(timeout=max(self.deadline - time.monotonic(), 0.001))
        except queue.Empty:
            raise Died(
                f"it did not finish within {self.seconds:g} seconds; is there an endless loop?"
            ) from None
        if isinstance(reply, wire.WireError):
            raise Died(self._why(str(reply)))
        return reply

    def _read(self) -> None:
        """Put answers into the queue, in a thread: reading from a pipe has no time limit of its own."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while True:
                try:
                    reply = wire.receive(pipe, self._lower)  # type: ignore[arg-type]
                except (wire.WireError, OSError, ValueError) as error:
                    self._replies.put(wire.WireError(str(error)))
                    return
                self._replies.put(reply)

    def _lift(self, value: Any) -> dict[str, int]:
        if isinstance(value, Subject):
            return {"object": value._target.number}
        if callable(value):
            self._functions.append(value)
            return {"function": len(self._functions) - 1}
        if isinstance(value, _Remote):
            return {"object": value.number}
        raise TypeError(f"a check cannot send {type(value).__name__} to a student's function")

    def _lower(self, reference: dict) -> Subject:
        return Subject("result", self, _Remote(int(reference["object"])))

    def _why(self, otherwise: str = "it broke off") -> str:
        try:
            code = self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            return otherwise
        if code < 0:
            reason = signal.Signals(-code).name
            return f"its process was killed ({reason}){_REASONS.get(reason, '')}"
        return f"its process ended by itself, with exit code {code}"


@dataclass(frozen=True)
class _Remote:
    """The number under which the worker keeps an object."""

    number: int


_REASONS = {
    "SIGXCPU": ": it used up its CPU time; is there an endless loop?",
    "SIGKILL": ": it used up its CPU time or its memory",
    "SIGSEGV": ": it touched memory that is not its own",
    "SIGXFSZ": ": it wrote too much to a file",
}


def failure(about: str, error: Any) -> CheckFailed:
    """The failure for an exception in the worker, as the worker describes it."""
    match error:
        case {"kinds": [*kinds], "message": str(message), "line": str(line)} if kinds:
            kinds = [str(kind) for kind in kinds]
        case _:
            raise Died(NO_ANSWER)
    if "NotImplementedError" in kinds:
        return NotBuilt(about)
    if message.startswith(BORROWED):
        return Borrowed(about, "tinytorch")
    return StudentError(about, kinds, message, line)


def _named(value: Any, name: str) -> Any:
    return Subject(name, value._channel, value._target) if isinstance(value, Subject) else value
