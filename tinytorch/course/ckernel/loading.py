"""A compiled cell called in this process."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .operations import Arguments, Operation
from .operations.operation import Parameter

C_TYPES = {"int": ctypes.c_int, "float": ctypes.c_float}
MOST_ELEMENTS = 2**31 - 1  # what an int counts


def load(library: Path | str, operation: Operation) -> Any:
    """The operation's function, which takes addresses and numbers."""
    function = getattr(ctypes.CDLL(str(library)), operation.name)
    function.restype = None
    function.argtypes = [C_TYPES.get(p.type, ctypes.c_void_p) for p in operation.parameters]
    return function


def addressed(arguments: Arguments) -> list[Any]:
    """Arguments with the addresses of the arrays, which have to outlive the call."""
    return [x.ctypes.data if isinstance(x, np.ndarray) else x for x in arguments]


def call(function: Any, operation: Operation, operands: Sequence[Any]) -> np.ndarray:
    """Call a loaded function on operands, whose arrays become contiguous and float32 where that is asked for.

    Raises
    ------
    ValueError
        When the operands do not fit each other, or have more elements than C's int can count.
    TypeError
        For integers of another type, or what are not real numbers: a conversion might change values.
    """
    arrays = (np.asarray(x) if isinstance(x, (list, tuple)) else x for x in operands)
    given = operation.arguments(*arrays)
    arguments = tuple(_checked(operation, p, x) for p, x in zip(operation.parameters, given, strict=True))
    function(*addressed(arguments))
    return arguments[operation.output]


def _checked(operation: Operation, parameter: Parameter, value: Any) -> Any:
    if parameter.kind == "number":
        return value
    if value.size > MOST_ELEMENTS:
        raise ValueError(f"{operation.name}: {parameter.name} has more elements than a C int can count")
    wanted = np.dtype(parameter.dtype)
    if value.dtype != wanted and (wanted.kind != "f" or value.dtype.kind not in "fiub"):
        raise TypeError(f"{operation.name}: {parameter.name} must hold {wanted}, and holds {value.dtype}")
    return np.ascontiguousarray(value, wanted)
