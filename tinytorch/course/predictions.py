"""Guesses that are made before anything is measured, kept in predictions.json beside the notebook.

A demonstration teaches more once one has committed oneself to an outcome. So the cell that measures asks for
the guess first, and once it has been asked, the guess stays what it was.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinytorch.course.failures import NotYet
from tinytorch.experiments.storage import write_atomically

FILE = "predictions.json"


def store(number: int, key: str, guesses: Mapping[str, Any], folder: Path | None = None) -> None:
    """Keep a guess, unless its outcome has been seen already.

    Parameters
    ----------
    number : int
        Of the lab.
    key : str
        What is guessed.
    guesses : name → number

    Raises
    ------
    NotYet
        For a guess that is still `...`.
    ValueError
        For one that is no finite number.
    """
    if not guesses or any(value is ... for value in guesses.values()):
        raise NotYet("no prediction yet", f"put a number in the place of each ...: {', '.join(guesses)}")
    for name, value in guesses.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"predict: {name} must be a number, got {value!r}")
    everything = read(folder)
    entry = everything.setdefault(str(number), {}).get(key)
    if entry and entry["seen"]:
        if entry["guess"] != dict(guesses):
            print(f"You have seen the outcome, so your guess stays what it was: {_words(entry['guess'])}.")
        return
    everything[str(number)][key] = {"guess": dict(guesses), "seen": False}
    _write(everything, folder)
    print(f"Your guess is kept: {_words(guesses)}.")


def reveal(number: int, key: str, folder: Path | None = None) -> dict[str, float]:
    """The guess, for the cell that measures; from now on it cannot be changed.

    Raises
    ------
    NotYet
        Before there is one.
    """
    everything = read(folder)
    entry = everything.get(str(number), {}).get(key)
    if entry is None:
        raise NotYet(
            f"first guess, then measure: there is no prediction {key!r} yet",
            "go back to the cell with predict(...), put your numbers in and run it; no guess is a bad one",
        )
    if not entry["seen"]:
        entry["seen"] = True
        _write(everything, folder)
    return dict(entry["guess"])


def read(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Lab → key → guess, from the file in this folder (the working folder: the notebook's own)."""
    path = (folder or Path.cwd()) / FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{path} is damaged; move it away to start again") from None


def _write(everything: dict[str, Any], folder: Path | None) -> None:
    text = json.dumps(everything, indent=1, sort_keys=True) + "\n"
    write_atomically((folder or Path.cwd()) / FILE, text.encode())


def _words(guess: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in guess.items())


def export(folders: Iterable[Path]) -> str:
    """All guesses below these folders as CSV: lab, key, name, value. Who guessed what is not in it: rows are
    sorted by value."""
    rows: list[tuple[int, str, str, float]] = []
    for folder in folders:
        for path in folder.rglob(FILE):
            for number, keys in read(path.parent).items():
                for key, entry in keys.items():
                    rows += [(int(number), key, name, value) for name, value in entry["guess"].items()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["lab", "prediction", "name", "value"])
    writer.writerows(sorted(rows))
    return text.getvalue()
