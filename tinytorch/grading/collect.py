"""Reading a submission, without running it: what a student wrote, and what of it leans on tinytorch."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST = 50 * 2**20


@dataclass(frozen=True)
class Submission:
    """What was handed in.

    Attributes
    ----------
    name : of the file
    sha256 : of its bytes
    cells : code that the student wrote, in order: without predictions, checks, and what came with the lab and
        was not changed
    defines : the names that each of these cells defines
    borrowed : name that a cell defines → what of tinytorch that cell uses
    syntax_errors : what Python could not read, with its line
    """

    name: str
    sha256: str
    cells: list[str]
    defines: list[list[str]]
    borrowed: dict[str, str] = field(default_factory=dict)
    syntax_errors: list[str] = field(default_factory=list)


def read(path: Path, original: Path) -> Submission:
    """Read a submission, given the notebook that students started from.

    Raises
    ------
    ValueError
        If it is no notebook.
    """
    data = path.read_bytes()
    if len(data) > LARGEST:
        raise ValueError(f"{path.name} has {len(data):,} bytes; at most {LARGEST:,} are read")
    shipped = _code_cells(original.read_bytes(), original.name)
    came_with_lab = {cell_source(cell) for cell in shipped if not _about(cell).get("solution")}
    handed_in = _code_cells(data, path.name)
    imported = _imported([cell_source(cell) for cell in handed_in])
    cells, defines, errors = [], [], []
    borrowed: dict[str, str] = {}
    for cell in handed_in:
        source, name = cell_source(cell), str(_about(cell).get("grade_id"))
        if source in came_with_lab or name.startswith(("predict_", "check_")) or not source.strip():
            continue
        plain = without_magics(source)
        try:
            tree = ast.parse(plain)
        except SyntaxError as error:
            errors.append(f"{error.msg}: {(error.text or '').strip()}")
            continue
        cells.append(plain)
        defines.append(defined(tree))
        used = uses_tinytorch(tree, imported)
        for name in defines[-1]:
            borrowed.pop(name, None)  # a later cell defines it anew
            if used:
                borrowed[name] = used
    return Submission(path.name, hashlib.sha256(data).hexdigest(), cells, defines, borrowed, errors)


def _code_cells(data: bytes, name: str) -> list[dict[str, Any]]:
    try:
        notebook = json.loads(data)
        return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{name} is no Jupyter notebook, or one that is damaged") from None


def _about(cell: dict[str, Any]) -> dict[str, Any]:
    """nbgrader's metadata of a cell."""
    about = cell.get("metadata", {}).get("nbgrader")
    return about if isinstance(about, dict) else {}


def cell_source(cell: dict[str, Any]) -> str:
    """The text of a cell, which files keep as a string or as a list of lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(map(str, source))


def without_magics(source: str) -> str:
    """The cell's Python: a %%cell is none of it, and %lines and !commands become empty."""
    if source.lstrip().startswith("%%"):
        return ""
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))


def uses_tinytorch(tree: ast.AST, imported: set[str]) -> str | None:
    """What a cell imports from tinytorch, or the name of it that it uses; None if neither."""
    for node in ast.walk(tree):
        for module, _ in _imports(node):
            return module
    own = set(defined(tree)) | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in imported - own and isinstance(node.ctx, ast.Load):
            return f"tinytorch's {node.id}"
    return None


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(what is imported, the name it gets) for an import of tinytorch."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == "tinytorch":
                yield alias.name, alias.asname or "tinytorch"
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tinytorch":
        for alias in node.names:
            yield f"{node.module}.{alias.name}", alias.asname or alias.name


def _imported(sources: list[str]) -> set[str]:
    """All names that any cell imports from tinytorch."""
    trees = filter(None, map(_tree, sources))
    return {name for tree in trees for node in ast.walk(tree) for _, name in _imports(node)}


def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(without_magics(source))
    except (SyntaxError, ValueError, RecursionError):
        return None


def defined(tree: ast.AST) -> list[str]:
    """The names that a cell defines, in the order of its text; those inside functions are not the cell's."""
    names: list[str] = []
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.append(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names += [alias.asname or alias.name.split(".")[0] for alias in aliases]
            case ast.Name(id=name, ctx=ast.Store()):
                names.append(name)
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                pass
            case _:
                names += defined(node)
    return names
