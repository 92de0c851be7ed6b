"""What pruning is worth: fewer weights, fewer bytes, and less time where a sparse kernel skips the zeros."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np

from tinytorch import kernels
from tinytorch.acceleration import InferenceModel, optimize
from tinytorch.experiments import trained
from tinytorch.experiments.context import Context
from tinytorch.experiments.records import Chart, Connections, HeatMap, Section, Series, Source, Summary, Table
from tinytorch.layers import Layer
from tinytorch.optimizers import Adam
from tinytorch.pruning import Decision, magnitude_mask, prunable, prune, remove_units, sparsify
from tinytorch.quantities import Measured

CLAIMS = 10
SECONDS = {"quick": 12, "normal": 85, "thorough": 330}

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
BLOCKS = {1: "single weights", 4: "4×1 blocks"}
SHOWN = 0.95  # the sparsity of the summary and the pictures
TRAINING_SHARE = {"MLP": 0.3, "CNN": 0.4}  # of the time that the experiment takes
NARROWED = 0.5  # the share of units that goes where whole units do
LAYER, COLUMNS = 1024, 256  # the single layer that is raced: LAYER × LAYER, times COLUMNS samples


def describe() -> Section:
    """The section before anything is measured."""
    return Section(
        "pruning",
        "Pruning: cut the weakest connections",
        [
            "Most weights of a trained network are small, and setting the smallest to zero changes its "
            "answers little; some more training lets the others make up for them. What is zero need not be "
            "stored or multiplied.",
            "It helps when a kernel skips the zeros and there are enough of them. It hurts below the "
            "break-even: a sparse kernel has to look up where each weight belongs, so at half the weights "
            "a dense kernel that multiplies zeros can be the faster one. Weights that fall in blocks share "
            "their look-ups, so blocks pay much earlier than scattered weights, at some cost in accuracy.",
            "In production: XNNPACK runs sparse 1×1 convolutions on phones when more than two thirds of "
            "the weights are zero; DeepSparse and oneDNN have sparse kernels for CPUs; GPUs support two "
            "zeros in every four weights.",
        ],
        [
            Source(
                "Han et al., Learning both weights and connections for efficient neural networks, NeurIPS "
                "2015",
                "https://arxiv.org/abs/1506.02626",
            ),
            Source("Elsen et al., Fast sparse ConvNets, CVPR 2020", "https://arxiv.org/abs/1911.09723"),
            Source(
                "Gale, Elsen and Hooker, The state of sparsity in deep neural networks, 2019",
                "https://arxiv.org/abs/1902.09574",
            ),
            Source("XNNPACK", "https://github.com/google/XNNPACK"),
        ],
    )


def measure(section: Section, context: Context) -> None:
    """Race a single layer, then prune trained networks: accuracy, bytes, time; and show what goes."""
    context.progress(0.0, "a single sparse layer")
    _single_layer(section, context)
    for name, start, make, example in (
        ("MLP", 0.25, trained.digits_mlp, "1024-512-256-10"),
        ("CNN", 0.55, trained.digits_cnn, "convolutions of 32, 64 and 128 channels"),
    ):
        classifiers = [make(context, seed) for seed in trained.seeds(context)]
        _network(section, context, name, example, classifiers, start)
        if name == "MLP":
            _pictures(section, classifiers[0].model)


# --- one layer ----------------------------------------------------------------------------------------------


def _sparse_layer(sparsity: float, block: int) -> kernels.SparseMatrix:
    weight = np.random.default_rng(0).standard_normal((LAYER, LAYER), dtype=np.float32)
    return kernels.SparseMatrix.from_dense(
        weight * magnitude_mask(weight.T, sparsity, block).T, block=(block, 1)
    )


def _single_layer(section: Section, context: Context) -> None:
    """A matrix times a few hundred columns, all costs counted, against our own dense kernel; one thread."""
    x = np.random.default_rng(1).standard_normal((LAYER, COLUMNS), dtype=np.float32)
    weight = np.random.default_rng(0).standard_normal((LAYER, LAYER), dtype=np.float32)
    out = np.empty((LAYER, COLUMNS), np.float32)
    sparsities = context.choose(
        [0.5, 0.9, 0.95], [0.3, *SPARSITIES], [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
    )
    table = Table(
        f"A {LAYER} × {LAYER} layer times {COLUMNS} columns, one thread: sparse against our dense kernel",
        ["weights removed", *BLOCKS.values()],
    )
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    try:
        found = {
            block: context.breakeven(
                lambda sparsity: lambda: kernels.matmul(weight, x, out=out),
                partial(_sparse_call, block, x),
                sparsities,
                unit="% removed",
                scale="linear",
                step=0.01,
            )
            for block in BLOCKS
        }
    finally:
        kernels.set_num_threads(before)
    ratios = {
        block: {size: race.ratio for size, race in zip(result.sizes, result.races, strict=True)}
        for block, result in found.items()
    }
    for sparsity in sparsities:
        table.add(f"{100 * sparsity:g} %", *(ratios[block][sparsity] for block in BLOCKS))
    section.tables.append(table)
    section.samples["single layer"] = {BLOCKS[block]: result for block, result in found.items()}
    series = [
        Series.of(
            BLOCKS[block],
            [100 * s for s in sorted(ratios[block])],
            [ratios[block][s] for s in sorted(ratios[block])],
        )
        for block in BLOCKS
    ]
    section.figures.append(
        Chart(
            "A sparse layer against the dense one",
            "% of weights removed",
            "times as fast",
            series,
            y_scale="log",
            level=1.0,
        )
    )
    for block, result in found.items():
        pays = (
            result.answer.scaled(100, "% removed") if isinstance(result.answer, Measured) else result.answer
        )
        section.summaries.append(
            Summary(
                f"sparse layer in {BLOCKS[block]}, {100 * SHOWN:g} % removed",
                ratios[block][SHOWN],
                pays_from=pays,
                hurts_when="too few zeros: the look-ups cost more than the skipped products",
            )
        )
    section.say(
        f"With {100 * SHOWN:g} % of the weights gone, a sparse layer is {{single}} as fast as the dense "
        f"one with single weights, {{blocks}} with 4×1 blocks.",
        single=ratios[1][SHOWN],
        blocks=ratios[4][SHOWN],
    )


def _sparse_call(block: int, x: np.ndarray, sparsity: float) -> Callable[[], object]:
    w = _sparse_layer(sparsity, block)
    out = np.empty((LAYER, COLUMNS), np.float32)
    return lambda: kernels.sparse_matmul(w, x, out=out)


# --- whole networks -----------------------------------------------------------------------------------------


def _pruned_at_once(classifier: trained.Classifier, sparsity: float, block: int) -> Layer:
    """A copy of the trained network, pruned and left as it is."""
    model = copy.deepcopy(classifier.model)
    prune(model, sparsity, block=block)
    return model


def _fine_tuned(
    context: Context, name: str, classifier: trained.Classifier, block: int
) -> dict[float, Layer]:
    """The network at each sparsity: pruned a step further each time, then trained on with the zeros held."""
    steps = _sparsities(context, name)
    epochs = context.choose(2, 1, 4) if name == "CNN" else context.choose(4, 8, 15)

    def train() -> dict[str, np.ndarray]:
        model, states = copy.deepcopy(classifier.model), {}
        for sparsity in steps:
            masks = prune(model, sparsity, block=block)
            optimizer = masks.wrap(Adam(model.parameters(), lr=trained.LEARNING_RATE))
            trained.fit(model, classifier.data, epochs=epochs, optimizer=optimizer)
            states.update({f"{sparsity} {key}": value for key, value in model.state_dict().items()})
        return states

    states = context.trained(
        f"pruned-{name.lower()}",
        train,
        seed=classifier.data.seed,
        block=block,
        epochs=epochs,
        steps=steps,
        folds=context.thorough,
    )
    models = {}
    for sparsity in steps:
        prefix = f"{sparsity} "
        models[sparsity] = copy.deepcopy(classifier.model)
        models[sparsity].load_state_dict(
            {key.removeprefix(prefix): value for key, value in states.items() if key.startswith(prefix)}
        )
    return models


def _sparsities(context: Context, name: str) -> tuple[float, ...]:
    return context.choose((SHOWN,) if name == "CNN" else (0.8, SHOWN), SPARSITIES, SPARSITIES)


def _network(
    section: Section,
    context: Context,
    name: str,
    example: str,
    classifiers: list[trained.Classifier],
    start: float,
) -> None:
    table = Table(
        f"{name} ({example}) on digits at 32 × 32, pruned step by step",
        [
            "weights removed",
            "in",
            "points lost, pruned at once",
            "points lost, fine-tuned",
            "fewer parameters",
            "fewer bytes",
            "speed",
        ],
        note="Points of accuracy lost against the dense network, on held-out images. Parameters: weights "
        "over those left. Bytes: float32 parameters over what the sparse network holds, indices included. "
        f"Speed: batch 64, {context.threads} threads, against the dense network, folded and packed; a layer "
        "is sparse where a race says that it pays. Units: neurons or channels, the same share of each layer.",
    )
    dense_hits = np.concatenate([trained.float_correct(c) for c in classifiers])
    dense = optimize(classifiers[0].model)
    images = np.ascontiguousarray(classifiers[0].data.test_images[:64])
    sparsities = _sparsities(context, name)
    curves: dict[str, list[Measured]] = {}
    chosen: list[Decision] = []
    for i, (block, label) in enumerate(BLOCKS.items()):
        tuned = []
        for j, classifier in enumerate(classifiers):
            share = (i + j / len(classifiers)) / len(BLOCKS)
            context.progress(start + TRAINING_SHARE[name] * share, f"fine-tuning the {name} in {label}")
            tuned.append(_fine_tuned(context, name, classifier, block))
        for sparsity in sparsities:
            at_once = _loss(
                dense_hits, [_pruned_at_once(c, sparsity, block) for c in classifiers], classifiers, context
            )
            after = _loss(dense_hits, [models[sparsity] for models in tuned], classifiers, context)
            sparse = sparsify(
                tuned[0][sparsity], images, block=block, seconds=context.choose(0.01, 0.05, 0.2)
            )
            race = context.race(
                partial(dense, images), partial(sparse, images), names=("dense", "sparse"), compare=False
            )
            section.samples[f"{name}, {sparsity}, {label}"] = race
            if sparsity == SHOWN:
                chosen.extend(sparse.decisions)
            by_parameters, by_bytes = _compression(classifiers[0].model, tuned[0][sparsity], sparse)
            table.add(f"{100 * sparsity:g} %", label, at_once, after, by_parameters, by_bytes, race.ratio)
            curves.setdefault(f"{label}, at once", []).append(at_once)
            curves.setdefault(f"{label}, fine-tuned", []).append(after)
            if sparsity == SHOWN:
                section.summaries.append(
                    Summary(
                        f"{name}, {100 * sparsity:g} % pruned in {label}, fine-tuned",
                        race.ratio,
                        by_bytes,
                        after,
                        hurts_when="few weights to spare, or too few zeros for the sparse kernel to pay",
                    )
                )
    _narrow(section, table, context, name, classifiers, dense_hits)
    section.tables += [
        table,
        _choices(f"{name}, {100 * SHOWN:g} % pruned: which layers became sparse", chosen),
    ]
    if len(sparsities) > 1:
        x = [100 * sparsity for sparsity in sparsities]
        section.figures.append(
            Chart(
                f"{name}: accuracy lost",
                "% of weights removed",
                "points lost",
                [Series.of(label, x, values) for label, values in curves.items()],
                level=0.0,
            )
        )


def _narrow(
    section: Section,
    table: Table,
    context: Context,
    name: str,
    classifiers: list[trained.Classifier],
    dense_hits: np.ndarray,
) -> None:
    """A row for the network without half of its units, an ordinary one that no kernel needs to know of."""
    at_once = [remove_units(classifier.model, NARROWED) for classifier in classifiers]
    tuned = [_narrow_tuned(context, name, classifier) for classifier in classifiers]
    images = np.ascontiguousarray(classifiers[0].data.test_images[:64])
    dense, narrow = optimize(classifiers[0].model), optimize(tuned[0])
    race = context.race(
        partial(dense, images), partial(narrow, images), names=("dense", "narrow"), compare=False
    )
    section.samples[f"{name}, narrow"] = race
    before, after = (_loss(dense_hits, models, classifiers, context) for models in (at_once, tuned))
    weights, left = (sum(w.size for w in prunable(model)) for model in (classifiers[0].model, tuned[0]))
    by_parameters, by_bytes = _compression(classifiers[0].model, tuned[0], narrow)
    removed, label = f"{100 * (1 - left / weights):.0f} %", f"{100 * NARROWED:g} % of units"
    table.add(removed, label, before, after, by_parameters, by_bytes, race.ratio)
    section.summaries.append(
        Summary(
            f"{name}, {label} removed, fine-tuned",
            race.ratio,
            by_bytes,
            after,
            hurts_when="a layer needs all of its units; it costs more accuracy than as many single weights",
        )
    )


def _narrow_tuned(context: Context, name: str, classifier: trained.Classifier) -> Layer:
    """The network without half of its units, trained on."""
    model = remove_units(classifier.model, NARROWED)
    epochs = context.choose(2, 2, 4) if name == "CNN" else context.choose(4, 8, 15)

    def train() -> dict[str, np.ndarray]:
        trained.fit(model, classifier.data, epochs=epochs)
        return model.state_dict()

    state = context.trained(
        f"narrow-{name.lower()}",
        train,
        seed=classifier.data.seed,
        epochs=epochs,
        ratio=NARROWED,
        folds=context.thorough,
    )
    model.load_state_dict(state)
    return model.eval()


def _choices(title: str, decisions: list[Decision]) -> Table:
    table = Table(title, ["layer", "its zeros", "in", "speed of the sparse kernel", "so it is"])
    for d in decisions:
        zeros = Measured.count(100 * d.sparsity, "%")
        table.add(d.layer, zeros, BLOCKS[d.block], d.ratio, f"{'sparse' if d.sparse else 'dense'}: {d.why}")
    return table


def _loss(
    dense_hits: np.ndarray, models: list[Layer], classifiers: list[trained.Classifier], context: Context
) -> Measured:
    hits = [trained.correct(optimize(m).predict, c.data) for m, c in zip(models, classifiers, strict=True)]
    return trained.accuracy_loss(dense_hits, np.concatenate(hits), context)


def _compression(dense: Layer, model: Layer, stored: InferenceModel) -> tuple[Measured, Measured]:
    """How many times fewer parameters, not counting zeros, and fewer bytes than the dense network."""
    parameters = [p.data for p in dense.parameters()]
    left = sum(int(np.count_nonzero(p.data)) for p in model.parameters())
    return (
        Measured.count(sum(p.size for p in parameters) / left, "×"),
        Measured.count(sum(p.nbytes for p in parameters) / stored.nbytes, "×"),
    )


def _pictures(section: Section, model: Layer) -> None:
    """What goes: a heat map of a layer's weights, and a few of its connections, before and after."""
    weight = prunable(model)[0].data
    shown = weight[480:544, :64]
    for title, block, mask in (
        ("Weights of the first layer, a corner of it", 1, np.ones_like(weight, dtype=bool)),
        (f"The same, {100 * SHOWN:g} % removed one by one (grey)", 1, magnitude_mask(weight, SHOWN)),
        (f"The same, {100 * SHOWN:g} % removed in 4×1 blocks (grey)", 4, magnitude_mask(weight, SHOWN, 4)),
    ):
        keep = mask[480:544, :64]
        values = np.where(keep, shown, 0.0).tolist()
        removed = None if keep.all() else (~keep).tolist()
        section.figures.append(HeatMap(title, values, "output", "input", "weight", "log", removed, block))
    small = [
        w.data[:rows, :columns]
        for w, rows, columns in zip(prunable(model), (12, 10, 8), (10, 8, 10), strict=True)
    ]
    kept = [w * magnitude_mask(w, 0.8) for w in small]
    section.figures.append(Connections("Connections of a few units, before", [w.tolist() for w in small]))
    section.figures.append(Connections("The same with 80 % removed", [w.tolist() for w in kept]))
