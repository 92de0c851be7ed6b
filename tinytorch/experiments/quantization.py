"""What INT8 and INT4 are worth: a trained CNN in four forms, raced with the same threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tinytorch.acceleration import Dense, InferenceModel, optimize, pack_stage
from tinytorch.experiments import trained
from tinytorch.experiments.context import Context
from tinytorch.experiments.records import Chart, Section, Series, Source, Summary, Table
from tinytorch.quantities import Measured, Modelled
from tinytorch.quantization import (
    Dequantized,
    Scale,
    quantize,
    quantize_int4,
    quantize_naive,
    quantize_stage,
    quantize_weight,
)

CLAIMS = 14
SECONDS = {"quick": 10, "normal": 75, "thorough": 300}

FLOAT = "float32, folded and packed"
NAIVE = "INT8 weights, dequantized on every call"
INT8 = "INT8 from input to logits"
INT4 = "INT4 weights"
FORMS: dict[str, Callable] = {NAIVE: quantize_naive, INT8: quantize, INT4: quantize_int4}
CALIBRATION_IMAGES = 256
BATCHES = (1, 64)


def describe() -> Section:
    """The section before anything is measured."""
    return Section(
        "quantization",
        "Quantization: the same network in 8-bit integers",
        [
            "An 8-bit integer takes a quarter of a float's memory, and one instruction multiplies four times as many of "
            "them. Weights and activations are scaled to integers, the scales found by running some training images "
            "through the network (calibration); sums are exact in 32 bits and are scaled once, at the end of each layer.",
            "It helps where arithmetic or memory traffic dominates: convolutions, wide linear layers, large batches. It hurts "
            "where the work is so small that converting the input outweighs it, where one outlier stretches a scale that a "
            "thousand other weights share, and wherever the integers are turned back into floats before the multiplication: "
            "that saves bytes on disk and adds work to every call.",
            "In production: ONNX Runtime, TensorFlow Lite with XNNPACK, and PyTorch with FBGEMM or oneDNN run INT8 on CPUs "
            "this way; llama.cpp stores weights in 4 bits with a scale for each group of 32.",
        ],
        [
            Source(
                "Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, "
                "CVPR 2018",
                "https://arxiv.org/abs/1712.05877",
            ),
            Source(
                "Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018",
                "https://arxiv.org/abs/1806.08342",
            ),
            Source("XNNPACK", "https://github.com/google/XNNPACK"),
            Source("llama.cpp", "https://github.com/ggml-org/llama.cpp"),
        ],
    )


def measure(section: Section, context: Context) -> None:
    """Train, quantize, compare accuracy and bytes, race; then search where each way wins and loses."""
    classifiers = []
    for i, seed in enumerate(trained.seeds(context)):
        context.progress(0.45 * i / len(trained.seeds(context)), f"training the CNN, seed {seed}")
        classifiers.append(trained.digits_cnn(context, seed))
    context.progress(0.45, "accuracy")
    losses = _accuracy(section, context, classifiers)
    forms = _forms(classifiers[0])
    sizes = _bytes(section, classifiers[0], forms)
    context.progress(0.5, "racing the whole network")
    gains = _race(section, context, classifiers[0], forms)
    context.progress(0.65, "where dequantizing on every call costs most")
    _where_naive_costs_most(section, context)
    context.progress(0.8, "where INT8 pays")
    pays_from = _where_int8_pays(section, context)
    for name in (INT8, INT4, NAIVE):
        section.summaries.append(
            Summary(
                f"{name} (CNN, batch {BATCHES[-1]})",
                gains[name],
                sizes[name],
                losses[name],
                pays_from if name == INT8 else None,
                HURTS[name],
            )  # fmt: skip
        )


HURTS = {
    INT8: "small layers at batch 1, where converting the input outweighs the product; outliers in a shared scale",
    INT4: "large batches: unpacking 4 bits is worth it only where reading weights is what takes the time",
    NAIVE: "always in time, most in wide linear layers at batch 1; it saves bytes only",
}


def _forms(classifier: trained.Classifier) -> dict[str, InferenceModel]:
    images = classifier.data.train_images[:CALIBRATION_IMAGES]
    return {
        FLOAT: optimize(classifier.model),
        NAIVE: quantize_naive(classifier.model),
        INT8: quantize(classifier.model, images),
        INT4: quantize_int4(classifier.model),
    }


def _accuracy(
    section: Section, context: Context, classifiers: list[trained.Classifier]
) -> dict[str, Measured]:
    hits: dict[str, list[np.ndarray]] = {}
    errors: dict[str, list[float]] = {}
    for classifier in classifiers:
        images, labels = classifier.data.test_images, classifier.data.test_labels
        logits = {name: model(images) for name, model in _forms(classifier).items()}
        for name, values in logits.items():
            hits.setdefault(name, []).append(values.argmax(axis=1) == labels)
            errors.setdefault(name, []).append(float(np.mean((values - logits[FLOAT]) ** 2)))
    answers = {name: np.concatenate(parts) for name, parts in hits.items()}
    n = len(answers[FLOAT])
    table = Table(
        f"Accuracy on held-out digits ({n} answers, {len(classifiers)} trained networks)",
        ["form", "accuracy", "points lost", "answers flipped", "output MSE"],
        note=f"One answer is {100 / n:.2f} points. Losses are paired: the same network, the same images.",
    )
    losses = {}
    for name, right in answers.items():
        losses[name] = trained.accuracy_loss(answers[FLOAT], right, context)
        flipped = Measured.count(int((right != answers[FLOAT]).sum()), "answers")
        mse = Measured(
            float(np.mean(errors[name])), "", min(errors[name]), max(errors[name]), len(errors[name])
        )
        same = name == FLOAT
        table.add(name, trained.accuracy(right, context), None if same else losses[name],
                  None if same else flipped, None if same else mse)  # fmt: skip
    section.tables.append(table)
    section.samples["right answers"] = {name: right.astype(int) for name, right in answers.items()}
    section.say("INT8 loses {loss} of accuracy.", loss=losses[INT8])
    return losses


def _bytes(
    section: Section, classifier: trained.Classifier, forms: dict[str, InferenceModel]
) -> dict[str, Measured]:
    parameters = sum(p.data.nbytes for p in classifier.model.parameters())
    table = Table(
        "Bytes held for inference",
        ["form", "bytes", "of the float32 parameters"],
        note="Weights with their padding and packing, scales and biases.",
    )
    table.add("float32 parameters", Measured.count(parameters, "B"), Measured.count(1.0, "×"))
    compression = {}
    for name, model in forms.items():
        table.add(name, Measured.count(model.nbytes, "B"), Measured.count(model.nbytes / parameters, "×"))
        compression[name] = Measured.count(parameters / model.nbytes, "×")
    section.tables.append(table)
    return compression


def _race(
    section: Section, context: Context, classifier: trained.Classifier, forms: dict[str, InferenceModel]
) -> dict[str, Measured]:
    table = Table(
        f"The whole network, {context.threads} threads for each form",
        ["form", "batch", "time", "against float32", "verdict"],
    )
    gains = {}
    for batch in BATCHES:
        images = np.ascontiguousarray(classifier.data.test_images[:batch])
        races = context.race_many({name: partial(model, images) for name, model in forms.items()})
        section.samples[f"network at batch {batch}"] = races
        for name in forms:
            race = races.between(FLOAT, name)
            gains[name] = race.ratio
            if name == FLOAT:
                table.add(name, str(batch), races.time(name), None, "")
            else:
                table.add(name, str(batch), races.time(name), race.ratio, race.verdict)
    section.tables.append(table)
    section.say(
        f"At batch {BATCHES[-1]}, {INT8} takes {{int8}} less time than float32; {NAIVE} runs at {{naive}} of float32's "
        "speed.",
        int8=gains[INT8],
        naive=gains[NAIVE],
    )
    return gains


# --- single layers ------------------------------------------------------------------------------------------


def _layer(size: int) -> Dense:
    weight = np.random.default_rng(size).standard_normal((size, size), dtype=np.float32) / np.float32(
        np.sqrt(size)
    )
    return Dense(weight, np.zeros(size, np.float32))


def _naive(layer: Dense) -> Dequantized:
    weight, scale = quantize_weight(np.asarray(layer.weight), axis=1)
    return Dequantized(Dense(weight, layer.bias), weight, scale, axis=1)


def _input(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(batch).random((batch, size), dtype=np.float32)


def _where_naive_costs_most(section: Section, context: Context) -> None:
    """Dequantizing costs K·N steps for a product of B·K·N: the smaller the batch, the larger its share."""
    widths, batches = (
        context.choose([128, 1024], [128, 512, 1024, 2048], [128, 256, 512, 1024, 2048, 4096]),
        (1, 8, 64),
    )
    table = Table(
        "A linear layer whose weights are dequantized on every call, against float32",
        ["width", *(f"batch {batch}" for batch in batches)],
        note="Below 1 it is slower. Dequantizing touches every weight once, the product touches it once for each sample of "
        "the batch: the share lost shrinks as the batch grows.",
    )
    series: dict[int, list[Measured]] = {batch: [] for batch in batches}
    worst: tuple[Measured, int, int] | None = None
    for width in widths:
        dense, naive = pack_stage(_layer(width)), _naive(_layer(width))
        for batch in batches:
            x = _input(batch, width)
            race = context.race(partial(dense, x), partial(naive, x), names=("float32", "naive"))
            section.samples[f"naive, width {width}, batch {batch}"] = race
            series[batch].append(race.ratio)
            if worst is None or race.ratio.value < worst[0].value:
                worst = race.ratio, width, batch
        table.add(str(width), *(series[batch][-1] for batch in batches))
    section.tables.append(table)
    section.figures.append(
        Chart(
            "Dequantizing on every call, against float32",
            "width of the layer",
            "times as fast",
            [Series.of(f"batch {batch}", [float(w) for w in widths], series[batch]) for batch in batches],
            x_scale="log",
            y_scale="log",
            level=1.0,
        )  # fmt: skip
    )
    if worst:
        ratio, width, batch = worst
        section.say(
            f"Dequantizing on every call costs most at width {width}, batch {batch}: {{ratio}} of float32's speed. It writes "
            "{written} of float32 weights that are read once and thrown away.",
            ratio=ratio,
            written=Modelled(4.0 * width * width, "B", "4 bytes × width²"),
        )


def _where_int8_pays(section: Section, context: Context) -> Measured | str:
    """A single linear layer that takes and gives float32: the input is quantized on every call."""
    widths = context.choose(
        [32, 128, 512], [16, 32, 64, 128, 256, 512, 1024], [16, 32, 64, 128, 256, 512, 1024, 2048]
    )
    table = Table(
        "From which width a single INT8 layer pays, float32 in and out",
        ["batch", "pays from", "gain at the largest width", "verdict"],
        note="Quantizing the input is counted.",
    )
    series, marks = [], []
    answer: Measured | str = "undecided"
    for batch in (1, 64):
        found = context.breakeven(
            partial(_float_call, batch),
            partial(_int8_call, batch),
            widths,
            unit="inputs",
            step=16,
        )
        section.samples[f"INT8 layer pays from, batch {batch}"] = found
        table.add(str(batch), found.answer, found.races[-1].ratio, found.races[-1].verdict)
        series.append(Series.of(f"batch {batch}", list(found.sizes), [race.ratio for race in found.races]))
        if found.status == "crosses" and found.pays_from:
            marks.append((found.pays_from.value, f"pays at batch {batch}"))
        answer = found.answer
    section.tables.append(table)
    section.figures.append(
        Chart(
            "One INT8 linear layer against float32",
            "inputs (= outputs)",
            "times as fast",
            series,
            x_scale="log",
            y_scale="log",
            marks=marks,
            level=1.0,
        )  # fmt: skip
    )
    return answer


def _float_call(batch: int, width: float) -> Callable[[], object]:
    layer, x = pack_stage(_layer(int(width))), _input(batch, int(width))
    return lambda: layer(x)


def _int8_call(batch: int, width: float) -> Callable[[], object]:
    scale, x = Scale.of_range(0.0, 1.0), _input(batch, int(width))
    layer = quantize_stage(_layer(int(width)), scale, None)
    return lambda: layer(scale.quantize(x))
