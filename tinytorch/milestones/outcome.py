"""What a milestone gives back, and what its scripts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import viz
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.tensor import Tensor


class Unavailable(Exception):
    """A milestone that needs files which are not here; the message says how to get them."""


@dataclass
class Outcome:
    """What one run of a milestone showed.

    Attributes
    ----------
    accuracy : float
        Per cent of right answers to what the network was not trained on (or, where there is nothing else, to
        all there is), measured in this run.
    reached : bool
        Whether the target was.
    findings : list of str
        Sentences about what was seen.
    pictures : dict
        Name → matplotlib figure.
    year, seed, seconds, written
        Filled in by `milestones.run`: which run it was, how long it took, and the files of its pictures.
    """

    accuracy: float
    reached: bool
    findings: list[str] = field(default_factory=list)
    pictures: dict[str, Any] = field(default_factory=dict)
    year: int = 0
    seed: int = 0
    seconds: float = 0.0
    written: list[Path] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        values = {name: value for name, value in vars(self).items() if name not in ("pictures", "written")}
        return {**values, "written": [str(path) for path in self.written]}


def batches(images: Any, labels: Any, size: int, seed: int) -> DataLoader:
    """Shuffled batches of images and labels."""
    data = TensorDataset(Tensor(images), Tensor(labels))
    return DataLoader(data, batch_size=size, shuffle=True, seed=seed)


def curve(title: str, losses: Mapping[str, Sequence[float]], x_label: str = "epoch") -> Any:
    """The picture of training losses."""
    series = [{"name": name, "x": np.arange(1, len(y) + 1), "y": y} for name, y in losses.items()]
    return viz.lines(series, title=title, x_label=x_label, y_label="training loss", y_scale="log")
