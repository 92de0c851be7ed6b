"""Writing text: greedy and sampled, with a cache and without, within the context and no further."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.layers import Linear
from tinytorch.sampling import Sampling
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


class Letters:
    """Ids 0 ... 10 as the letters a ... k."""

    def decode(self, ids):
        return "".join("abcdefghijk"[i] for i in ids)


def greedy(model, prompt, count=12):
    return model.generate(prompt, count, temperature=0).data[0].tolist()


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_stop_token_ends_a_sequence_and_is_part_of_it(model, use_cache):
    whole = greedy(model, [1, 2, 3])
    stop = whole[6]
    out = model.generate([1, 2, 3], 12, temperature=0, use_cache=use_cache, stop=stop).data[0].tolist()
    assert out == whole[: whole.index(stop, 3) + 1]
    others = [i for i in range(VOCAB) if i not in whole[3:]]
    assert greedy(model, [1, 2, 3]) == model.generate([1, 2, 3], 12, 0, stop=others).data[0].tolist()


def test_a_stop_token_in_the_prompt_stops_nothing(model):
    whole = greedy(model, [1, 2, 3])
    unused = next(i for i in range(VOCAB) if i not in whole[3:])
    expected = greedy(model, [1, unused, 3])
    assert model.generate([1, unused, 3], 12, 0, stop=unused).shape[1] <= 15
    if unused not in expected[3:]:
        assert model.generate([1, unused, 3], 12, 0, stop=unused).data[0].tolist() == expected


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_stop_string_may_span_tokens(model, length):
    whole = greedy(model, [1, 2, 3])
    text = Letters().decode(whole[3:])
    string = text[4 : 4 + length]
    out = model.generate([1, 2, 3], 12, temperature=0, stop=[string, "aaaaaaaaaaaaa"], tokenizer=Letters())
    assert Letters().decode(out.data[0, 3:]) == text[: text.index(string) + length]


def test_sequences_of_a_batch_end_one_by_one(model):
    prompts = [[1, 2], [3], [4, 5, 6]]
    alone = [greedy(model, prompt, 10) for prompt in prompts]
    stop = alone[0][4]
    out = model.generate(prompts, 10, temperature=0, stop=stop).data
    for row, prompt, text in zip(out, prompts, alone, strict=True):
        new = text[len(prompt) :]
        if stop in new:
            new = new[: new.index(stop) + 1]
        assert row[row >= 0].tolist() == [*prompt, *new]
        assert (row[len(prompt) + len(new) :] == -1).all()


def test_generation_ends_when_all_have_ended(model):
    assert len(list(model.stream([[1], [2]], 12, stop=list(range(VOCAB))))) == 1


def test_stream_hands_over_each_token_as_it_comes(model):
    whole = greedy(model, [1, 2, 3])
    stream = model.stream([1, 2, 3], 12, temperature=0)
    assert [next(stream), next(stream)] == whole[3:5]
    assert all(type(token) is int for token in stream)
    assert model._described is None
    columns = list(model.stream([[1, 2], [3, 4]], 5, temperature=0, stop=whole[3]))
    expected = model.generate([[1, 2], [3, 4]], 5, temperature=0, stop=whole[3]).data[:, 2:]
    assert np.array_equal(np.stack(columns, axis=1), expected)


def test_a_stream_that_is_left_early_leaves_no_trace(model):
    stream = model.stream([1, 2, 3], 12, use_cache=False)
    next(stream)
    assert "_packed_weight" in vars(model.lm_head)
    stream.close()
    assert "_packed_weight" not in vars(model.lm_head) and model._described is None


def test_sequences_of_one_seed_differ(model):
    out = model.generate([[1, 2]] * 4, 15, seed=0).data
    assert len({tuple(row) for row in out.tolist()}) == 4


def test_the_cache_holds_all_but_the_last_token(model):
    cache = model.new_cache(1)
    text = model.generate([[1, 2]], 5, seed=0, cache=cache).data
    assert cache.lengths.tolist() == [6]
    expected = model(text).data[:, -1:]
    np.testing.assert_allclose(model.infer(text[:, -1:], cache), expected, atol=1e-4)


def used_cache(model, length):
    cache = model.new_cache(1)
    model.infer(np.ones((1, length), int), cache)
    return cache


ANY_MODEL = GPT(VOCAB, embed_dim=16, num_layers=2, num_heads=4, max_seq_len=24)
MISUSE = [
    ({"prompt_tokens": np.zeros((1, 0), int)}, ValueError, "at least one token for each prompt"),
    ({"prompt_tokens": []}, ValueError, "at least one token for each prompt"),
    ({"prompt_tokens": [[1], []]}, ValueError, r"have shapes \(1,\), \(0,\)"),
    ({"prompt_tokens": 5}, ValueError, r"have shapes \(\)"),
    ({"prompt_tokens": [[[1]]]}, ValueError, r"have shapes \(1, 1, 1\)"),
    ({"prompt_tokens": "once"}, TypeError, r"the prompt is text, .* tokenizer.encode\(text\)"),
    ({"prompt_tokens": ["once", "upon"]}, TypeError, "the prompt is text"),
    ({"prompt_tokens": [[99]]}, ValueError, "Index out of range: id 99"),
    ({"prompt_tokens": [[1.5]]}, ValueError, "whole numbers"),
    ({"max_new_tokens": -1}, ValueError, "max_new_tokens can't be negative, got -1"),
    ({"max_new_tokens": 2.5}, TypeError, "max_new_tokens must be a whole number, got 2.5"),
    ({"max_new_tokens": 30}, ValueError, "need 30 positions, but max_seq_len=24. Ask for at most 24 new"),
    ({"prompt_tokens": [[1], [1] * 24], "max_new_tokens": 2}, ValueError, "Ask for at most 1 new tokens"),
    ({"temperature": -1.0}, ValueError, "temperature must be 0"),
    ({"top_k": 0}, ValueError, "top_k must be at least 1"),
    ({"top_p": 1.5}, ValueError, "top_p is a sum of probabilities"),
    ({"repetition_penalty": -1}, ValueError, "repetition_penalty must be positive"),
    ({"stop": "end"}, ValueError, "stop='end' is text, but the model writes ids. Pass the tokenizer"),
    ({"stop": 11}, ValueError, "stop token 11 can never come: ids are 0 to 10"),
    ({"stop": [1, 2.5]}, TypeError, "stop takes token ids and strings, got 2.5"),
    ({"stop": "", "tokenizer": Letters()}, ValueError, "an empty stop string would stop before"),
    ({"prompt_mask": [[1, 1]]}, ValueError, r"prompt_tokens \(1, 1\)\n  prompt_mask   \(1, 2\)"),
    ({"prompt_tokens": [[1, 2, 3]], "prompt_mask": [[1, 0, 1]]}, ValueError, "padding between tokens"),
    ({"prompt_tokens": [[1, 2]], "prompt_mask": [[1, 2]]}, ValueError, "a 1 for each token and a 0 for"),
    ({"prompt_tokens": [[1, 2]], "prompt_mask": [[0, 0]]}, ValueError, "at least one token for each"),
    ({"prompt_tokens": [[1], [2, 3]], "prompt_mask": [[1]]}, ValueError, "need no prompt_mask"),
    ({"cache": "yes"}, TypeError, r"cache must be a KVCache, got str: model.new_cache\(\)"),
    ({"cache": ANY_MODEL.new_cache(1), "use_cache": False}, ValueError, "Leave one of them out"),
    ({"cache": ANY_MODEL.new_cache(2)}, ValueError, r"1 prompts, but .* batch_size=2. .* cache.fork"),
    ({"cache": used_cache(ANY_MODEL, 3)}, ValueError, "holds 3 positions of sequence 0, whose prompt has 1"),
    ({"cache": ANY_MODEL.new_cache(1, 2)}, ValueError, r"3 positions are needed.*max_seq_len=2.*window"),
]


@pytest.mark.parametrize("arguments, error, message", MISUSE)
def test_mistakes_are_explained_before_anything_is_written(arguments, error, message):
    arguments = {"prompt_tokens": [[1]], "max_new_tokens": 3, **arguments}
    with pytest.raises(error, match=message):
        ANY_MODEL.generate(**arguments)
    with pytest.raises(error, match=message):
        ANY_MODEL.stream(**arguments)  # at once, not at the first token


def test_a_diverged_model_does_not_babble(model):
    model.ln_f.gamma.data = model.ln_f.gamma.data * np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.generate([[1]], 3)


def test_sampling_follows_softmax():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))
    many = np.repeat(logits, 40_000, axis=0)
    rng = np.random.default_rng(0)
    share = np.bincount(Sampling().choose(many, rng), minlength=4) / 40_000
    np.testing.assert_allclose(share, [0.5, 0.3, 0.15, 0.05], atol=0.01)
    share = np.bincount(Sampling(0.5).choose(many, rng), minlength=4) / 40_000
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(share, squared / squared.sum(), atol=0.01)
    assert set(Sampling(top_k=2).choose(many, rng)) == {0, 1}
    assert set(Sampling(top_k=1).choose(many, rng)) == {0}


def test_generation_runs_on_a_replaced_matmul(model):
    calls = []

    def mine(a, b):
        calls.append(None)
        return a @ b

    expected = model.generate(tokens(1, 1), 6, temperature=0).data
    with kernels.use(matmul=mine):
        assert np.array_equal(model.generate(tokens(1, 1), 6, temperature=0).data, expected)
    assert len(calls) >= 6 * 2 * 6


HOOKED = {
    "model": lambda model: model,
    "embedding": lambda model: model.token_embedding,
    "positions": lambda model: model.position_embedding,
    "block": lambda model: model.blocks[1],
    "attention": lambda model: model.blocks[0].attention,
    "projection": lambda model: model.blocks[0].attention.v_proj,
    "norm": lambda model: model.ln_f,
    "mlp": lambda model: model.blocks[1].mlp,
    "gelu": lambda model: model.blocks[1].mlp.gelu,
    "head": lambda model: model.lm_head,
}


@pytest.mark.parametrize("part", HOOKED.values(), ids=HOOKED.keys())
def test_forward_hooks_are_called(model, part):
    """What hooks change shows in the text, which is that of the hooked model without a cache."""
    plain, seen = greedy(model, [1, 2, 3], 4), []

    def hook(module, inputs, output):
        seen.append(output.shape[-2])
        noise = np.random.default_rng(0).standard_normal(output.shape[-1:], np.float32)
        return Tensor(output.data + 10 * noise)

    layer = part(model)
    before = []
    with (
        layer.register_forward_hook(hook),
        layer.register_forward_pre_hook(lambda module, inputs: before.append(inputs)),
    ):
        hooked = greedy(model, [1, 2, 3], 4)
        assert seen[0] in (1, 3) and seen[1:] == [1] * 3 and len(before) == 4
        for t in range(3, 7):
            assert hooked[t] == model([hooked[:t]]).data[0, -1].argmax()
    assert hooked != plain and greedy(model, [1, 2, 3], 4) == plain


def test_a_layer_in_anothers_place_is_run(model):
    class Twice(Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    twice = Twice(16, VOCAB, bias=False)
    twice.weight.data = -model.lm_head.weight.data
    model.lm_head = twice
    text = greedy(model, [1, 2], 5)
    for t in range(2, 7):
        assert text[t] == model([text[:t]]).data[0, -1].argmax()


def test_attention_that_cannot_go_step_by_step_is_an_error(model):
    model.blocks[0].attention = Linear(16, 16)
    with pytest.raises(TypeError, match=r"Linear has no method infer\(x, cache, layer\)"):
        model.generate([[1]], 3)
