"""What turns the package into a course."""

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext tinytorch.course``: the cells that notebooks of the course use."""
    from .ckernel import magic

    magic.register(shell)
