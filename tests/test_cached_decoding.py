"""A model with a cache gives the logits of the model without, at every position, however the text is cut."""

from itertools import pairwise

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.models.llama import Llama
from tinytorch.sampling import Sampling
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

VOCAB, LENGTH = 13, 24
MODELS = {
    "GPT": lambda: GPT(VOCAB, embed_dim=16, num_layers=2, num_heads=4, max_seq_len=LENGTH),
    "Llama": lambda: Llama(VOCAB, 16, 2, 4, max_seq_len=LENGTH),
    "Llama, grouped queries": lambda: Llama(VOCAB, 16, 2, 4, num_kv_heads=2, max_seq_len=LENGTH),
}
CUTS = {
    "one by one": [1] * LENGTH,
    "prompt, then one by one": [7, *[1] * (LENGTH - 7)],
    "in chunks": [5, 1, 8, 3, 1, 6],
    "all at once": [LENGTH],
}


@pytest.fixture(params=MODELS)
def model(request):
    np.random.seed(0)
    model = MODELS[request.param]()
    for parameter in model.parameters():  # away from the start, so that positions matter much
        parameter.data = parameter.data * 1.5
    return model


def tokens(batch=2, steps=LENGTH, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, (batch, steps))


def in_pieces(model, ids, cache, cuts):
    starts = np.cumsum([0, *cuts])
    pieces = [model.infer(ids[:, a:b], cache) for a, b in pairwise(starts)]
    return np.concatenate(pieces, axis=1)


def assert_same(got, expected):
    """1e-5 of the largest logit."""
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def through_window(model, ids, window):
    """The uncached model, its attention masked."""
    t = np.arange(ids.shape[1])
    seen = (t[:, None] >= t) & (t > t[:, None] - window)
    with no_grad():
        x = model.token_embedding(ids)
        if model.position_embedding is not None:
            x = x + model.position_embedding(t)
        for block in model.blocks:
            x = block(x, mask=seen)
        return model.lm_head(model.ln_f(x)).data


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS.keys())
def test_logits_at_every_position(model, cuts):
    ids = tokens()
    assert_same(in_pieces(model, ids, model.new_cache(2), cuts), model(ids).data)


@pytest.mark.parametrize("window", [1, 3, 8])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS.keys())
def test_logits_through_a_window(model, cuts, window):
    ids = tokens()
    cache = model.new_cache(2, window=window)
    assert_same(in_pieces(model, ids, cache, cuts), through_window(model, ids, window))
    assert cache.nbytes == model.new_cache(2, window).nbytes


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("cuts", [[1] * 6, [3, 1, 2]])
def test_logits_of_sequences_that_differ_in_length(model, cuts, window):
    starts, ids = [2, 0, 9], tokens(batch=3)
    cache = model.new_cache(3, window=window)
    for b, start in enumerate(starts):
        if start:
            model.infer(ids[b : b + 1, :start], cache.row(b))
    assert cache.lengths.tolist() == starts
    new = np.stack([row[start : start + 6] for row, start in zip(ids, starts, strict=True)])
    got = in_pieces(model, new, cache, cuts)
    for b, start in enumerate(starts):
        expected = through_window(model, ids[b : b + 1, : start + 6], window or LENGTH)
        assert_same(got[b : b + 1], expected[:, start:])


def test_a_cache_used_again_gives_the_same(model):
    first, second = tokens(seed=1), tokens(seed=2)
    cache = model.new_cache(2)
    model.infer(first, cache)
    cache.reset()
    assert_same(in_pieces(model, second, cache, CUTS["in chunks"]), model(second).data)


def test_one_row_starts_anew_beside_another(model):
    ids, other = tokens(), tokens(seed=1)
    cache = model.new_cache(2)
    model.infer(ids[:, :9], cache)
    cache.row(0).reset()
    model.infer(other[:1, :4], cache.row(0))
    got = model.infer(np.array([other[0, 4:7], ids[1, 9:12]]), cache)
    assert_same(got[:1], model(other[:1, :7]).data[:, 4:])
    assert_same(got[1:], model(ids[1:, :12]).data[:, 9:])


def test_continuations_share_one_prompt(model):
    prompt, rest = tokens(batch=1, steps=10), tokens(batch=3, steps=5, seed=1)
    cache = model.new_cache(1)
    model.infer(prompt, cache)
    got = in_pieces(model, rest, cache.fork(3), [1, 3, 1])
    whole = np.concatenate([np.repeat(prompt, 3, axis=0), rest], axis=1)
    assert_same(got, model(whole).data[:, 10:])
    assert cache.lengths.tolist() == [10]


def test_going_back_and_on_in_another_way(model):
    ids, other = tokens(batch=1, steps=12), tokens(batch=1, steps=6, seed=1)
    cache = model.new_cache(1)
    model.infer(ids, cache)
    cache.truncate(7)
    expected = model(np.concatenate([ids[:, :7], other], axis=1)).data[:, 7:]
    assert_same(in_pieces(model, other, cache, [1, 2, 3]), expected)


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS.keys())
def test_an_int8_cache_costs_little(model, cuts):
    """A stored number is off by at most 1 / 254 of its row's largest; logits by 4 %, all together."""
    ids = tokens()
    expected = model(ids).data
    got = in_pieces(model, ids, model.new_cache(2, dtype="int8"), cuts)
    assert np.linalg.norm(got - expected) < 0.04 * np.linalg.norm(expected)


# ---- the same text ----


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": 0, "repetition_penalty": 1.4},
        {"temperature": 0.8, "top_k": 6},
        {"temperature": 1.2, "top_p": 0.8, "repetition_penalty": 1.1},
    ],
)
@pytest.mark.parametrize("prompts", [tokens(2, 3), [[1], [2, 3, 4, 5], [6, 7]]], ids=["equal", "ragged"])
def test_the_same_text_with_and_without_a_cache(model, prompts, settings):
    cached = model.generate(prompts, 15, seed=4, **settings).data
    plain = model.generate(prompts, 15, seed=4, use_cache=False, **settings).data
    assert np.array_equal(cached, plain)
    assert np.array_equal(cached, model.generate(prompts, 15, seed=4, **settings).data)


@pytest.mark.parametrize("use_cache", [True, False])
def test_ragged_prompts_are_continued_as_if_alone(model, use_cache):
    prompts = [[1], [2, 3, 4, 5, 6, 7], [8, 9]]
    out = model.generate(prompts, 8, temperature=0, use_cache=use_cache).data
    assert out.shape == (3, 14) and (out[0, 9:] == -1).all() and (out[1] >= 0).all()
    for row, prompt in zip(out, prompts, strict=True):
        alone = model.generate(prompt, 8, temperature=0).data[0]
        assert np.array_equal(row[row >= 0], alone)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_mask_marks_the_padding_of_prompts(model, side):
    prompts = [[1], [2, 3, 4]]
    padded = np.array([[0, 0, 1], [2, 3, 4]] if side == "left" else [[1, 0, 0], [2, 3, 4]])
    mask = np.array([[0, 0, 1], [1, 1, 1]] if side == "left" else [[1, 0, 0], [1, 1, 1]])
    expected = model.generate(prompts, 5, seed=1).data
    assert np.array_equal(model.generate(padded, 5, seed=1, prompt_mask=mask).data, expected)
    assert np.array_equal(model.generate(padded, 5, seed=1, prompt_mask=Tensor(mask)).data, expected)


def test_generate_from_a_prefix_that_was_read_once(model):
    prefix = tokens(1, 6)
    cache = model.new_cache(1)
    model.infer(prefix, cache)
    prompts = [[*prefix[0], 1], [*prefix[0], 2, 3]]
    expected = model.generate(prompts, 6, temperature=0).data
    fork = cache.fork(2)
    assert np.array_equal(model.generate(prompts, 6, temperature=0, cache=fork).data, expected)
    assert fork.lengths.tolist() == [12, 13] and cache.lengths.tolist() == [6]
    # What was written is the prompt of what comes next.
    longer = [row[row >= 0].tolist() for row in expected]
    assert np.array_equal(
        model.generate(longer, 4, temperature=0, cache=fork).data,
        model.generate(longer, 4, temperature=0).data,
    )


def test_generate_with_a_window(model):
    out = model.generate([[1, 2, 3]], 12, temperature=0, cache=model.new_cache(1, window=4)).data
    for t in range(3, 15):
        assert out[0, t] == through_window(model, out[:, :t], 4)[0, -1].argmax()


def test_a_penalty_counts_prompt_and_new_tokens_of_its_own_row(model):
    prompts, penalty = [[1, 2], [3, 4, 5]], 3.0
    out = model.generate(prompts, 8, temperature=0, repetition_penalty=penalty).data
    greedy, rng = Sampling(0, repetition_penalty=penalty), np.random.default_rng(0)
    for row, prompt in zip(out, prompts, strict=True):
        for t in range(len(prompt), len(prompt) + 8):
            seen = np.isin(np.arange(VOCAB), row[:t])[None]
            assert row[t] == greedy.choose(model(row[None, :t]).data[:, -1], rng, seen)[0]
