"""``tinytorch generate``: let a trained language model write."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from .shared import EXIT_OK, positive

EXAMPLE = """\
Make a model first: `tinytorch train gpt`. Then

  tinytorch generate gpt.safetensors --prompt "Alice was" --temperature 0.7 --seed 1

The text goes to standard output as it is written, how fast it was to standard error.
"""


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    generate = commands.add_parser(
        "generate",
        help="let a trained language model write",
        description="Let a trained language model continue a text, token by token.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    generate.add_argument("checkpoint", metavar="CHECKPOINT", help="a file that `tinytorch train gpt` wrote")
    generate.add_argument("--prompt", metavar="TEXT", default="\n", help="what to continue (a new line)")
    generate.add_argument(
        "--max-new-tokens", type=positive, default=200, metavar="N", help="how many tokens to write (200)"
    )
    generate.add_argument(
        "--temperature", type=float, default=0.8, metavar="T",
        help="0 always takes the likeliest token, 1 follows the model, more is wilder (0.8)",
    )  # fmt: skip
    generate.add_argument("--top-k", type=int, metavar="K", help="draw among the K likeliest tokens only")
    generate.add_argument(
        "--top-p", type=float, metavar="P", help="draw among the likeliest tokens that make up P, such as 0.9"
    )
    generate.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="above 1 discourages repetition (1)",
    )
    generate.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same text")
    generate.add_argument(
        "--stop", action="append", metavar="TEXT", help="end after this text; may be given several times"
    )
    generate.add_argument("--no-cache", action="store_true", help="compute all of the past for each token")
    generate.add_argument("--json", action="store_true", help="print text and timing as JSON, at the end")
    generate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write, and say how fast; returns the exit code."""
    from tinytorch.generation import GenerationMixin
    from tinytorch.models.files import load_model

    model, tokenizer = load_model(options.checkpoint)
    if not isinstance(model, GenerationMixin):
        raise ValueError(
            f"generate: {options.checkpoint} holds a {type(model).__name__}, which writes no text; "
            "`tinytorch train gpt` makes a model that does"
        )
    if tokenizer is None:
        raise ValueError(f"generate: {options.checkpoint} holds no tokenizer, so its ids mean no text")
    prompt = tokenizer.encode(options.prompt)
    if not prompt:
        raise ValueError("generate: the prompt is empty; give at least one character")
    if tokenizer.decode(prompt) != options.prompt and getattr(tokenizer, "unk_id", None) in prompt:
        print("tinytorch: the model does not know all characters of the prompt", file=sys.stderr)

    tokens = model.stream(
        prompt,
        options.max_new_tokens,
        options.temperature,
        options.top_k,
        not options.no_cache,
        options.seed,
        top_p=options.top_p,
        repetition_penalty=options.repetition_penalty,
        stop=options.stop,
        tokenizer=tokenizer,
    )
    writer = _Writer(tokenizer, prompt, to_terminal=not options.json)
    writer.show()
    start = time.perf_counter()
    for token in tokens:
        writer.add(token, time.perf_counter() - start)
    writer.finish()
    if options.json:
        print(json.dumps({"prompt": options.prompt, "seed": options.seed, **writer.record()}, indent=1))
    else:
        print(writer.speed(len(prompt), cached=not options.no_cache), file=sys.stderr)
    return EXIT_OK


class _Writer:
    """Shows text as its tokens come, and remembers when they did."""

    def __init__(self, tokenizer: Any, prompt: list[int], to_terminal: bool):
        self._tokenizer, self._ids, self._start = tokenizer, list(prompt), len(prompt)
        self._to_terminal, self._shown = to_terminal, 0
        self._seconds: list[float] = []

    def add(self, token: int, seconds: float) -> None:
        self._ids.append(token)
        self._seconds.append(seconds)
        self.show()

    def show(self, whole: bool = False) -> None:
        """Print what is new. The bytes of a character may come in several tokens: its first ones wait."""
        if not self._to_terminal:
            return
        text = self._tokenizer.decode(self._ids)
        if not whole:
            text = text.rstrip("\ufffd")
        sys.stdout.write(text[self._shown :])
        sys.stdout.flush()
        self._shown = max(self._shown, len(text))

    def finish(self) -> None:
        self.show(whole=True)
        if self._to_terminal:
            sys.stdout.write("\n")

    def record(self) -> dict[str, Any]:
        """Text and timing, all of it measured."""
        new = self._ids[self._start :]
        return {
            "text": self._tokenizer.decode(new),
            "tokens": len(new),
            "seconds": self._seconds[-1],
            "seconds_to_first_token": self._seconds[0],
            "tokens_per_second": self._rate(),
        }

    def speed(self, prompt_tokens: int, cached: bool) -> str:
        """One line for people."""
        words = f"first token {1e3 * self._seconds[0]:.1f} ms after a prompt of {prompt_tokens}"
        if (rate := self._rate()) is not None:
            words = f"{len(self._seconds)} tokens, {rate:.0f} tokens/s after the first; {words}"
        return f"{words} ({'with' if cached else 'without'} cache, measured once)"

    def _rate(self) -> float | None:
        """Tokens for each second, after the first, which waits for the prompt; None for a single one."""
        if len(self._seconds) < 2:
            return None
        return (len(self._seconds) - 1) / (self._seconds[-1] - self._seconds[0])
