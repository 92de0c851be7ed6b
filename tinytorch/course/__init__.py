"""The course's notebooks: their checks, predictions and tools.

In a notebook::

    from tinytorch.course import open_lab

    lab = open_lab(17)

and ``%load_ext tinytorch.course`` for cells of C, ``%%ckernel matmul``.
"""

from typing import Any

from tinytorch.course.checks import Lab, open_lab

__all__ = ["Lab", "open_lab"]


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext tinytorch.course``: make ``%%ckernel`` known to an IPython shell."""
    from tinytorch.course.ckernel import magic

    magic.register(shell)
