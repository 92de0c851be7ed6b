"""MNIST: 70,000 handwritten digits of 28x28 pixels, read from the official IDX files.

Source: Y. LeCun, C. Cortes and C. J. C. Burges, *The MNIST database of handwritten digits*, 1998. The SHA-256
of the files, and the MD5 of their contents, are those that the loaders of many projects agree on.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinytorch.datasets._download import Remote, check_contents, download_files, how_to_get
from tinytorch.datasets._labelled import LabelledImages, check_labels, check_split

ORIGINS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
REMOTES = [
    Remote(name, size, sha256, ORIGINS)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
]
# Of the files as they are when uncompressed.
CONTENT_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
PREFIX = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 8  # IDX's code for the only type that MNIST uses


def download_mnist(folder: str | os.PathLike) -> list[Path]:
    """Download the four files into a folder (12 MB), unless it has them; returns their paths.

    Raises
    ------
    ConnectionError
        If they can't be had; says what to download from where.
    """
    return download_files("MNIST", REMOTES, Path(folder))


def load_mnist(
    folder: str | os.PathLike, split: str = "train", *, download: bool = False, verify: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read MNIST's training or test part.

    Parameters
    ----------
    folder : path
        Has the official files, compressed (.gz) or not.
    split : str
        ``"train"`` (60,000 images) or ``"test"`` (10,000).
    download : bool
        Whether to download what the folder lacks.
    verify : bool
        Whether the contents must have the published checksums. False reads other data in the same format,
        such as Fashion-MNIST.

    Returns
    -------
    images : float32 array (N, 1, H, W), from 0 to 1
    labels : int64 array (N,), 0 to 9

    Raises
    ------
    FileNotFoundError
        If a file is missing; says what to download from where.
    ValueError
        If a file is damaged, is not what its name says, or does not fit its partner.
    """
    images, labels = _read(folder, split, download, verify)
    return images[:, None].astype(np.float32) / np.float32(255), labels


class MNIST(LabelledImages):
    """MNIST as a dataset: each sample is an image, a Tensor (1, 28, 28) from 0 to 1, and its digit.

    Parameters
    ----------
    root : path
        Has the official files, compressed (.gz) or not.
    train : bool
        The training part, or the test part.
    transform : callable, optional
        Makes the sample's image of a uint8 array (28, 28); `ToTensor` by default.
    download, verify : bool
        As for `load_mnist`.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        transform: Callable | None = None,
        download: bool = False,
        verify: bool = True,
    ) -> None:
        super().__init__(*_read(root, "train" if train else "test", download, verify), transform)
        self.classes = [str(digit) for digit in range(10)]


def _read(
    folder: str | os.PathLike, split: str, download: bool, verify: bool
) -> tuple[np.ndarray, NDArray[np.int64]]:
    check_split("load_mnist", split)
    folder = Path(folder)
    if download:
        download_mnist(folder)
    images = _read_part(folder, f"{PREFIX[split]}-images-idx3-ubyte", 3, verify)
    name = f"{PREFIX[split]}-labels-idx1-ubyte"
    labels = _read_part(folder, name, 1, verify)
    if len(images) != len(labels):
        raise ValueError(
            f"MNIST: {len(images)} images, but {len(labels)} labels; the files in {folder} belong to "
            "different sets"
        )
    check_labels("MNIST", name, labels, 10)
    return images, labels.astype(np.int64)


def _read_part(folder: Path, name: str, ndim: int, verify: bool) -> np.ndarray:
    path = _find(folder, name)
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":  # by its contents: some browsers unpack what they download
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"MNIST: {path} is damaged or cut short ({error}); download it again") from None
    array = parse_idx(content, str(path))
    if array.ndim != ndim:
        raise ValueError(f"MNIST: {path} must have {ndim} axes, and has {array.ndim}: shape {array.shape}")
    if verify:
        check_contents("MNIST", str(path), content, CONTENT_MD5[name])
    return array


def _find(folder: Path, name: str) -> Path:
    for candidate in (f"{name}.gz", name, name.replace("-idx", ".idx")):
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileNotFoundError(
        f"MNIST: {folder.absolute()} has neither {name}.gz nor {name}. With a connection, download=True "
        "gets it. Without one: " + how_to_get(REMOTES, folder)
    )


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """The array that an IDX file of bytes holds.

    The format: two zero bytes, the type's code, the number of axes; for each axis its length, 4 bytes, the
    most significant first; then the values, the last axis fastest.

    Raises
    ------
    ValueError
        If `content` is something else, naming `name`.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or not content[3]:
        raise ValueError(f"MNIST: {name} is not an IDX file: it starts with {content[:4].hex() or 'nothing'}")
    if content[2] != UNSIGNED_BYTE:
        raise ValueError(
            f"MNIST: {name} holds IDX type 0x{content[2]:02x}; only unsigned bytes (0x08) are read"
        )
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    size = math.prod(shape)
    if len(content) < start or len(content) - start != size:
        state = "cut short" if len(content) - start < size else "longer than its header says"
        raise ValueError(
            f"MNIST: {name} is {state}: its header promises {start} + {size:,} bytes for shape "
            f"{tuple(shape)}, and it has {len(content):,}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
