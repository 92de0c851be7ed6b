"""Kernels of one's own in C: a cell is compiled, checked, raced against ours, and put in its place.

In a notebook, after ``%load_ext tinytorch.course``, a cell that begins with ``%%ckernel matmul`` does all
of it; ``%ckernel --help matmul`` says what the function has to look like. Without a notebook:

>>> from tinytorch.course import ckernel
>>> print(ckernel.OPERATIONS["matmul"].help().splitlines()[0])
matmul: c = a b. a is (m, k), b is (k, n), c is (m, n); rows lie one after the other, so that
"""

from .compiler import CompilerMissing
from .judge import Report
from .kernel import StudentKernel, compile
from .operations import OPERATIONS, Operation
from .process import Limits
from .racing import StudentRace, price

__all__ = [
    "OPERATIONS",
    "CompilerMissing",
    "Limits",
    "Operation",
    "Report",
    "StudentKernel",
    "StudentRace",
    "compile",
    "price",
]
