"""``tinytorch train``: train a small model and keep it in a file."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .shared import EXIT_OK, check_writable, positive, progress_bar
from .tasks import Task, reading_digits, text_of, writing

EXAMPLE = """\
  tinytorch train gpt      a model that writes in the manner of a book
  tinytorch train cnn      a convolutional network that reads handwritten digits
  tinytorch train mlp      one of plain layers that does the same

gpt takes some minutes, cnn and mlp under one. What is written loads with
tinytorch.models.load_model, and gpt with `tinytorch generate`.
"""


class Defaults(NamedTuple):
    """What is taken unless given."""

    prepare: Callable[[argparse.Namespace], Task]
    epochs: int
    lr: float
    batch_size: int


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    train = commands.add_parser(
        "train",
        help="train a small model and keep it in a file",
        description="Train a small model on data that ships with TinyTorch, and keep it in a file.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("model", choices=sorted(DEFAULTS), help="what to train")
    train.add_argument(
        "--out", type=Path, metavar="FILE", help="where the model goes (gpt.safetensors for gpt, and so on)"
    )
    length = train.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive, metavar="N", help="passes over the training data")
    length.add_argument("--steps", type=positive, metavar="N", help="batches, instead of epochs")
    train.add_argument("--lr", type=float, metavar="R", help="learning rate at its highest")
    train.add_argument("--batch-size", type=positive, metavar="N", help="samples for each step")
    train.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed, the same model (0)")
    train.add_argument(
        "--text", type=Path, metavar="FILE", help="gpt only: learn from this text instead of a shipped book"
    )
    train.add_argument("--json", action="store_true", help="print the outcome as JSON")
    train.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, evaluate, write; returns the exit code."""
    from tinytorch.models.files import save_model
    from tinytorch.training import manual_seed

    out = options.out or Path(f"{options.model}.safetensors")
    check_writable("train", out)
    if options.text is not None and options.model != "gpt":
        raise ValueError(f"train: {options.model} learns from images; --text is for gpt")
    manual_seed(options.seed)
    defaults = DEFAULTS[options.model]
    task = defaults.prepare(options)
    record = {"model": options.model, "parameters": sum(p.size for p in task.model.parameters())}
    record.update(_train(task, defaults, options))
    save_model(out, task.model, task.tokenizer)
    record["path"] = str(out)
    if options.json:
        print(json.dumps(record, indent=1))
    else:
        _show(record)
    return EXIT_OK


def _train(task: Task, defaults: Defaults, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate; what came out, all of it measured."""
    from tinytorch.callbacks import Callback
    from tinytorch.dataloader import DataLoader
    from tinytorch.optimizers import AdamW
    from tinytorch.training import CosineSchedule, Trainer, WarmupSchedule

    batch_size = options.batch_size or defaults.batch_size
    lr = defaults.lr if options.lr is None else options.lr
    loader = DataLoader(task.train, batch_size, shuffle=True, seed=options.seed)
    steps = options.steps or len(loader) * (options.epochs or defaults.epochs)
    warmup = max(1, steps // 20)
    schedule = WarmupSchedule(CosineSchedule(lr, lr / 20, max(1, steps - warmup)), warmup)
    optimizer = AdamW(task.model.parameters(), lr=lr)

    with progress_bar() as progress:

        class ShowProgress(Callback):
            def on_step_end(self, trainer: Any, loss: float) -> None:
                progress(trainer.step / steps, f"step {trainer.step} of {steps}, loss {loss:.3f}")

        trainer = Trainer(
            task.model, optimizer, task.loss, schedule,
            grad_clip_norm=1.0, progress=False, callbacks=[ShowProgress()], schedule_steps=True,
        )  # fmt: skip
        start = time.perf_counter()
        again = itertools.chain.from_iterable(itertools.repeat(loader))  # a new order for each epoch
        trainer.train_epoch(itertools.islice(again, steps))
        seconds = time.perf_counter() - start
        progress(1.0, "evaluating")
        loss, accuracy = trainer.evaluate(DataLoader(task.held_out, batch_size))
    found: dict[str, Any] = {"steps": steps, "seconds": seconds, "held_out_loss": loss}
    return found if np.isnan(accuracy) else {**found, "held_out_accuracy": accuracy}


def _show(record: dict[str, Any]) -> None:
    accuracy = record.get("held_out_accuracy")
    right = "" if accuracy is None else f", {100 * accuracy:.1f} % right"
    print(
        f"{record['model']}: {record['parameters']:,} parameters, {record['steps']} steps in "
        f"{record['seconds']:.1f} s; on held-out data loss {record['held_out_loss']:.3f}{right} (measured)"
    )
    print(f"wrote {record['path']}", file=sys.stderr)
    if record["model"] == "gpt":
        print(f'Let it write: tinytorch generate {record["path"]} --prompt "Alice was"', file=sys.stderr)


# ---- what can be trained ----


def _gpt(options: argparse.Namespace) -> Task:
    """A character model of 0.8 million weights that sees 256 characters while it learns."""
    from tinytorch.models import char_gpt
    from tinytorch.tokenization import CharTokenizer

    text = text_of(options.text)
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    # Positions that training never saw would mean nothing, so the model ends where its training does.
    return writing(char_gpt(tokenizer.vocab_size, max_seq_len=256), tokenizer, text)


def _cnn(options: argparse.Namespace) -> Task:
    from tinytorch.models import DigitsCNN

    return reading_digits(DigitsCNN())


def _mlp(options: argparse.Namespace) -> Task:
    from tinytorch.models import MLPClassifier

    return reading_digits(MLPClassifier())


DEFAULTS = {
    "gpt": Defaults(_gpt, epochs=6, lr=3e-3, batch_size=8),
    "cnn": Defaults(_cnn, epochs=4, lr=2e-3, batch_size=64),
    "mlp": Defaults(_mlp, epochs=10, lr=2e-3, batch_size=64),
}
