"""The report's two files, written whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tinytorch.experiments.records import Record, to_json
from tinytorch.experiments.storage import write_atomically
from tinytorch.report.page import page

JSON_NAME = "tinytorch-report.json"
HTML_NAME = "tinytorch-report.html"


def prepare_folder(folder: Path) -> None:
    """Make the folder and see that it takes files, before minutes of measuring depend on it.

    Raises
    ------
    OSError
        With what is wrong and what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"the report's folder {str(folder)!r} cannot be written ({error.strerror or error}); "
            "choose another with --out DIR, e.g. --out ~/tinytorch-report"
        ) from None


def save(record: Record, folder: Path) -> list[Path]:
    """Write the record as JSON, then as a page; returns both paths."""
    written = []
    for name, text in ((JSON_NAME, to_json(record)), (HTML_NAME, page(record))):
        write_atomically(folder / name, text.encode("utf-8"))
        written.append(folder / name)
    return written
