"""The checks of a lab: one set for notebook, nbgrader and autograder.

A check is a function whose parameters are named after the student's objects; it calls them and raises
`CheckFailed`, most easily through `expect`, `same` and `close`::

    lab = Lab(17, "Quantization")

    @lab.add("observer", points=2)
    def check_observer(Observer, *, rng):
        "The observer remembers the range of all batches."
        observer = Observer()
        ...

`rng` makes the inputs. In a notebook its seed is always the same; a grader draws fresh ones, after the
student's code is loaded, so an answer cannot be written down beforehand.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.course import predictions
from tinytorch.course.failures import CheckFailed, Died, NotBuilt, StudentError
from tinytorch.course.subject import Here, Subject, is_plain

PUBLIC_SEED = 0
HIDDEN_SEEDS = 3


@dataclass(frozen=True)
class Check:
    """One check: what it needs from the student, what it is worth and how long it may take."""

    name: str
    title: str
    points: int
    needs: tuple[str, ...]
    function: Callable[..., None]
    seconds: float

    def run(self, subjects: list[Any], seed: int) -> None:
        """Raise `CheckFailed` if something is wrong."""
        random = {"rng": np.random.default_rng(seed)} if "rng" in _parameters(self.function)[1] else {}
        try:
            self.function(*subjects, **random)
        except (CheckFailed, Died):
            raise
        except Exception as error:  # such as comparing an array with a text that should be one
            raise CheckFailed(
                f"what {' and '.join(self.needs)} gave back cannot be compared ({type(error).__name__}: "
                f"{error})",
                "compare what your code returns with what the stub's docstring says",
            ) from error


class Lab:
    """A lab's checks and predictions, as its notebook uses them.

    Attributes
    ----------
    number : int
    title : str
    checks : name → Check, in the order in which a student meets them
    seconds : about how long a race in this lab's notebook takes; less where TINYTORCH_QUICK is set
    """

    def __init__(self, number: int, title: str) -> None:
        self.number, self.title = number, title
        self.checks: dict[str, Check] = {}

    @property
    def points(self) -> int:
        return sum(check.points for check in self.checks.values())

    @property
    def seconds(self) -> float:
        return 0.02 if os.environ.get("TINYTORCH_QUICK") else 0.4

    def add(self, name: str, *, points: int, seconds: float = 10.0) -> Callable:
        """Decorator: make a function this lab's next check. The first line of its docstring is its title."""

        def register(function: Callable[..., None]) -> Callable[..., None]:
            if name in self.checks:
                raise ValueError(f"lab {self.number}: there are two checks named {name!r}")
            title = (inspect.getdoc(function) or "").partition("\n")[0]
            needs, _ = _parameters(function)
            self.checks[name] = Check(name, title, points, needs, function, seconds)
            return function

        return register

    def check(self, name: str, *objects: Any, hidden: bool = False) -> None:
        """Check the student's own objects, in this process.

        Parameters
        ----------
        name : str
            Of the check.
        *objects
            In the order of the check's parameters.
        hidden : bool
            With inputs that nobody has seen before, as a grader does.

        Raises
        ------
        CheckFailed
            With what is wrong and a hint.
        """
        check = self._find(name)
        if len(objects) != len(check.needs):
            raise TypeError(f"check {name!r} takes {', '.join(check.needs)}; got {len(objects)} objects")
        for need, value in zip(check.needs, objects, strict=True):
            if value is None or value is ...:
                raise NotBuilt(need)
        channel = Here()
        subjects = [
            value if is_plain(value) else Subject(need, channel, value)
            for need, value in zip(check.needs, objects, strict=True)
        ]
        with _stderr_decides_nothing():
            for seed in fresh_seeds() if hidden else [PUBLIC_SEED]:
                check.run(subjects, seed)
        if not hidden:
            print(f"{name}: right. {check.title}")

    def predict(self, key: str, **guesses: float) -> None:
        """Store a guess; see `predictions.store`."""
        predictions.store(self.number, key, guesses)

    def prediction(self, key: str) -> dict[str, float]:
        """The stored guess, which from now on stays as it is; see `predictions.reveal`."""
        return predictions.reveal(self.number, key)

    def _find(self, name: str) -> Check:
        if name not in self.checks:
            raise ValueError(f"lab {self.number} has no check {name!r}; it has {', '.join(self.checks)}")
        return self.checks[name]


def _parameters(function: Callable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the positional parameters, and of the keyword-only ones."""
    parameters = inspect.signature(function).parameters.values()
    keywords = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY), keywords


def fresh_seeds() -> list[int]:
    """Seeds that nobody could know before."""
    return [int.from_bytes(os.urandom(8), "little") for _ in range(HIDDEN_SEEDS)]


@contextlib.contextmanager
def _stderr_decides_nothing() -> Iterator[None]:
    """nbgrader gives 0 points for any text on stderr, a NumPy warning is enough; so it goes to stdout."""
    with contextlib.redirect_stderr(sys.stdout), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- finding labs ------------------------------------------------------------------------------------------


def numbers() -> list[int]:
    """The numbers of all labs that have checks."""
    return sorted(int(path.stem[3:]) for path in (Path(__file__).parent / "labs").glob("lab*.py"))


def open_lab(number: int) -> Lab:
    """The lab with this number."""
    if number not in numbers():
        raise ValueError(f"there is no lab {number}; there are {', '.join(map(str, numbers()))}")
    return importlib.import_module(f"tinytorch.course.labs.lab{number:02d}").lab


# --- what checks say ---------------------------------------------------------------------------------------


def expect(condition: Any, problem: str, hint: str = "") -> None:
    """Fail with this problem unless the condition holds."""
    if not condition:
        raise CheckFailed(problem, hint)


def choice(answer: Any, right: str, hint: str, *, judge: str = "the measurements say") -> None:
    """Fail unless the answer is the right one of the letters a to d."""
    letter = answer.strip().lower() if isinstance(answer, str) else ""
    expect(
        letter in ("a", "b", "c", "d"),
        f"the answer is one of the letters a, b, c and d, and this is {answer!r}",
    )
    expect(letter == right, f"({letter}) is not what {judge}", hint)


def expect_error(kind: str, call: Callable, *args: Any, hint: str = "") -> None:
    """The call must raise an exception of this kind (its class's name, or a base's)."""
    try:
        call(*args)
    except StudentError as error:
        expect(kind in error.kinds, f"{error.problem}; a {kind} was expected", hint)
    else:
        raise CheckFailed(f"{call!r} must raise {kind} here, and raised nothing", hint)


def same(name: str, got: Any, wanted: Any, hint: str = "", *, dtype: bool = True) -> None:
    """Arrays of the same shape, dtype and values, NaN included; numbers likewise."""
    _alike(name, got, wanted, hint, dtype)
    different = ~((np.asarray(got) == wanted) | (_is_nan(got) & _is_nan(wanted)))
    _first_difference(name, got, wanted, different, hint)


def close(name: str, got: Any, wanted: Any, hint: str = "", *, rtol: float = 1e-5, atol: float = 0.0) -> None:
    """Arrays of the same shape whose values agree to `rtol` of the largest value there, plus `atol`."""
    _alike(name, got, wanted, hint, dtype=False)
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    allowed = atol + rtol * np.abs(wanted).max(initial=0.0)
    _first_difference(name, got, wanted, ~(np.abs(got - wanted) <= allowed), hint)


def _is_nan(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return np.isnan(value) if value.dtype.kind in "fc" else np.zeros(value.shape, bool)


def _alike(name: str, got: Any, wanted: Any, hint: str, dtype: bool) -> None:
    expect(got is not None, f"{name} is None", "did the function forget `return`?")
    expect(
        not isinstance(got, (Subject, str, dict)),
        f"{name} should be {_kind(wanted)}, and is {got!r}",
        hint,
    )
    got, wanted = np.asarray(got), np.asarray(wanted)
    expect(got.shape == wanted.shape, f"{name} should have shape {wanted.shape}, and has {got.shape}", hint)
    if dtype:
        expect(got.dtype == wanted.dtype, f"{name} should be {wanted.dtype}, and is {got.dtype}", hint)


def _kind(value: Any) -> str:
    return f"an array {value.shape}" if isinstance(value, np.ndarray) and value.ndim else "a number"


def _first_difference(name: str, got: Any, wanted: Any, different: Any, hint: str) -> None:
    different = np.asarray(different)
    if not different.any():
        return
    got, wanted = np.asarray(got), np.asarray(wanted)
    where = tuple(int(i) for i in np.argwhere(different)[0])
    place = f"[{', '.join(map(str, where))}]" if where else ""
    count = f" ({different.sum()} of {different.size} are wrong)" if different.size > 1 else ""
    raise CheckFailed(f"{name}{place} should be {wanted[where]}, and is {got[where]}{count}", hint)
