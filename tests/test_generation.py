"""Writing text: greedy and sampled, with a cache and without, within the context and no further."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.generation import _choose
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

VOCAB = 11


@pytest.fixture
def model():
    np.random.seed(0)
    return GPT(VOCAB, embed_dim=16, num_layers=2, num_heads=4, max_seq_len=24)


def tokens(batch=2, steps=9, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, (batch, steps))


@pytest.mark.parametrize("use_cache", [True, False])
def test_generate_continues_each_prompt_of_a_batch(model, use_cache):
    prompt = tokens(batch=3, steps=4)
    out = model.generate(prompt, 10, temperature=0, use_cache=use_cache)
    assert out.shape == (3, 14) and out.dtype == np.int64
    assert np.array_equal(out.data[:, :4], prompt)
    for row in range(3):
        alone = model.generate(prompt[row], 10, temperature=0, use_cache=use_cache)
        assert np.array_equal(alone.data[0], out.data[row])


def test_generate_is_greedy_at_temperature_zero(model):
    sequence = model.generate(tokens(1, 3), 8, temperature=0).data
    for t in range(3, 11):
        assert sequence[0, t] == model(sequence[:, :t]).data[0, -1].argmax()


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7, "top_k": 5}])
def test_generate_gives_the_same_tokens_with_and_without_a_cache(model, settings):
    prompt = tokens(2, 3)
    cached = model.generate(prompt, 20, seed=4, **settings)
    plain = model.generate(prompt, 20, seed=4, use_cache=False, **settings)
    assert np.array_equal(cached.data, plain.data)


def test_generate_by_seed(model):
    prompt = Tensor(tokens(1, 3))
    first, again, other = (model.generate(prompt, 20, seed=seed).data for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_generate_uses_the_whole_context_and_no_more(model):
    prompt = tokens(1, 4)
    assert model.generate(prompt, 21).shape == (1, 25)
    with pytest.raises(ValueError, match="at most 21 new tokens"):
        model.generate(prompt, 22)
    with pytest.raises(ValueError, match="Shorten the prompt"):
        model.generate(tokens(1, 30), 1)
    assert np.array_equal(model.generate(prompt, 0).data, prompt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_tokens": np.zeros((1, 0), int)}, "at least one token"),
        ({"prompt_tokens": [[99]]}, "Index out of range"),
        ({"prompt_tokens": [[1.5]]}, "whole numbers"),
        ({"prompt_tokens": [[1]], "max_new_tokens": -1}, "negative"),
        ({"prompt_tokens": [[1]], "temperature": -1.0}, "temperature"),
        ({"prompt_tokens": [[1]], "temperature": float("nan")}, "temperature"),
        ({"prompt_tokens": [[1]], "top_k": 0}, "top_k"),
    ],
)
def test_generate_refuses_what_makes_no_sense(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate(**arguments)


def test_a_diverged_model_does_not_babble(model):
    model.ln_f.gamma.data = model.ln_f.gamma.data * np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.generate([[1]], 3)


def test_sampling_follows_softmax():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))
    many = np.repeat(logits, 40_000, axis=0)
    rng = np.random.default_rng(0)
    share = np.bincount(_choose(many, 1.0, None, rng), minlength=4) / 40_000
    np.testing.assert_allclose(share, [0.5, 0.3, 0.15, 0.05], atol=0.01)
    share = np.bincount(_choose(many, 0.5, None, rng), minlength=4) / 40_000
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(share, squared / squared.sum(), atol=0.01)
    assert set(_choose(many, 1.0, 2, rng)) == {0, 1}
    assert set(_choose(many, 1.0, 1, rng)) == {0}


def test_generation_runs_on_a_replaced_matmul(model):
    calls = []

    def mine(a, b):
        calls.append(None)
        return a @ b

    expected = model.generate(tokens(1, 1), 6, temperature=0).data
    with kernels.use(matmul=mine):
        assert np.array_equal(model.generate(tokens(1, 1), 6, temperature=0).data, expected)
    assert len(calls) >= 6 * 2 * 6
