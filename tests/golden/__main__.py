"""Compute all stored arrays with PyTorch and write them: `python -m tests.golden [TOPIC ...]`."""

import importlib
import sys

import numpy as np

from . import FOLDER

LARGEST = 100_000  # bytes of a file

for topic in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("[!_]*.py")):
    arrays = importlib.import_module(f"tests.golden.{topic}").make()
    path = FOLDER / f"{topic}.npz"
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size} bytes")
    assert path.stat().st_size < LARGEST
