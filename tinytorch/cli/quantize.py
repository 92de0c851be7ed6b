"""``tinytorch quantize``: a trained model in 8-bit or 4-bit integers, and what that costs and gains."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .shared import EXIT_OK, check_writable, progress_bar
from .tasks import Task, task_of

EXAMPLE = """\
Make a model first: `tinytorch train cnn` or `tinytorch train gpt`. Then

  tinytorch quantize cnn.safetensors --out small.safetensors
  tinytorch quantize gpt.safetensors --out small.safetensors --weights int4

Quality is judged on held-out data that ships with TinyTorch; time is that of one image, or of one token.
"""

CALIBRATION_SAMPLES = 256
PROMPT = 64  # tokens that the cache holds while one token is timed


class Judge(NamedTuple):
    """How a kind of model is calibrated, judged and timed."""

    measure: str  # what `quality` gives
    calibration: np.ndarray
    quality: Callable[[Any], float]
    as_timed: Callable[[Any], Callable[[], Any]]  # a model to the call that is timed


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "quantize",
        help="a trained model in integers: smaller, and what it costs",
        description="Turn a trained model into 8-bit or 4-bit integers, and measure quality, bytes and time.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a file that `tinytorch train` wrote")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the small model goes")
    command.add_argument(
        "--weights", choices=("int8", "int4"), default="int8", help="bits of a weight (int8)"
    )
    command.add_argument(
        "--activations",
        choices=("static", "dynamic"),
        help="int8 only: scales from calibration data (images), or from each input (text)",
    )
    command.add_argument(
        "--observer",
        choices=("minmax", "moving average", "percentile", "mse"),
        default="minmax",
        help="how static scales follow from the calibration data (minmax)",
    )
    command.add_argument(
        "--text", type=Path, metavar="FILE", help="language models: the text it was trained on, if not Alice"
    )
    command.add_argument("--json", action="store_true", help="print the outcome as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Quantize, judge, time, write; returns the exit code."""
    from tinytorch.quantization import save_quantized
    from tinytorch.replacing import stored_bytes
    from tinytorch.timing import race

    check_writable("quantize", options.out)
    with progress_bar() as progress:
        progress(0.0, "loading")
        task = task_of(options.checkpoint, options.text)
        model, writes = task.model, task.tokenizer is not None
        judge = _judge_text(task) if writes else _judge_images(task)
        progress(0.1, "quantizing")
        small = _quantized(model, judge, options, options.activations or ("dynamic" if writes else "static"))
        best = model if writes else _packed(model)
        progress(0.3, f"{judge.measure} of float32")
        before = judge.quality(best)
        progress(0.5, f"{judge.measure} of {options.weights}")
        after = judge.quality(small)
        progress(0.7, "racing them")
        found = race(judge.as_timed(best), judge.as_timed(small), compare=False)
    save_quantized(small, options.out, described_by=options.checkpoint)
    record = {
        "model": type(model).__name__,
        "weights": options.weights,
        "measure": judge.measure,
        "float32": {judge.measure: before, "bytes": stored_bytes(model)},
        options.weights: {judge.measure: after, "bytes": stored_bytes(small)},
        "time_ratio": {
            "value": found.ratio.value, "low": found.ratio.low, "high": found.ratio.high, "n": found.ratio.n,
        },
        "path": str(options.out),
    }  # fmt: skip
    print(json.dumps(record, indent=1) if options.json else _in_words(record, str(found.ratio)))
    if not options.json:
        print(f"wrote {options.out}", file=sys.stderr)
    return EXIT_OK


def _quantized(model: Any, judge: Judge, options: argparse.Namespace, activations: str) -> Any:
    from tinytorch.quantization import quantize

    if options.weights == "int4":
        return quantize(model, weights="int4", activations=options.activations)
    calibration = judge.calibration if activations == "static" else None
    return quantize(model, calibration, activations=activations, observer=options.observer)


def _packed(model: Any) -> Any:
    from tinytorch.acceleration import optimize

    return optimize(model)


def _in_words(record: dict[str, Any], ratio: str) -> str:
    measure, small = record["measure"], record["weights"]
    unit = " %" if measure == "accuracy" else ""
    lines = [f"{record['model']}, float32 and {small} (measured)"]
    for form in ("float32", small):
        quality, size = record[form][measure], record[form]["bytes"]
        lines.append(f"  {form:<8} {measure} {quality:.2f}{unit}, {size:,} bytes")
    smaller = record["float32"]["bytes"] / record[small]["bytes"]
    return "\n".join([*lines, f"  {smaller:.1f} times smaller; speed against float32: {ratio}"])


# ---- what models are judged by ----


def _judge_images(task: Task) -> Judge:
    """Held-out digits; one image is timed."""
    images, labels = (tensor.data for tensor in task.held_out.tensors)
    one = np.ascontiguousarray(images[:1])
    return Judge(
        "accuracy",
        task.train.tensors[0].data[:CALIBRATION_SAMPLES],
        lambda model: 100 * float(np.mean(model.predict(images) == labels)),
        lambda model: partial(model, one),
    )


def _judge_text(task: Task) -> Judge:
    """Held-out text; one token after a prompt is timed."""
    read, (inputs, targets) = (
        [tensor.data for tensor in part.tensors] for part in (task.train, task.held_out)
    )
    samples = max(1, CALIBRATION_SAMPLES * 32 // task.model.max_seq_len)
    return Judge(
        "perplexity",
        read[0][:samples],
        lambda form: _perplexity(form, inputs, targets),
        partial(_one_token, read[0].ravel()[:PROMPT]),
    )


def _perplexity(model: Any, inputs: np.ndarray, targets: np.ndarray) -> float:
    """exp(mean cross-entropy) of the next token."""
    from tinytorch import kernels

    losses = [kernels.cross_entropy(model.infer(x[None])[0], y) for x, y in zip(inputs, targets, strict=True)]
    return float(np.exp(np.mean(losses)))


def _one_token(prompt: np.ndarray, model: Any) -> Callable[[], Any]:
    """The call that decodes one token after the prompt, again and again."""
    prompt = prompt[: model.max_seq_len // 2]
    cache = model.new_cache()
    model.infer(prompt[None], cache)

    def decode() -> Any:
        cache.lengths[:] = len(prompt)
        return model.infer(prompt[None, -1:], cache, last_only=True)

    return decode
