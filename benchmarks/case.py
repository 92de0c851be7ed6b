"""What a family of benchmarks is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Call = Callable[[], object]


@dataclass
class Case:
    """One computation, ready to be raced: all buffers made, all weights packed, both sides warm.

    Attributes
    ----------
    family : str
        "matmul", "conv2d", ...
    shape : str
        What the reader sees, e.g. "512 x 512 x 512".
    ours : function of no arguments
    peers : library's name → function of no arguments that computes the same
        The same courtesy as for ours: ``out=``, weights packed where ours are, the same threads.
    own : name → function of no arguments
        Other forms of ours to compare with, e.g. "float32".
    operations : float, optional
        Of one call, multiplications and additions counted apart; gives the share of the measured peak.
    read_bytes : float, optional
        What one call must read at least; gives the share of the measured bandwidth.
    """

    family: str
    shape: str
    ours: Call
    peers: dict[str, Call]
    own: dict[str, Call] = field(default_factory=dict)
    operations: float | None = None
    read_bytes: float | None = None
