"""Files from the net: checked, and whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = 1 << 16
TIMEOUT = 30  # seconds without an answer


class Remote(NamedTuple):
    """A published file: its name, size in bytes, SHA-256, and the folders of the net that have it."""

    name: str
    size: int
    sha256: str
    origins: tuple[str, ...]

    @property
    def urls(self) -> list[str]:
        return [origin + self.name for origin in self.origins]


def how_to_get(remotes: list[Remote], folder: Path) -> str:
    """What to do by hand."""
    lines = [f"  {remote.urls[0]}  ({remote.size:,} bytes)" for remote in remotes]
    return "\n".join([f"Download into {folder.absolute()}:", *lines])


def download_files(title: str, remotes: list[Remote], folder: Path) -> list[Path]:
    """Download what the folder lacks.

    Raises
    ------
    ConnectionError
        If no origin gives a file that has its published checksum; says what to download by hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for remote in remotes:
        path = folder / remote.name
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == remote.sha256:
            continue
        failures = []
        for url in remote.urls:
            try:
                _fetch(remote, url, path)
                break
            except (OSError, ValueError) as error:  # urllib's errors are OSErrors
                failures.append(f"  {url}: {error}")
        else:
            raise ConnectionError(
                f"{title}: could not download {remote.name}:\n" + "\n".join(failures) + "\n"
                "Without a connection, get the files on another machine. " + how_to_get(remotes, folder)
            )
    return [folder / remote.name for remote in remotes]


def _fetch(remote: Remote, url: str, path: Path) -> None:
    """Write to a file beside `path`, check it, then rename it, which happens at once or not at all."""
    digest, received = hashlib.sha256(), 0
    handle, part = tempfile.mkstemp(prefix=f".{remote.name}.", suffix=".part", dir=path.parent)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(url, timeout=TIMEOUT) as answer,
            _progress_bar(remote) as bar,
        ):
            while received <= remote.size and (block := answer.read(BLOCK)):
                file.write(block)
                digest.update(block)
                received += len(block)
                bar.update(len(block))
        if digest.hexdigest() != remote.sha256:
            raise ValueError(
                f"what came is not the published file: {received:,} bytes of {remote.size:,}, "
                f"sha256 {digest.hexdigest()} instead of {remote.sha256}"
            )
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _progress_bar(remote: Remote) -> Any:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    # disable=None: no bar where output goes to a file.
    return tqdm(total=remote.size, desc=remote.name, unit="B", unit_scale=True, leave=False, disable=None)


def check_contents(title: str, name: str, content: bytes, md5: str) -> None:
    """ValueError unless the contents have the published checksum, without which no results compare."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"{title}: {name} is not the published file ({len(content):,} bytes, md5 {found} instead of "
            f"{md5}). Download it again; verify=False reads other data in the same format."
        )
