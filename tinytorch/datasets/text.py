"""Public-domain texts for language models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinytorch.datasets._files import read_checked


class TextInfo(NamedTuple):
    """What a shipped text is and why it may be used."""

    title: str
    author: str
    year: str
    licence: str
    origin: str


TEXTS = {
    "alice": TextInfo(
        "Alice's Adventures in Wonderland",
        "Lewis Carroll",
        "1865",
        "public domain (the author died in 1898)",
        "Canterbury Corpus, alice29.txt; edition line dropped, line ends and blank lines made uniform",
    ),
    "as_you_like_it": TextInfo(
        "As You Like It",
        "William Shakespeare",
        "about 1599",
        "public domain (the author died in 1616)",
        "Canterbury Corpus, asyoulik.txt; tabs, line ends and blank lines made uniform",
    ),
}


def load_text(name: str = "alice") -> str:
    """Return a shipped text, whole, as one string of ASCII characters.

    Parameters
    ----------
    name : str
        A key of `TEXTS`: ``"alice"`` (about 148,000 characters) or
        ``"as_you_like_it"`` (about 128,000 characters).

    Raises
    ------
    ValueError
        No text has that name, or the file is not the one that was shipped.
    """
    if name not in TEXTS:
        raise ValueError(f"load_text: no text is called {name!r}. Choose one of: {', '.join(sorted(TEXTS))}.")
    return read_checked(f"{name}.txt").decode("ascii")


def next_token_windows(ids: ArrayLike, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut a text's token ids into samples for a language model.

    Parameters
    ----------
    ids : integers (N,)
    length : int
        Tokens in each sample. What doesn't fill a last sample is left out.

    Returns
    -------
    inputs, targets : int64 arrays (samples, length)
        Each target is the token that follows its input.

    Raises
    ------
    ValueError
        The text is shorter than one sample and the token after it.
    """
    tokens = np.asarray(ids, dtype=np.int64)
    if tokens.ndim != 1 or length < 1 or len(tokens) <= length:
        raise ValueError(
            f"next_token_windows: windows of length {length} need one sequence of at least "
            f"{max(length, 1) + 1} ids, got shape {tokens.shape}."
        )
    samples = (len(tokens) - 1) // length
    used = samples * length
    return tokens[:used].reshape(samples, length), tokens[1 : used + 1].reshape(samples, length)
