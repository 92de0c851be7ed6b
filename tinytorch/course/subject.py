"""A student's own object as a check sees it.

A check never touches what a student wrote, only a `Subject` that stands for it. Calls and attributes go
through a channel to wherever the object lives: this process, in a notebook (`Here`), or a process of its own,
in a grader (`grading.isolate`). So one set of checks serves both, and a grader that runs them never runs a
line of a student's code.

Plain values (None, numbers, text, arrays, and lists, tuples and dicts of them) arrive as they are; whatever
else a student's code returns stays where it is, and the check gets another `Subject`.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinytorch.course.failures import Borrowed, CheckFailed, NotBuilt, StudentError

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.ndarray, np.generic)
OURS = "tinytorch"
# The lab's own helpers, which checks hand to students' functions; and what Python asks at every import.
NOT_AN_ANSWER = ("tinytorch.course", "tinytorch._aliases")


class Channel(Protocol):
    """The way to a student's objects."""

    def call(self, name: str, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any: ...

    def get(self, name: str, target: Any, attribute: str) -> Any: ...


class Subject:
    """Stands for a student's object; `name` is what messages call it."""

    __slots__ = ("_channel", "_name", "_target")

    def __init__(self, name: str, channel: Channel, target: Any) -> None:
        self._name, self._channel, self._target = name, channel, target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._channel.call(self._name, self._target, args, kwargs)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return self._channel.get(self._name, self._target, attribute)

    def __repr__(self) -> str:
        return f"your {self._name}"


def is_plain(value: Any) -> bool:
    """Whether a value can be handed over as it is."""
    if isinstance(value, dict):
        return all(is_plain(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(is_plain(item) for item in value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "biufc"
    return isinstance(value, PLAIN)


class Here:
    """The channel to objects in this process: a notebook."""

    def call(self, name: str, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        args = tuple(_handed_over(value) for value in args)
        kwargs = {key: _handed_over(value) for key, value in kwargs.items()}
        before = [value.copy() for value in args if isinstance(value, np.ndarray)]
        try:
            with no_borrowing(name):
                result = target(*args, **kwargs)
        except (CheckFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise raised(name, error) from error
        arrays = [value for value in args if isinstance(value, np.ndarray)]
        refuse_changes(name, [_differs(old, new) for old, new in zip(before, arrays, strict=True)])
        return self._seen(f"{name}(…)" if not isinstance(target, type) else name, result)

    def get(self, name: str, target: Any, attribute: str) -> Any:
        try:
            value = getattr(target, attribute)
        except AttributeError as error:
            raise raised(name, error) from error
        return self._seen(f"{name}.{attribute}", value)

    def _seen(self, name: str, value: Any) -> Any:
        return value if is_plain(value) else Subject(name, self, value)


def _handed_over(value: Any) -> Any:
    """What the student's function gets: arrays as copies, so that none reaches into the check's own."""
    if isinstance(value, Subject):
        return value._target
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple)) and not is_plain(value):
        return type(value)(_handed_over(item) for item in value)
    return _unwatched(value) if callable(value) else value


def _unwatched(function: Callable) -> Callable:
    """A check's own function, which may use all of tinytorch even while a student's code calls it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        watching = sys.getprofile()
        sys.setprofile(None)
        try:
            return function(*args, **kwargs)
        finally:
            sys.setprofile(watching)

    return call


def _differs(before: np.ndarray, after: np.ndarray) -> bool:
    return before.tobytes() != after.tobytes()


def refuse_changes(name: str, changed: list[bool]) -> None:
    """Functions of a lab leave their arguments as they were."""
    if any(changed):
        raise CheckFailed(
            f"{name} changed the array it was given (argument {changed.index(True)})",
            "x -= 1 and x[...] = 1 write into the caller's array; compute a new one: x = x - 1",
        )


def raised(name: str, error: BaseException) -> CheckFailed:
    """The failure for an exception that a student's code raised."""
    if isinstance(error, NotImplementedError):
        return NotBuilt(name)
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return StudentError(name, kinds, str(error), _line(error))


def _line(error: BaseException) -> str:
    """The line of the student's code where an exception came from, if its source is known."""
    ours = str(Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(ours) and "site-packages" not in f.filename]
    return (own[-1].line or "") if own else ""


# --- answers that were not written -------------------------------------------------------------------------


@contextlib.contextmanager
def no_borrowing(name: str) -> Iterator[None]:
    """While the block runs, a call of anything in tinytorch is noticed, however it was reached.

    `sys.setprofile` reports each function that is called, Python's and C's alike, with the module it is from.
    """
    found: list[str] = []

    def watch(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            module, function = frame.f_globals.get("__name__") or "", frame.f_code.co_name
        elif event == "c_call":
            module, function = getattr(argument, "__module__", None) or "", getattr(argument, "__name__", "")
        else:
            return
        if is_ours(module):
            found.append(f"{module}.{function}")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)
        if found:
            raise Borrowed(name, found[0])


def is_ours(module: Any) -> bool:
    """Whether a module is tinytorch's and could hold an answer."""
    return (
        isinstance(module, str)
        and module.split(".")[0] == OURS
        and not any(module == known or module.startswith(f"{known}.") for known in NOT_AN_ANSWER)
    )
