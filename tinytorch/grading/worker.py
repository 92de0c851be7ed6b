"""The process in which a submission runs. It is started as a script and imports only Python and NumPy.

It obeys four orders: run cells, look a name up, call an object, read an attribute. It answers with values.
Whatever happens here can at worst give wrong values; what they are worth is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import wire  # type: ignore[import-not-found]  # found beside this file, for it runs as a script

PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
FORBIDDEN_EVENTS = (
    *("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.kill"),
    *("socket.", "ctypes.", "resource.setrlimit"),
)
BORROWED = "a build cell may not import tinytorch: what it asks for is to be written, not found"


def main() -> None:
    channel = Channel(os.dup(0), os.dup(1))
    # What the submission prints goes nowhere, and what it reads is empty.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.path.remove(str(Path(__file__).parent))  # the submission has no business here
    limit(*map(int, os.environ.pop("TINYTORCH_LIMITS").split()))
    sys.addaudithook(guard)  # cannot be taken off again
    channel.serve()


def limit(cpu_seconds: int, memory: int, file_bytes: int) -> None:
    """Limit what this process may use; there is no way to on Windows, where only the clock is left."""
    try:
        import resource
    except ImportError:
        return
    for what, soft, hard in (
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),  # first a signal that names the reason
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # already lower, or unknown to macOS
            resource.setrlimit(what, (soft, hard))


def guard(event: str, arguments: tuple) -> None:
    """Refuse the answer's package, other processes and the network."""
    if event == "import" and str(arguments[0]).split(".")[0] == "tinytorch":
        raise ImportError(BORROWED)
    if event == "open" and str(arguments[0]).startswith(PACKAGE):
        raise PermissionError(BORROWED)
    if event.startswith(FORBIDDEN_EVENTS):
        raise PermissionError(f"{event} is not allowed while a submission is graded")


class Channel:
    """Orders in, values out; objects that cannot travel stay in `objects` and are sent as their number."""

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink = os.fdopen(source, "rb"), os.fdopen(sink, "wb")
        self.objects: list[Any] = []
        self.names: dict[str, Any] = {"np": np, "__name__": "__main__"}

    def serve(self) -> None:
        while True:
            try:
                order = wire.receive(self.source, self.lower)
            except wire.WireError:
                return
            self.answer(order)

    def answer(self, order: dict) -> None:
        """Obey one order; whatever goes wrong is an answer, too."""
        try:
            reply = {"value": getattr(self, order.pop("do"))(**order)}
        except BaseException as error:  # SystemExit and KeyboardInterrupt are the submission's, not ours
            reply = {"error": self.describe(error)}
        wire.send(self.sink, reply, self.lift)

    def run(self, cells: list[str]) -> list[dict | None]:
        """Run cells in turn; the error of each that had one."""
        errors: list[dict | None] = []
        for number, source in enumerate(cells):
            try:
                exec(compile(source, f"<cell {number}>", "exec"), self.names)
                errors.append(None)
            except BaseException as error:
                errors.append(self.describe(error, source))
        return errors

    def look_up(self, name: str) -> list[Any]:
        return [self.names[name]] if name in self.names else []

    def call(self, target: Any, args: tuple, kwargs: dict) -> dict:
        """The result, and which of the arrays among `args` were changed."""
        before = [value.copy() for value in args if isinstance(value, np.ndarray)]
        result = target(*args, **kwargs)
        after = [value for value in args if isinstance(value, np.ndarray)]
        changed = [old.tobytes() != new.tobytes() for old, new in zip(before, after, strict=True)]
        return {"result": result, "changed": changed}

    def get(self, target: Any, attribute: str) -> Any:
        return getattr(target, attribute)

    def lift(self, value: Any) -> dict:
        self.objects.append(value)
        return {"object": len(self.objects) - 1}

    def lower(self, reference: dict) -> Any:
        if "object" in reference:
            return self.objects[reference["object"]]
        number = reference["function"]
        return lambda *args, **kwargs: self.call_back(number, args, kwargs)

    def call_back(self, number: int, args: tuple, kwargs: dict) -> Any:
        """Call one of the check's functions, obeying further orders until its result is here."""
        wire.send(self.sink, {"function": number, "args": args, "kwargs": kwargs}, self.lift)
        while True:
            message = wire.receive(self.source, self.lower)
            if "do" in message:
                self.answer(message)
            elif "raised" in message:
                raise RuntimeError(message["raised"])
            else:
                return message["returned"]

    @staticmethod
    def describe(error: BaseException, source: str = "") -> dict:
        line = ""
        trace = error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if name.startswith("<cell ") and source:
                line = source.splitlines()[trace.tb_lineno - 1].strip()
            trace = trace.tb_next
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "message": str(error)[:2000], "line": line}


if __name__ == "__main__":
    main()
