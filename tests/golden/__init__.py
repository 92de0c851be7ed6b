"""Arrays that PyTorch computed, for machines that do not have it.

`python -m tests.golden` writes them anew: for each module here, <module>.npz holds what its `make` returns.
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def load(topic: str) -> dict[str, np.ndarray]:
    """The stored arrays of one topic."""
    with np.load(FOLDER / f"{topic}.npz", allow_pickle=False) as stored:
        return dict(stored)
