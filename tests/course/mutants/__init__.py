"""Wrong solutions that students really write, one file for each lab: lab17.py holds a list MUTANTS.

They lie here and not in the package: nearly all of a wrong solution is a right one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A mistake: in the solution of the cell `build`, `old` (found there once) becomes `new`."""

    mistake: str
    build: str
    old: str
    new: str
