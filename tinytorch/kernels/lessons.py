"""The lessons: one matrix product in numbered steps, from the plain loop to the threaded kernel.

Each step adds one idea to the step before and is a few dozen lines of C in ``csrc/lessons/``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._checks import check_axes, check_ndim
from ._registry import _C

__all__ = ["Step", "matmul_steps"]


@dataclass(frozen=True)
class Step:
    """One step of a ladder; calling it multiplies.

    Attributes
    ----------
    number : int
        Its place on the ladder, from 0.
    name, description : str
        What it is called, and the idea it adds.
    flags : str
        What the compiler was told. The first steps have its auto-vectoriser off, so that what they
        gain is the idea's and not the compiler's.
    source : str
        The file to read, in a checkout.
    """

    number: int
    name: str
    description: str
    flags: str
    source: str

    def __call__(self, a: ArrayLike, b: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """a (M, K) @ b (K, N) by this step.

        Parameters
        ----------
        a, b : array
            Become float32 and C-contiguous.
        out : array, (M, N) float32, optional
            Where the result goes; it shares no memory with a and b.

        Returns
        -------
        array, (M, N) float32

        Raises
        ------
        ValueError
            When a has another number of columns than b has rows, or out does not fit.
        TypeError
            For operands that are not real numbers, or an out of another dtype.
        """
        kernel = f"lesson {self.name}"
        a, b = (_C.as_float32(np.asarray(x)) for x in (a, b))
        check_ndim(kernel, "a", a, 2, "(M, K)")
        check_ndim(kernel, "b", b, 2, "(K, N)")
        check_axes(
            kernel, "a must have as many columns as b has rows", ("a", a.shape, 1), ("b", b.shape, 0),
            "transpose one of them, or reshape it",
        )  # fmt: skip
        return _C.lesson_matmul(self.number, a, b, out)


def matmul_steps() -> list[Step]:
    """The matmul ladder in order: plain, reordered, tiled, vectorised, packed, threaded."""
    return [
        Step(number, name, description, flags, f"csrc/lessons/{source}")
        for number, (name, description, flags, source) in enumerate(_C.lesson_steps())
    ]
