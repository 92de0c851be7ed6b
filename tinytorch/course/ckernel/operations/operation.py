"""What is known about an operation that a student may write in C."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Arguments = tuple[Any, ...]  # arrays and numbers in the order of the C parameters, the output among them
Call = Callable[..., np.ndarray]  # operands → the output, computed by the student's function

UNIT = 2.0**-24  # rounding error of float32
FLOAT_FILL, INT_FILL = 65536.0, 1_000_003  # what outputs hold before a call: whole, finite and unlikely


DTYPES = {"float": np.float32, "int32_t": np.int32, "uint8_t": np.uint8, "int8_t": np.int8}


@dataclass(frozen=True)
class Parameter:
    """One parameter of the C function; kind is "input", "output" or "number"."""

    name: str
    type: str
    kind: str

    @property
    def dtype(self) -> Any:
        """Of the elements that a pointer points to."""
        return DTYPES[self.type.removeprefix("const ").rstrip(" *")]


@dataclass(frozen=True)
class Case:
    """Operands to check the function with, and a name for them, such as ``m=1, k=7, n=1``.

    An exact case has operands so small and whole that no sum of theirs is rounded. A special one holds NaN
    or infinities.
    """

    name: str
    operands: Arguments
    exact: bool = True
    special: bool = False


@dataclass(frozen=True)
class Mistake:
    """A mistake that people make: what to say, and what the output is when it is made."""

    says: str
    output: Callable[..., np.ndarray]  # (operands..., expected=, fill=) → output


@dataclass(frozen=True)
class Opponent:
    """A function of ours to race against, on the same operands."""

    name: str
    call: Callable[[], Any]


@dataclass(frozen=True)
class Operation:
    """An operation that a cell of C can implement.

    Attributes
    ----------
    name : str
        Of the kernel it replaces, and of the C function.
    prototype : str
        The C function's declaration, without a semicolon. One pointer, the output, is not const.
    about : str
        What the function has to compute, and how its arrays lie in memory.
    stub : str
        A body to start from.
    arguments : operands → Arguments
        The C call's arguments, with a new output array; ValueError when operands do not fit each other.
    cases : () → Iterator[Case]
        From small to large.
    expected : operands → array
        The output, in float64 or as exact integers, by the plain loop.
    tolerance : operands → array
        How far rounding may take a float32 output from `expected`.
    mistakes : tuple of Mistake
        Looked for when the outputs are wrong.
    replacement : Call → function
        Gives a function as ``kernels.use`` takes it for this kernel.
    race_sizes : dict of name → default
    race_operands : sizes → operands
    work : operands → (operations, bytes)
        Of one call: two operations for each multiply-add; bytes of each operand and of the output once.
    opponents : operands → list of Opponent
        The plain loop where a lesson has it; TinyTorch's kernel comes last.
    """

    name: str
    prototype: str
    about: str
    stub: str
    arguments: Callable[..., Arguments]
    cases: Callable[[], Iterator[Case]]
    expected: Callable[..., np.ndarray]
    tolerance: Callable[..., np.ndarray]
    mistakes: tuple[Mistake, ...]
    replacement: Callable[[Call], Callable[..., np.ndarray]]
    race_sizes: dict[str, int]
    race_operands: Callable[..., Arguments]
    work: Callable[..., tuple[float, float]]
    opponents: Callable[..., list[Opponent]]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        inside = self.prototype[self.prototype.index("(") + 1 : -1]
        return tuple(_parameter(text.strip()) for text in inside.split(","))

    @cached_property
    def output(self) -> int:
        """The place of the output among the parameters."""
        return next(i for i, parameter in enumerate(self.parameters) if parameter.kind == "output")

    def fill(self, output: np.ndarray) -> float:
        """What an output of this dtype holds before the call."""
        return FLOAT_FILL if output.dtype.kind == "f" else INT_FILL

    def help(self) -> str:
        """The prototype, what it means, and a stub to start from."""
        return f"{self.about}\n\n    %%ckernel {self.name}\n" + "\n".join(
            f"    {line}" for line in self.source().splitlines()
        )

    def source(self) -> str:
        """A cell to start from: it compiles, and computes nothing."""
        body = "\n".join(f"    {line}" for line in self.stub.splitlines())
        return f"#include <stdint.h>\n\n{self.prototype}\n{{\n{body}\n}}\n"


def _parameter(text: str) -> Parameter:
    match = re.fullmatch(r"(.*[ *])(\w+)", text)
    assert match, text
    kind, name = match[1].strip(), match[2]
    if "*" not in kind:
        return Parameter(name, kind, "number")
    return Parameter(name, kind, "input" if kind.startswith("const") else "output")


def whole(*shape: int, seed: int = 0, low: int = -3, high: int = 4) -> np.ndarray:
    """Small whole numbers as float32: sums of their products are exact in any order."""
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def named(**sizes: int) -> str:
    """``m=1, k=7, n=1``."""
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def doubled(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]
