"""Labelled images in memory, as bytes until they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.dataloader import Dataset
from tinytorch.transforms import ToTensor


class LabelledImages(Dataset):
    """Images with a class for each.

    Attributes
    ----------
    data : uint8 array, (N, H, W) or (N, H, W, 3)
    targets : int64 array, (N,)
    classes : list of str
    transform : callable
        Gets an image of `data`, as files and PIL have it; `ToTensor` unless another was given.
    """

    classes: list[str]

    def __init__(self, data: np.ndarray, targets: np.ndarray, transform: Callable | None = None) -> None:
        self.data, self.targets = data, targets
        self.transform = ToTensor() if transform is None else transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, idx: int) -> tuple[Any, int]:
        """What `transform` makes of image `idx`, and its class."""
        return self.transform(self.data[idx]), int(self.targets[idx])


def check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"{name}: split must be 'train' or 'test', not {split!r}")


def check_labels(title: str, name: str, labels: np.ndarray, classes: int) -> None:
    """ValueError, naming the first sample at fault, unless all labels are classes."""
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise ValueError(
            f"{title}: {name} holds the label {labels[wrong[0]]} for sample {wrong[0]}; there are only "
            f"{classes} classes, 0 to {classes - 1}"
        )
