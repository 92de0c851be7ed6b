"""The course's notebooks: their checks, predictions and tools.

In a notebook::

    from tinytorch.course import open_lab

    lab = open_lab(17)
"""

from tinytorch.course.checks import Lab, open_lab

__all__ = ["Lab", "open_lab"]
