"""What the commands train and judge models on: the data that ship with TinyTorch, or a text of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Task(NamedTuple):
    """All that training takes."""

    model: Any
    tokenizer: Any
    train: Any  # datasets of (inputs, targets)
    held_out: Any
    loss: Callable[..., Any]


def text_of(path: Path | None) -> str:
    """A file's text, or a shipped book."""
    from tinytorch.datasets import load_text

    return load_text("alice") if path is None else path.read_text(encoding="utf-8")


def writing(model: Any, tokenizer: Any, text: str) -> Task:
    """To write like a text, whose last tenth is held out."""
    from tinytorch.datasets import next_token_windows
    from tinytorch.models import next_token_loss

    ids, context = np.asarray(tokenizer.encode(text)), model.max_seq_len
    if len(ids) < 20 * context:
        raise ValueError(
            f"the text has {len(ids)} tokens; a tenth is held out and the model reads {context} at once, "
            f"so it takes {20 * context}; give a longer text"
        )
    cut = len(ids) * 9 // 10
    train, held_out = (_dataset(*next_token_windows(part, context)) for part in (ids[:cut], ids[cut:]))
    return Task(model, tokenizer, train, held_out, next_token_loss)


def reading_digits(model: Any) -> Task:
    """To read handwritten digits of 32 x 32 pixels, each also twice shifted and turned; some are held out.

    It is always the same ones, so that no command judges a model by what another has trained it on.
    """
    from tinytorch.datasets import load_digits
    from tinytorch.losses import CrossEntropyLoss

    train = _dataset(*load_digits(32, "train", augment=2))
    held_out = _dataset(*load_digits(32, "test"))
    return Task(model, None, train, held_out, CrossEntropyLoss())


def task_of(path: str, text: Path | None) -> Task:
    """The model of a file, with what `tinytorch train` trained it on."""
    from tinytorch.generation import GenerationMixin
    from tinytorch.models import load_model

    model, tokenizer = load_model(path)
    if not isinstance(model, GenerationMixin):
        if text is not None:
            raise ValueError(f"{path} holds a {type(model).__name__}, which reads digits; --text is for gpt")
        return reading_digits(model)
    if tokenizer is None:
        raise ValueError(f"{path} holds no tokenizer, so it reads no text")
    return writing(model, tokenizer, text_of(text))


def _dataset(inputs: np.ndarray, targets: np.ndarray) -> Any:
    from tinytorch.dataloader import TensorDataset
    from tinytorch.tensor import from_numpy

    return TensorDataset(from_numpy(inputs), from_numpy(targets))
