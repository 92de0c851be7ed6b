"""Lab 19, KV caching: what the student's attention, cache and generation have to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import kernels
from tinytorch.course.checks import Lab, choice, close, expect, expect_error, same
from tinytorch.course.failures import CheckFailed
from tinytorch.course.subject import Subject

lab = Lab(19, "KV caching: not computing the past again")

Attend = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SUM_HINT = (
    "the weights of a query add up to 1: the softmax runs over the last axis, the positions, and a query "
    "sees at least its own"
)
BEHIND_HINT = "write behind what is there: the first new position becomes number `length`, which starts at 0"
COUNT_HINT = (
    "all layers append at the same `length`, so only `advance` moves it, once the last layer is through"
)


def _heads(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


# --- attention ---------------------------------------------------------------------------------------------


@lab.add("attention", points=2)
def check_attention(attention: Subject, *, rng: np.random.Generator) -> None:
    """Each query sees the positions up to its own, whether it comes alone or with the whole text."""
    for steps, positions in ((5, 5), (1, 6), (3, 7), (1, 1), (4, 4)):
        q = _heads(rng, 2, 3, steps, 8)
        k, v = _heads(rng, 2, 3, positions, 8), _heads(rng, 2, 3, positions, 8)
        sums = attention(q, k, np.ones_like(v))
        close("attention over values that are all 1", sums, np.ones_like(q), SUM_HINT)
        _check_attention(attention(q, k, v), q, k, v)
    q, k, v = (_heads(rng, 1, 2, 4, 8) for _ in range(3))
    q *= np.array([1, 1000, 1e-3, 300], np.float32)[:, None]
    hint = "exp(100) is infinite in float32: subtract each row's own largest score before np.exp"
    close("attention with scores of hundreds", attention(q, k, v), _attention(q, k, v), hint, rtol=1e-4)


def _attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, **options: Any) -> np.ndarray:
    """TinyTorch's, for queries that are the last of the positions."""
    steps, positions = q.shape[2], k.shape[2]
    mask = np.tri(steps, positions, positions - steps, dtype=bool)
    return np.asarray(kernels.attention(q, k, v, mask=mask, **options))


def _check_attention(got: Any, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> None:
    steps, positions = q.shape[2], k.shape[2]
    case = f"attention of {steps} queries over {positions} positions"
    mistakes = {
        "the scores are not multiplied by D ** -0.5": lambda: _attention(q, k, v, scale=1.0),
        "every query sees all positions, later ones too; mask them with -inf before the softmax": lambda: (
            kernels.attention(q, k, v)
        ),
        "the queries are the last positions: query i is position S - T + i and sees those up to it": lambda: (
            kernels.attention(q, k, v, mask=np.tri(steps, positions, dtype=bool))
        ),
        "the weights come from q and k, what they weigh is v": lambda: _attention(q, k, k),
    }
    wanted = _attention(q, k, v)
    hint = "scores (B, H, T, S) = q kᵀ / √D; softmax over the last axis, the positions; then times v"
    for mistake, wrong in mistakes.items():
        if np.shape(got) == wanted.shape and np.allclose(got, wrong(), 1e-4, 1e-4):
            hint = mistake
    close(case, got, wanted, hint)
    expect(
        got.dtype == np.float32,
        f"{case} should be float32, and is {got.dtype}",
        "np.sqrt(8) is a float64 and makes float64 of all that it meets; 8 ** -0.5 is a Python float, which "
        "does not",
    )


# --- the cache ---------------------------------------------------------------------------------------------


@lab.add("cache", points=3)
def check_cache(KVCache: Subject, *, rng: np.random.Generator) -> None:
    """A cache holds every position of every layer where it was written, and forgets on request."""
    layers, batch, heads, capacity, width = sizes = 2, 3, 4, 7, 5
    cache = KVCache(*sizes)
    _check_arrays(cache, sizes)
    same("length of an empty cache", cache.length, 0, dtype=False)
    for prompt in (4, 2):  # the second one finds what the first left
        cache.reset()
        same("length after reset()", cache.length, 0, "reset starts at position 0 again", dtype=False)
        held = [np.zeros((2, batch, heads, 0, width), np.float32) for _ in range(layers)]
        for steps in (prompt, 1, 1, capacity - prompt - 2):
            start = held[0].shape[3]
            for layer in range(layers):
                new = _heads(rng, 2, batch, heads, steps, width)
                held[layer] = np.concatenate([held[layer], new], axis=3)
                _check_held(cache.append(layer, new[0], new[1]), held[layer], layer)
                same("length before advance()", cache.length, start, COUNT_HINT, dtype=False)
                _check_arrays(cache, sizes)
            cache.advance(steps)
            same(f"length after advance({steps})", cache.length, start + steps, COUNT_HINT, dtype=False)
    one = _heads(rng, batch, heads, 1, width)
    hint = (
        "the cache is full here. A slice behind the end of an array is empty, and writing to it is silent: "
        "compare with the capacity"
    )
    expect_error("ValueError", cache.append, 0, one, one, hint=hint)


def _check_arrays(cache: Any, sizes: tuple[int, ...]) -> None:
    hint = "allocate once, in __init__: np.zeros((layers, batch, heads, capacity, width), np.float32)"
    for name in ("keys", "values"):
        array = getattr(cache, name)
        expect(np.shape(array) == sizes, f"{name} should have shape {sizes}, and has {np.shape(array)}", hint)
        expect(array.dtype == np.float32, f"{name} should be float32, and is {array.dtype}", hint)


def _check_held(result: Any, held: np.ndarray, layer: int) -> None:
    expect(
        isinstance(result, (tuple, list)) and len(result) == 2,
        f"append should return (keys, values), and returns {type(result).__name__}",
    )
    for name, got, wanted, other in zip(("keys", "values"), result, held, held[::-1], strict=True):
        if np.shape(got) != wanted.shape:
            raise CheckFailed(
                f"append should return the {wanted.shape[2]} {name} that layer {layer} holds, "
                f"{wanted.shape}, and returns {np.shape(got)}",
                "those up to and with the new ones, none of what lies behind them",
            )
        wrong = np.argwhere((got != wanted).any(axis=(0, 1, 3))).ravel()
        if len(wrong):
            raise CheckFailed(
                f"of the {name} of layer {layer}, those of position {', '.join(map(str, wrong))} are not "
                "what was appended there",
                "keys and values are exchanged" if np.array_equal(got, other) else BEHIND_HINT,
            )


@lab.add("cached_attention", points=2)
def check_cached_attention(cached_attention: Subject, KVCache: Subject, *, rng: np.random.Generator) -> None:
    """With the cache, attention gives at every position what it gives without."""
    layers, total, shape = 2, 9, (2, 3, 9, 8)
    cache = KVCache(layers, 2, 3, total, 8)
    for pieces in ((4, 1, 1, 3), (2, 1, 1)):  # prompts of different lengths, one after the other
        cache.reset()
        texts = [[_heads(rng, *shape) for _ in range(3)] for _ in range(layers)]
        start = 0
        for steps in pieces:
            here = slice(start, start + steps)
            for layer, (q, k, v) in enumerate(texts):
                got = cached_attention(q[:, :, here], k[:, :, here], v[:, :, here], cache, layer)
                wanted = _attention(q, k, v)[:, :, here]
                hint = "append k and v to this layer, then let q attend to all that append returns"
                name = f"layer {layer}, positions {start} to {start + steps - 1}: the result"
                close(name, got, wanted, hint, rtol=1e-4)
            same("length", cache.length, start, COUNT_HINT, dtype=False)
            cache.advance(steps)
            start += steps


# --- a model, and generation -------------------------------------------------------------------------------


class _TinyModel:
    """Two layers of attention over embeddings: enough to tell positions, layers, keys and values apart."""

    LAYERS, HEADS, WIDTH, VOCAB, CONTEXT = 2, 2, 4, 11, 16

    def __init__(self, rng: np.random.Generator) -> None:
        size = self.HEADS * self.WIDTH
        self.tokens, self.positions = _heads(rng, self.VOCAB, size), _heads(rng, self.CONTEXT, size)
        self.layers = [[_heads(rng, size, size) / size**0.5 for _ in range(3)] for _ in range(self.LAYERS)]
        self.calls: list[tuple[int, int]] = []  # (start, steps) of each

    def sizes(self, batch: int) -> tuple[int, ...]:
        return self.LAYERS, batch, self.HEADS, self.CONTEXT, self.WIDTH

    def forward(self, tokens: Any, start: Any, attend: Attend) -> np.ndarray:
        """The logits (B, T, V) of tokens (B, T), the first of which is position `start`."""
        tokens, start = np.asarray(tokens), int(start)
        self.calls.append((start, tokens.shape[1]))
        if start + tokens.shape[1] > self.CONTEXT:
            raise ValueError(
                f"forward got {tokens.shape[1]} tokens from position {start} on, and knows {self.CONTEXT} "
                "positions"
            )
        x = self.tokens[tokens] + self.positions[start : start + tokens.shape[1]]
        for layer, weights in enumerate(self.layers):
            q, k, v = (self._split(x @ w) for w in weights)
            y = np.asarray(attend(layer, q, k, v))
            x = x + y.swapaxes(1, 2).reshape(x.shape)
        return x @ self.tokens.T

    def _split(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.reshape(*x.shape[:2], self.HEADS, self.WIDTH).swapaxes(1, 2))

    def uncached(self, tokens: np.ndarray) -> np.ndarray:
        """What every position should give."""
        logits = self.forward(tokens, 0, lambda layer, q, k, v: _attention(q, k, v))
        self.calls.clear()
        return logits


@lab.add("step", points=2)
def check_step(step: Subject, KVCache: Subject, *, rng: np.random.Generator) -> None:
    """A model reads a text in pieces, and says at every position what it says without a cache."""
    model = _TinyModel(rng)
    tokens = rng.integers(0, model.VOCAB, (2, 9))
    wanted = model.uncached(tokens)
    cache = KVCache(*model.sizes(2))
    start = 0
    for steps in (4, 1, 1, 3):
        got = step(model.forward, tokens[:, start : start + steps], cache)
        if model.calls[-1:] != [(start, steps)]:
            raise CheckFailed(
                f"after {start} tokens, forward should get the {steps} new tokens and start={start}; its "
                f"call was {_call(model.calls)}",
                "the first new token's position is how many the cache holds, and those are not read again",
            )
        name = f"the logits of positions {start} to {start + steps - 1}"
        hint = "attend(layer, q, k, v) is called once for each layer, in which it looks back: pass all on"
        close(name, got, wanted[:, start : start + steps], hint, rtol=1e-4)
        start += steps
        hint = "count the new tokens, once forward is through"
        same(f"the cache's length after {start} tokens", cache.length, start, hint, dtype=False)


def _call(calls: list[tuple[int, int]]) -> str:
    return f"start={calls[-1][0]} and {calls[-1][1]} tokens" if calls else "never made"


@lab.add("generate", points=3)
def check_generate(generate: Subject, KVCache: Subject, *, rng: np.random.Generator) -> None:
    """Generation reads each token once, and chooses from what the model says at the last position."""
    model = _TinyModel(rng)
    cache = KVCache(*model.sizes(2))
    for prompt_length, count in ((5, 6), (3, 4), (1, 1)):  # each with the cache that the one before left
        text = rng.integers(0, model.VOCAB, (2, prompt_length + count))
        wanted = model.uncached(text)
        _check_text(generate, model, cache, text, prompt_length, wanted)


def _check_text(
    generate: Subject, model: _TinyModel, cache: Any, text: np.ndarray, prompt_length: int, wanted: np.ndarray
) -> None:
    """`choose` dictates the text, so that the logits it is given can be compared at every position."""
    count = text.shape[1] - prompt_length
    seen: list[np.ndarray] = []

    def choose(logits: Any) -> np.ndarray:
        seen.append(np.asarray(logits))
        return text[:, min(prompt_length + len(seen), text.shape[1]) - 1]

    model.calls.clear()
    got = generate(model.forward, text[:, :prompt_length], count, cache, choose)
    case = f"a prompt of {prompt_length} and {count} new tokens"
    for index, logits in enumerate(seen[:count]):
        position = prompt_length + index - 1
        name = f"{case}: what choose gets for the new token {index}"
        hint = "the logits (B, V) of the last position, of a sequence that starts with an empty cache"
        close(name, logits, wanted[:, position], hint, rtol=1e-4)
    read = [(0, prompt_length)] + [(prompt_length + i, 1) for i in range(count - 1)]
    expect(
        model.calls == read,
        f"{case}: the model should read {_pieces(read)} tokens, and read {_pieces(model.calls)}",
        "the prompt in one piece, then each new token alone; the last one is never read, for nothing follows",
    )
    same(case, got, text, "the prompt, and behind it what choose returned: ids (B, T + count)", dtype=False)


def _pieces(calls: list[tuple[int, int]]) -> str:
    return " + ".join(str(steps) for _, steps in calls) or "no"


# --- memory ------------------------------------------------------------------------------------------------


@lab.add("cache_bytes", points=1)
def check_cache_bytes(cache_bytes: Subject, *, rng: np.random.Generator) -> None:
    """How many bytes a cache takes."""
    for number_bytes, dtype in ((4, "float32"), (1, "int8")):
        layers, batch, heads, positions, width = (int(n) for n in rng.integers(2, 9, 5))
        held = kernels.KVCache(batch, positions, layers, heads, width, dtype)
        wanted = held.keys.nbytes + held.values.nbytes
        hint = "keys and values, of each layer, sequence, head and position, `width` numbers each"
        got = cache_bytes(layers, batch, heads, positions, width, number_bytes)
        same(f"the bytes of {held!r}", got, wanted, hint, dtype=False)


@lab.add("gap", points=1)
def check_gap(gap: str) -> None:
    """Why 256 tokens gain less than the 128 times that the model of the work promises."""
    hint = "compare the two lines just printed: 256 positions in one pass, and 256 passes over one position"
    choice(gap, "b", hint)
