"""The files that ship with the package, and the checksums they must have."""

from __future__ import annotations

import hashlib
from pathlib import Path

DATA_FOLDER = Path(__file__).parent / "data"

SHA256 = {
    "digits.npz": "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e",
    "alice.txt": "f76b5aff5e51365fa2c5f8ccf70ffc26c68def65860d052ee2ed25d31b00fa47",
    "as_you_like_it.txt": "2f6db7b0ce29a6203a14bc1a047c2ffad46974c4ff11c9e2a60b45facca444ec",
}


def read_checked(filename: str) -> bytes:
    """Return the bytes of a shipped file after checking its SHA-256.

    A changed data set would make every accuracy in a report incomparable, so a
    difference is an error, not a warning.

    Raises
    ------
    FileNotFoundError
        The file is not beside the package.
    ValueError
        The file's contents are not what was shipped.
    """
    path = DATA_FOLDER / filename
    cure = "Install the package again; in a checkout: git checkout tinytorch/datasets/data."
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{filename} is missing from {DATA_FOLDER}. {cure}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[filename]:
        raise ValueError(
            f"{path} is not the file that was shipped, so results from it could not be compared.\n"
            f"  sha256 found:    {found}\n"
            f"  sha256 expected: {SHA256[filename]}\n"
            f"{cure}"
        )
    return content
