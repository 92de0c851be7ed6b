"""Where one training step's time goes, for three kinds of model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import profiling
from tinytorch.datasets.digits import load_digits
from tinytorch.datasets.text import load_text
from tinytorch.experiments.context import Context
from tinytorch.experiments.records import Chart, Section, Series, Source, Table
from tinytorch.losses import cross_entropy
from tinytorch.models import DigitsCNN, MLPClassifier, char_gpt
from tinytorch.optimizers import AdamW
from tinytorch.quantities import Measured
from tinytorch.tensor import Tensor
from tinytorch.tokenization import CharTokenizer

CLAIMS = 3
SECONDS = {"quick": 4, "normal": 15, "thorough": 40}

STEPS = (10, 15, 30)  # for quick, normal and thorough
BATCH = (32, 64, 64)
GPT_BATCH, GPT_LENGTH = 4, 128
SHOWN_LAYERS = 6


def describe() -> Section:
    """The section before anything is measured."""
    return Section(
        "training",
        "Training: where the time of one step goes",
        [
            "A training step computes the model's answer and its loss (forward), the gradient of every "
            "parameter (backward), and the new parameters (optimizer). For each matrix product of the "
            "forward pass the backward pass does two: one for the gradient of the input, one for that of "
            "the weight.",
            "Knowing where the time goes tells what to speed up: halving a part that takes a tenth of the "
            "step gains a twentieth at most (Amdahl's law). A faster kernel helps when its layer dominates, "
            "and hardly at all when time goes into many small operations.",
            "In production: every framework ships such a profiler, PyTorch's and JAX's among them, and "
            "tuning starts there.",
        ],
        [
            Source(
                "Amdahl, Validity of the single processor approach, AFIPS 1967",
                "https://doi.org/10.1145/1465482.1465560",
            ),
            Source("PyTorch Profiler", "https://docs.pytorch.org/docs/stable/profiler.html"),
            Source(
                "Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, "
                "Nature 1986",
                "https://doi.org/10.1038/323533a0",
            ),
        ],
    )


def measure(section: Section, context: Context) -> None:
    """Profile a few steps of each model."""
    workloads = (_mlp, _cnn, _gpt)
    whole = Table(
        "One training step",
        ["model", "parameters", "batch", "step", "forward and loss", "backward", "optimizer"],
    )
    shares: dict[str, list[float]] = {"forward": [], "backward": [], "optimizer": []}
    section.tables.append(whole)
    names = []
    for index, workload in enumerate(workloads):
        name, batch, model, x, target, loss_fn = workload(context)
        context.progress(index / len(workloads), f"training steps of {name}")
        optimizer = AdamW(model.parameters(), lr=1e-3)
        profile = profiling.profile_step(
            model,
            loss_fn,
            optimizer,
            x,
            target,
            steps=context.choose(*STEPS),
            group=_same_in_every_block,
            confidence=context.interval_confidence,
        )
        phases = profile.phases
        parameters = Measured.count(profiling.Profiler().count_parameters(model))
        whole.add(
            name, parameters, batch, profile.whole, phases["forward"], phases["backward"], phases["optimizer"]
        )
        section.samples[name] = profile.samples
        section.tables.append(_layer_table(name, profile))
        names.append(name)
        total = sum(phase.value for phase in phases.values())
        for phase, values in shares.items():
            values.append(100 * phases[phase].value / total)
    section.figures.append(
        Chart(
            "Share of a step's time",
            "",
            "% of the step",
            [Series(phase, names, values) for phase, values in shares.items()],
            kind="bar",
        )
    )


def _same_in_every_block(name: str) -> str:
    """blocks.0.mlp and blocks.1.mlp are one entry: all blocks'."""
    return re.sub(r"\.\d+\.", ".*.", name)


def _layer_table(name: str, profile: profiling.StepProfile) -> Table:
    """The layers that take longest."""
    table = Table(f"{name}: the layers that take longest", ["layer", "forward", "backward"])
    slowest = sorted(profile.layers, key=lambda layer: layer.seconds, reverse=True)
    for layer in slowest[:SHOWN_LAYERS]:
        table.add(
            f"{layer.name} ({layer.kind})" if layer.name != layer.kind else layer.name,
            layer.forward,
            layer.backward,
        )
    return table


Workload = tuple[str, str, Any, Any, Any, Callable[..., Tensor]]


def _digits(context: Context) -> tuple[Tensor, np.ndarray, int]:
    images, labels = load_digits(size=32)
    batch = context.choose(*BATCH)
    return Tensor(images[:batch]), labels[:batch], batch


def _mlp(context: Context) -> Workload:
    x, target, batch = _digits(context)
    return "MLP", f"{batch} digits, 32 × 32", MLPClassifier(), x, target, cross_entropy


def _cnn(context: Context) -> Workload:
    x, target, batch = _digits(context)
    return "CNN", f"{batch} digits, 32 × 32", DigitsCNN(), x, target, cross_entropy


def _gpt(context: Context) -> Workload:
    text = load_text("alice")
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    ids = np.asarray(tokenizer.encode(text[: GPT_BATCH * GPT_LENGTH + 1]))
    x, target = ids[:-1].reshape(GPT_BATCH, GPT_LENGTH), ids[1:]
    model = char_gpt(tokenizer.vocab_size, max_seq_len=GPT_LENGTH)

    def loss(logits: Tensor, target: np.ndarray) -> Tensor:
        return cross_entropy(logits.reshape(len(target), -1), target)

    return "GPT", f"{GPT_BATCH} texts of {GPT_LENGTH} characters", model, x, target, loss
