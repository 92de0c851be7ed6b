"""``tinytorch prune``: take weights out of a trained model, and see what that saves and costs."""

from __future__ import annotations

import argparse
import copy
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .shared import EXIT_OK, check_writable, positive, progress_bar
from .tasks import Task, task_of

EXAMPLE = """\
Make a model first, e.g. `tinytorch train mlp`. Then

  tinytorch prune mlp.safetensors --sparsity 0.9 --block 4 --out pruned.safetensors

The smallest weights go, the rest is trained on, and each layer is raced with a dense and a sparse
kernel. Everything that is printed is measured on this machine.
"""
LR = 1e-3


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    prune = commands.add_parser(
        "prune",
        help="take the smallest weights out of a trained model",
        description="Take the smallest weights out of a trained model; see what that saves and costs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prune.add_argument("checkpoint", metavar="CHECKPOINT", help="a file that `tinytorch train` wrote")
    prune.add_argument(
        "--sparsity", type=float, default=0.9, metavar="S", help="the share of the weights that goes (0.9)"
    )
    prune.add_argument(
        "--block", type=int, choices=(1, 2, 4, 8, 16), default=4,
        help="outputs whose weights stand or fall together: larger ones are faster, and cost more (4)",
    )  # fmt: skip
    prune.add_argument(
        "--epochs", type=int, default=1, metavar="N", help="passes over the data to train on; 0 for none (1)"
    )
    prune.add_argument(
        "--batch-size", type=positive, metavar="N", help="images, or texts at once, to time (64, or 1)"
    )
    prune.add_argument("--seed", type=int, default=0, metavar="S", help="of the order of training (0)")
    prune.add_argument("--text", type=Path, metavar="FILE", help="gpt only: a text instead of a shipped book")
    prune.add_argument("--out", type=Path, metavar="FILE", help="where the pruned model goes, zeros included")
    prune.add_argument("--json", action="store_true", help="print the outcome as JSON")
    prune.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prune, train on, measure; returns the exit code."""
    from tinytorch.models import save_model
    from tinytorch.pruning import prune

    if options.epochs < 0:
        raise ValueError(f"prune: --epochs is {options.epochs}, must be 0 or more")
    if options.out is not None:
        check_writable("prune", options.out)
    task = task_of(options.checkpoint, options.text)
    dense = copy.deepcopy(task.model)
    masks = prune(task.model, options.sparsity, block=options.block)
    with progress_bar() as progress:
        progress(0.0, "judging the dense model")
        quality = {"dense": _quality(task._replace(model=dense))}
        progress(0.1, "judging the pruned model")
        quality["pruned"] = _quality(task)
        if options.epochs:
            _train_on(task, masks, options, progress)
            quality["trained on"] = _quality(task)
        progress(0.9, "racing dense and sparse layers")
        found = _measure(dense, task.model, options)
    if options.out is not None:
        save_model(options.out, task.model, task.tokenizer)
    record = {
        "model": type(dense).__name__,
        "sparsity": masks.sparsity,
        "block": options.block,
        "epochs": options.epochs,
        "metric": "perplexity" if task.tokenizer else "accuracy",
        "quality": quality,
        **found,
    }
    print(json.dumps(record, indent=1) if options.json else _text(record))
    return EXIT_OK


def _quality(task: Task) -> float:
    """Accuracy on held-out images, or perplexity on held-out text."""
    from tinytorch.dataloader import DataLoader
    from tinytorch.optimizers import SGD
    from tinytorch.training import Trainer

    trainer = Trainer(task.model, SGD(task.model.parameters()), task.loss, progress=False)
    loss, accuracy = trainer.evaluate(DataLoader(task.held_out, 64))
    task.model.eval()
    return math.exp(loss) if task.tokenizer else accuracy


def _train_on(task: Task, masks: Any, options: argparse.Namespace, progress: Any) -> None:
    """Train what is left, with the zeros held."""
    from tinytorch.callbacks import Callback
    from tinytorch.dataloader import DataLoader
    from tinytorch.optimizers import Adam
    from tinytorch.training import CosineSchedule, Trainer

    loader = DataLoader(task.train, 8 if task.tokenizer else 64, shuffle=True, seed=options.seed)
    steps = options.epochs * len(loader)

    class ShowProgress(Callback):
        def on_step_end(self, trainer: Any, loss: float) -> None:
            progress(0.2 + 0.7 * trainer.step / steps, f"training on, loss {loss:.3f}")

    optimizer = masks.wrap(Adam(task.model.parameters(), lr=LR))
    Trainer(
        task.model, optimizer, task.loss, CosineSchedule(LR, LR / 20, steps),
        progress=False, callbacks=[ShowProgress()], schedule_steps=True,
    ).fit(loader, options.epochs)  # fmt: skip
    task.model.eval()


def _measure(dense: Any, pruned: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Bytes and time, against the dense model at its fastest."""
    from tinytorch import timing
    from tinytorch.acceleration import optimize
    from tinytorch.generation import GenerationMixin
    from tinytorch.pruning import sparsify
    from tinytorch.replacing import stored_bytes

    if isinstance(dense, GenerationMixin):
        x = np.zeros((options.batch_size or 1, 1), np.int64)
        tokens = min(32, dense.max_seq_len - 1)
        what, calls = f"{tokens} tokens", lambda model: partial(model.generate, x, tokens, temperature=0)
    else:
        x = np.random.default_rng(0).random((options.batch_size or 64, 1, 32, 32), dtype=np.float32)
        what, calls, dense = f"{len(x)} images", lambda model: partial(model, x), optimize(dense)
    sparse = sparsify(pruned, x, block=options.block)
    race = timing.race(calls(dense), calls(sparse), names=("dense", "sparse"), compare=False)
    return {
        "bytes": {"dense": stored_bytes(dense), "sparse": stored_bytes(sparse)},
        "speed": {"of": what, "verdict": race.verdict, **vars(race.ratio)},
        "layers": [{**vars(d), "ratio": d.ratio and vars(d.ratio)} for d in sparse.decisions],
        "machine": timing.machine(),
    }


def _text(record: dict[str, Any]) -> str:
    """The record for people."""
    from tinytorch.pruning import Decision, decisions_table
    from tinytorch.quantities import Measured, format_value

    def shown(value: float) -> str:
        return f"{value:.2f}" if record["metric"] == "perplexity" else f"{100 * value:.2f} %"

    speed = {key: value for key, value in record["speed"].items() if key not in ("of", "verdict")}
    layers = [Decision(**{**d, "ratio": d["ratio"] and Measured(**d["ratio"])}) for d in record["layers"]]
    stored = [f"{format_value(value, 'B')} {name}" for name, value in record["bytes"].items()]
    verdict, ratio = record["speed"]["verdict"], Measured(**speed)
    qualities = ", ".join(f"{name} {shown(value)}" for name, value in record["quality"].items())
    return "\n".join(
        (
            f"{record['model']}, {100 * record['sparsity']:.1f} % of its weights removed in "
            f"{record['block']}×1 blocks (all measured)",
            f"  {record['metric']}  {qualities}",
            f"  bytes  {', '.join(stored)}",
            f"  time of {record['speed']['of']}  dense / sparse {ratio}: {verdict}",
            decisions_table(layers),
        )
    )
