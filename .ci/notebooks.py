"""Each notebook is built from the .py beside it: checks that the two agree; --write builds them."""

import sys
from pathlib import Path

import jupytext

FOLDER = Path(__file__).parents[1] / "notebooks"


def cells(path: Path) -> list[tuple[str, str, list]]:
    return [(cell.cell_type, cell.source, cell.get("outputs") or []) for cell in jupytext.read(path)["cells"]]


stale = [
    source for source in sorted(FOLDER.glob("*.py")) if cells(source) != cells(source.with_suffix(".ipynb"))
]
if sys.argv[1:] == ["--write"]:
    for source in stale:
        jupytext.write(jupytext.read(source), source.with_suffix(".ipynb"))
elif stale:
    sys.exit(
        f"not what their sources say: {', '.join(path.stem for path in stale)}; run .ci/notebooks.py --write"
    )
