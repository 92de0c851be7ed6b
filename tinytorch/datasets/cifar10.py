"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes, read from the official binary version.

The archive is read without being extracted, so nothing in it can reach the disk.

Source: A. Krizhevsky, *Learning multiple layers of features from tiny images*, 2009. The archive's SHA-256 is
the one that TorchVision for Ruby and MLDatasets.jl have; the data's own page,
https://www.cs.toronto.edu/~kriz/cifar.html, gives its MD5, c32a1d4ab5d03f1284b67883e8d87530. The MD5 of the
files inside are those that the loaders of several projects agree on.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tinytorch.datasets._download import Remote, check_contents, download_files, how_to_get
from tinytorch.datasets._labelled import LabelledImages, check_labels, check_split

ARCHIVE = Remote(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/",),
)
FOLDER = "cifar-10-batches-bin"  # what the archive unpacks to
CONTENT_MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RECORD = 1 + 3 * 32 * 32  # the label, then a plane each of red, green and blue
LARGEST = 10_000 * RECORD  # what an official batch has


def download_cifar10(folder: str | os.PathLike) -> Path:
    """Download the archive into a folder (170 MB), unless it has it; returns its path.

    Raises
    ------
    ConnectionError
        If it can't be had; says what to download from where.
    """
    return download_files("CIFAR-10", [ARCHIVE], Path(folder))[0]


def load_cifar10(
    folder: str | os.PathLike, split: str = "train", *, download: bool = False, verify: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read CIFAR-10's training or test part.

    Parameters
    ----------
    folder : path
        Has cifar-10-binary.tar.gz, or what it unpacks to.
    split : str
        ``"train"`` (50,000 images, 614 MB as float32) or ``"test"`` (10,000).
    download : bool
        Whether to download the archive, if the folder lacks it.
    verify : bool
        Whether the contents must have the published checksums. False reads other data in the same format.

    Returns
    -------
    images : float32 array (N, 3, 32, 32), from 0 to 1
    labels : int64 array (N,), 0 to 9; `CLASSES` names them

    Raises
    ------
    FileNotFoundError
        If the files are missing; says what to download from where.
    ValueError
        If a file is damaged, or is not what its name says.
    """
    planes, labels = _read(folder, split, download, verify)
    return planes.astype(np.float32) / np.float32(255), labels


class CIFAR10(LabelledImages):
    """CIFAR-10 as a dataset: each sample is an image, a Tensor (3, 32, 32) from 0 to 1, and its class.

    Parameters
    ----------
    root : path
        Has cifar-10-binary.tar.gz, or what it unpacks to.
    train : bool
        The training part, or the test part.
    transform : callable, optional
        Makes the sample's image of a uint8 array (32, 32, 3); `ToTensor` by default.
    download, verify : bool
        As for `load_cifar10`.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        transform: Callable | None = None,
        download: bool = False,
        verify: bool = True,
    ) -> None:
        planes, labels = _read(root, "train" if train else "test", download, verify)
        super().__init__(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels, transform)
        self.classes = CLASSES


def _read(
    folder: str | os.PathLike, split: str, download: bool, verify: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    check_split("load_cifar10", split)
    folder = Path(folder)
    if download:
        download_cifar10(folder)
    names = [name for name in CONTENT_MD5 if name.startswith("test") == (split == "test")]
    records = []
    for name, content in _contents(folder, names).items():
        if not content or len(content) % RECORD:
            raise ValueError(
                f"CIFAR-10: {name} is damaged or cut short: {len(content):,} bytes are not a whole number of "
                f"records of {RECORD:,}"
            )
        batch = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        check_labels("CIFAR-10", name, batch[:, 0], len(CLASSES))
        if verify:
            check_contents("CIFAR-10", name, content, CONTENT_MD5[name])
        records.append(batch)
    joined = np.concatenate(records)
    return joined[:, 1:].reshape(-1, 3, 32, 32), joined[:, 0].astype(np.int64)


def _contents(folder: Path, names: list[str]) -> dict[str, bytes]:
    """What the files hold, in the order of their names."""
    for unpacked in (folder / FOLDER, folder):
        if all((unpacked / name).is_file() for name in names):
            return {name: (unpacked / name).read_bytes() for name in names}
    archive = folder / ARCHIVE.name
    if not archive.is_file():
        raise FileNotFoundError(
            f"CIFAR-10: {folder.absolute()} has neither {ARCHIVE.name} nor {FOLDER} with all of its batches. "
            "With a connection, download=True gets it. Without one: " + how_to_get([ARCHIVE], folder)
        )
    try:
        found = _from_archive(archive, names)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"CIFAR-10: {archive} is damaged or cut short ({error}); download it again"
        ) from None
    if missing := [name for name in names if name not in found]:
        raise ValueError(
            f"CIFAR-10: {archive} lacks {', '.join(missing)}; the binary version is needed, not the one for "
            "Python or Matlab"
        )
    return {name: found[name] for name in names}


def _from_archive(path: Path, names: list[str]) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            place = PurePosixPath(member.name)
            if place.is_absolute() or ".." in place.parts:
                raise ValueError(
                    f"CIFAR-10: {path} holds {member.name!r}, which would unpack outside its folder; this is "
                    "not the official archive, delete it"
                )
            if place.name not in names:
                continue
            file = archive.extractfile(member) if member.isfile() else None
            if file is None or member.size > LARGEST:
                raise ValueError(
                    f"CIFAR-10: {member.name} in {path} is not a file of at most {LARGEST:,} bytes; this is "
                    "not the official archive, delete it"
                )
            found[place.name] = file.read()
    return found
