"""What the commands share: exit codes, kinds of arguments, a check of paths, a progress bar."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2  # argparse's own
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def check_writable(command: str, path: Path) -> None:
    """Refuse, before the work begins, a file that could not be written at its end."""
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(f"{command}: cannot write {path}: --out FILE names a file in a folder that exists")


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error, so that standard output holds nothing but what was asked for.

    It is moved by calling what it gives with a fraction and a message.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # A bar that redraws from a thread of its own would disturb what is being timed: it is drawn only when
    # told to.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def progress(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message, refresh=True)

        yield progress
