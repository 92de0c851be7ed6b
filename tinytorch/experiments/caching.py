"""What the key-value cache is worth: a trained GPT writes the same text with it and without."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tinytorch import kernels, timing
from tinytorch.attention import packed_weights
from tinytorch.datasets.text import load_text
from tinytorch.experiments.context import Context
from tinytorch.experiments.records import Chart, Section, Series, Source, Summary, Table
from tinytorch.losses import cross_entropy
from tinytorch.models.gpt import char_gpt
from tinytorch.optimizers import AdamW
from tinytorch.quantities import Measured, Modelled
from tinytorch.tensor import Tensor
from tinytorch.tokenization import CharTokenizer
from tinytorch.transformers import GPT

CLAIMS = 8
SECONDS = {"quick": 10, "normal": 70, "thorough": 150}

CONTEXT_LENGTH = 1024
# For quick, normal and thorough.
TRAINING_STEPS = (40, 150, 400)
TRAINING_LENGTH = (256, CONTEXT_LENGTH, CONTEXT_LENGTH)
LENGTHS = ([8, 32], [8, 32, 128], [8, 32, 128, 256])  # tokens generated in races
FULL_LENGTH = (128, CONTEXT_LENGTH, CONTEXT_LENGTH)  # tokens generated once, both ways
POSITIONS = (
    [0, 31, 127],
    [0, 1, 7, 31, 127, 255, 511, 1023],
    [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 767, 1023],
)
FIRST_LENGTHS = ([1, 2, 4], [1, 2, 3, 4, 8], [1, 2, 3, 4, 8, 16])
TIE = 1e-4  # two best logits closer than this may be told apart by rounding alone

WITHOUT, WITH = "without cache", "with cache"


def describe() -> Section:
    """The section before anything is measured."""
    return Section(
        "caching",
        "KV cache: not computing the past again for each new token",
        [
            "A language model writes one token at a time, and each new token looks back at all earlier ones "
            "through their keys and values. Without a cache, these are computed again from the whole text "
            "for every token, so the work for n tokens grows with n². With it, each position is computed "
            "once, and a new token costs one pass over a single position and a look at what is stored.",
            "It helps from the second token on, and the more the longer the text. It hurts in memory: the "
            "cache grows with batch, length, layers and width, and for long texts or large batches it "
            "outgrows the model itself. It gains nothing where all tokens are known beforehand, as in "
            "training or in scoring a text.",
            "In production: every language-model server keeps one. vLLM pages it like an operating system's "
            "memory, llama.cpp and Hugging Face Transformers offer quantized ones, and grouped-query "
            "attention, used in Llama 2 70B and since, exists to make it smaller.",
        ],
        [
            Source(
                "Pope et al., Efficiently scaling transformer inference, 2022",
                "https://arxiv.org/abs/2211.05102",
            ),
            Source(
                "Kwon et al., Efficient memory management for large language model serving with "
                "PagedAttention, 2023",
                "https://arxiv.org/abs/2309.06180",
            ),
            Source(
                "Ainslie et al., GQA: training generalized multi-query transformer models, 2023",
                "https://arxiv.org/abs/2305.13245",
            ),
            Source("Touvron et al., Llama 2, 2023", "https://arxiv.org/abs/2307.09288"),
            Source("Hugging Face, Cache strategies", "https://huggingface.co/docs/transformers/kv_cache"),
        ],
    )


def measure(section: Section, context: Context) -> None:
    """Train (or fetch) the model; compare answers; time tokens, lengths and one full run; find where it
    pays.
    """
    model = trained_gpt(context)
    ids = _written_text(model, context.choose(*FULL_LENGTH))
    with packed_weights(model):
        differing = _compare_answers(section, context, model, ids)
        _time_positions(section, context, model, ids)
    gain = _time_lengths(section, context, model, ids)
    _where_it_pays(section, context, model, ids, gain, differing)


# ---- the model ----


def trained_gpt(context: Context, seed: int = 0) -> GPT:
    """A character model of "Alice's Adventures in Wonderland": 4 layers, width 128, context 1024."""
    text = load_text("alice")
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    steps, length = context.choose(*TRAINING_STEPS), context.choose(*TRAINING_LENGTH)
    np.random.seed(seed)
    model = char_gpt(tokenizer.vocab_size, max_seq_len=CONTEXT_LENGTH)

    def train() -> dict[str, np.ndarray]:
        ids = np.asarray(tokenizer.encode(text))
        _train(
            model, ids, steps, length, seed, lambda done: context.progress(0.35 * done, "training the GPT")
        )
        return model.state_dict()

    model.load_state_dict(context.trained("gpt", train, seed=seed, steps=steps, length=length))
    model.eval()
    return model


def _train(
    model: GPT, ids: np.ndarray, steps: int, length: int, seed: int, progress: Callable[[float], None]
) -> None:
    """One random stretch of the text in each step, so that every position of the context is trained."""
    rng = np.random.default_rng(seed)
    optimizer = AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        progress(step / steps)
        optimizer.lr = 3e-3 * min(1.0, (step + 1) / 20) * (1.0 - 0.9 * step / steps)
        start = rng.integers(0, len(ids) - length - 1)
        stretch = ids[start : start + length + 1]
        logits = model(stretch[None, :-1])
        loss = cross_entropy(logits.reshape(length, -1), stretch[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _written_text(model: GPT, length: int) -> np.ndarray:
    """The model's own most likely text, `length` tokens after a first one (id 1)."""
    return np.asarray(model.generate(np.array([[1]]), length, temperature=0).data)


# ---- the same answers? ----


def _compare_answers(section: Section, context: Context, model: GPT, ids: np.ndarray) -> Measured:
    """Logits with and without cache at every position of the text that was written; returns how many tokens
    differ.
    """
    context.progress(0.4, "comparing logits at every position")
    length = ids.shape[1] - 1
    expected = model.infer(ids[:, :length])[0]
    table = Table(
        f"The same answers at all {length} positions?",
        [
            "cache",
            "bytes held",
            "bytes for each token",
            "largest difference of a logit",
            "other token chosen",
            "of these, ties",
        ],
        note=f"A tie: the two best logits lie closer than {TIE:g}, so rounding alone may choose.",
    )
    answers, held = {}, {}
    for dtype in ("float32", "int8"):
        cache = model.new_cache(dtype=dtype)
        logits = np.concatenate([model.infer(ids[:, t : t + 1], cache) for t in range(length)], axis=1)[0]
        differ = logits.argmax(-1) != expected.argmax(-1)
        two_best = np.partition(expected, -2, axis=-1)[:, -2:]
        ties = differ & (two_best[:, 1] - two_best[:, 0] < TIE)
        answers[dtype] = Measured.count(int(differ.sum()), "tokens differ")
        held[dtype] = Measured.count(cache.nbytes, "B")
        table.add(
            dtype,
            held[dtype],
            Measured.count(cache.nbytes / model.max_seq_len, "B"),
            Measured.count(float(np.abs(logits - expected).max())),
            answers[dtype],
            Measured.count(int(ties.sum()), "tokens"),
        )
    section.tables.append(table)
    weights = sum(parameter.data.nbytes for parameter in model.parameters())
    section.say(
        "The full cache holds {cache} beside {weights} of weights; with INT8 keys and values, {small}.",
        cache=held["float32"],
        weights=Measured.count(weights, "B"),
        small=held["int8"],
    )
    return answers["float32"]


# ---- time ----


def _time_positions(section: Section, context: Context, model: GPT, ids: np.ndarray) -> None:
    """The cost of one more token at sampled positions, and what their sum says about a whole text."""
    cache = model.new_cache()
    model.infer(ids[:, : ids.shape[1] - 1], cache, last_only=True)
    table = Table("Time for one more token", ["tokens before it", WITHOUT, WITH, "speed-up", "verdict"])
    positions = [position for position in context.choose(*POSITIONS) if position < ids.shape[1] - 1]
    times: dict[str, list[Measured]] = {WITHOUT: [], WITH: []}
    for index, position in enumerate(positions):
        context.progress(0.45 + 0.2 * index / len(positions), f"time for token {position + 1}")
        races = context.race_many(
            {WITHOUT: _uncached_token(model, ids, position), WITH: _cached_token(model, ids, position, cache)}
        )
        race = races.between(WITHOUT, WITH)
        for name in times:
            times[name].append(races.time(name))
        table.add(f"{position}", times[WITHOUT][-1], times[WITH][-1], race.ratio, race.verdict)
        section.samples[f"token at {position}"] = races
    section.tables.append(table)
    before = [float(position + 1) for position in positions]
    section.figures.append(
        Chart(
            "Time for one more token",
            "position",
            "s",
            [Series.of(name, before, times[name]) for name in times],
            x_scale="log",
            y_scale="log",
        )
    )
    every = np.arange(1, positions[-1] + 2)
    totals = {name: _sum_between(before, times[name], every) for name in times}
    section.say(
        f"Summed over {len(every)} tokens, interpolated between the positions raced, that is {{without}} "
        f"against {{with_}}: {{gain}}.",
        without=Modelled(totals[WITHOUT], "s", "sum of interpolated times without cache"),
        with_=Modelled(totals[WITH], "s", "sum of interpolated times with cache"),
        gain=Modelled(totals[WITHOUT] / totals[WITH], "×", "ratio of the two sums"),
    )


def _sum_between(before: list[float], times: list[Measured], every: np.ndarray) -> float:
    """Sum over every position, interpolated on logarithmic scales, where a power law is a straight line."""
    logs = np.interp(np.log(every), np.log(before), np.log([time.value for time in times]))
    return float(np.exp(logs).sum())


def _uncached_token(model: GPT, ids: np.ndarray, position: int) -> Callable[[], object]:
    """All positions up to this one, again."""
    return lambda: model.infer(ids[:, : position + 1], last_only=True)


def _cached_token(model: GPT, ids: np.ndarray, position: int, cache: kernels.KVCache) -> Callable[[], object]:
    """This position alone."""

    def call() -> None:
        cache.lengths[:] = position  # forgets what the call before appended, so that all do the same
        model.infer(ids[:, position : position + 1], cache, last_only=True)

    return call


def _generate(model: GPT, tokens: float, use_cache: bool) -> Callable[[], Tensor]:
    prompt = np.array([[1]])
    return lambda: model.generate(prompt, int(tokens), temperature=0, use_cache=use_cache)


def _time_lengths(section: Section, context: Context, model: GPT, ids: np.ndarray) -> Measured:
    """Whole texts of several lengths, raced, then the longest, run once. Returns the gain of that one."""
    table = Table("Time for a whole text", ["tokens", WITHOUT, WITH, "speed-up", "verdict"])
    section.tables.append(table)
    lengths = context.choose(*LENGTHS)
    gains = []
    for index, length in enumerate(lengths):
        context.progress(0.65 + 0.02 * index, f"writing {length} tokens")
        races = context.race_many(
            {WITHOUT: _generate(model, length, False), WITH: _generate(model, length, True)}
        )
        race = races.between(WITHOUT, WITH)
        gains.append(race.ratio)
        table.add(f"{length}", races.time(WITHOUT), races.time(WITH), race.ratio, race.verdict)
        section.samples[f"{length} tokens"] = races
    full = ids.shape[1] - 1
    context.progress(0.72, f"writing {full} tokens, once without the cache")
    gain = _run_once(section, table, model, ids)
    raced = Series.of("raced", [float(length) for length in lengths], gains)
    once = Series("one run", [float(full)], [gain.value])
    section.figures.append(
        Chart(
            "Gain over the length of the text",
            "tokens",
            "times faster",
            [raced, once],
            x_scale="log",
            y_scale="log",
            level=1.0,
        )
    )
    return gain


def _run_once(section: Section, table: Table, model: GPT, ids: np.ndarray) -> Measured:
    """The whole text once without the cache, which takes long, and a few times with it."""
    length = ids.shape[1] - 1
    seconds: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    for use_cache in (True, True, False, True, True):
        write = _generate(model, length, use_cache)
        start = time.perf_counter()
        written = write()
        seconds[WITH if use_cache else WITHOUT].append(time.perf_counter() - start)
        if not use_cache:
            same = np.asarray(written.data)[0] == ids[0]
    times = {name: timing.measured(samples, "s") for name, samples in seconds.items()}
    gain = Measured(times[WITHOUT].value / times[WITH].value, "×")
    table.add(f"{length}", times[WITHOUT], times[WITH], gain, "one run")
    section.samples[f"{length} tokens"] = seconds
    agreeing = length if same.all() else int(np.argmin(same)) - 1
    section.say(
        f"Of {length} tokens written both ways, the first {{same}} are the same.",
        same=Measured.count(agreeing, "tokens"),
    )
    return gain


def _where_it_pays(
    section: Section, context: Context, model: GPT, ids: np.ndarray, gain: Measured, differing: Measured
) -> None:
    context.progress(0.9, "from how many tokens it pays")
    found = context.breakeven(
        lambda tokens: _generate(model, tokens, False),
        lambda tokens: _generate(model, tokens, True),
        context.choose(*FIRST_LENGTHS),
        unit="tokens",
        refine=0,
    )
    section.samples["pays from"] = found
    table = Table("From how many tokens it pays", ["tokens", "speed-up", "verdict"])
    for size, race in zip(found.sizes, found.races, strict=True):
        table.add(f"{int(size)}", race.ratio, race.verdict)
    section.tables.append(table)
    section.summaries.append(
        Summary(
            f"KV cache, {ids.shape[1] - 1} tokens",
            gain,
            None,
            differing,
            found.answer,
            "memory is short: the cache grows with batch and length; or all tokens are known beforehand",
        )
    )
