"""The report's files, each written whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tinytorch import viz
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


def save(record: Record, folder: Path, *, figures: bool = False) -> list[Path]:
    """Write the record as JSON, then as a page, then on request each figure as a PNG; returns the paths.

    A figure's file has the name of its section and its place there: ``figures/caching-1.png``.
    """
    files = {JSON_NAME: to_json(record).encode("utf-8"), HTML_NAME: page(record).encode("utf-8")}
    for section in record.sections if figures else ():
        for number, figure in enumerate(section.figures, start=1):
            files[f"figures/{section.name}-{number}.png"] = viz.png(viz.draw(figure))
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomically(folder / name, data)
    return [folder / name for name in files]
