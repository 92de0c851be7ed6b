"""The GPT: causal, right in its gradients, able to learn, and the same with a cache as without."""

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.activations import GELU
from tinytorch.autograd import gradcheck, no_grad
from tinytorch.layers import Linear
from tinytorch.losses import CrossEntropyLoss
from tinytorch.module import Module
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.transformers import (
    GPT,
    MLP,
    LayerNorm,
    TransformerBlock,
    as_decoder_blocks,
    create_causal_mask,
)

VOCAB = 11


@pytest.fixture
def model():
    np.random.seed(0)
    return GPT(VOCAB, embed_dim=16, num_layers=2, num_heads=4, max_seq_len=24)


def tokens(batch=2, steps=9, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, (batch, steps))


def test_causal_mask_is_lower_triangular():
    mask = create_causal_mask(4)
    assert mask.shape == (1, 4, 4)
    assert np.array_equal(mask.data[0], np.tri(4))
    with pytest.raises(ValueError, match="positive"):
        create_causal_mask(0)


def test_mlp_widens_four_times_unless_told():
    assert MLP(8).linear1.weight.shape == (8, 32)
    assert MLP(8, 12).linear1.weight.shape == (8, 12)
    with pytest.raises(ValueError, match="positive"):
        MLP(8, 0)
    mlp = MLP(8).eval()
    x = Tensor(np.random.randn(2, 3, 8))
    assert np.array_equal(mlp(x).data, mlp.linear2(mlp.gelu(mlp.linear1(x))).data)
    np.testing.assert_allclose(mlp.infer(x.data), mlp(x).data, rtol=1e-5, atol=1e-6)


def test_dropout_is_for_training_only():
    block = TransformerBlock(8, 2, dropout_prob=0.5)
    x = Tensor(np.random.randn(1, 4, 8))
    assert not np.array_equal(block(x).data, block(x).data)
    block.eval()
    assert np.array_equal(block(x).data, block(x).data)


def test_block_is_pre_norm_with_residuals():
    block = TransformerBlock(8, 2).eval()
    x = Tensor(np.random.randn(1, 4, 8))
    after = x + block.attention(block.ln1(x))
    expected = after + block.mlp(block.ln2(after))
    np.testing.assert_allclose(block(x).data, expected.data, rtol=1e-5, atol=1e-6)
    masked, causal = block(x, create_causal_mask(4)), block(x, causal=True)
    np.testing.assert_allclose(masked.data, causal.data, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(block.infer(x.data), causal.data, rtol=1e-4, atol=1e-5)


def test_the_parts_have_their_course_names(model):
    assert {"gamma", "beta", "eps"} <= vars(LayerNorm(4)).keys()
    assert model.token_embedding.weight.shape == (VOCAB, 16)
    assert model.position_embedding.weight.shape == (24, 16)
    assert len(model.blocks) == 2 and model.lm_head.bias is None
    per_block = 4 * (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 4 * 16
    expected = VOCAB * 16 + 24 * 16 + 2 * per_block + 2 * 16 + 16 * VOCAB
    assert sum(p.size for p in model.parameters()) == expected


def test_logits_depend_on_the_past_only(model):
    ids = tokens()
    before = model(ids).data
    assert before.shape == (2, 9, VOCAB)
    for t in (0, 4, 8):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % VOCAB
        after = model(changed).data
        assert np.array_equal(after[:, :t], before[:, :t])
        assert np.abs(after[:, t:] - before[:, t:]).max(axis=(0, 2)).min() > 1e-5


def test_position_matters(model):
    same = model(np.full((1, 5), 3)).data[0]
    assert np.abs(np.diff(same, axis=0)).max(axis=1).min() > 1e-4


def test_gradients_of_a_two_layer_gpt():
    np.random.seed(1)
    model = GPT(5, embed_dim=4, num_layers=2, num_heads=2, max_seq_len=4)
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    ids = np.array([[0, 3, 3], [1, 4, 2]])
    assert gradcheck(lambda *parameters: model(ids), model.parameters())


def test_infer_is_forward_without_a_graph(model):
    ids = tokens()
    with no_grad():
        expected = model(ids).data
    np.testing.assert_allclose(model.infer(ids), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.infer(ids, last_only=True), expected[:, -1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prompt", [1, 2, 7, 24])
def test_cached_logits_equal_uncached_at_every_position(model, prompt):
    ids = tokens(batch=3, steps=24)
    expected = model(ids).data
    cache = kernels.KVCache(3, 24, 2, 4, 4)
    got = [model.infer(ids[:, :prompt], cache)]
    got += [model.infer(ids[:, t : t + 1], cache) for t in range(prompt, 24)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, atol=1e-4)
    assert np.all(cache.lengths == 24)


def test_an_int8_cache_costs_little_accuracy(model):
    ids = tokens(batch=2, steps=24)
    expected = model(ids).data
    cache = kernels.KVCache(2, 24, 2, 4, 4, dtype="int8")
    got = np.concatenate([model.infer(ids[:, t : t + 1], cache) for t in range(24)], axis=1)
    assert 0 < np.abs(got - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("position", [0, 3])
def test_a_cache_left_at_zeros_would_be_noticed(model, position):
    ids = tokens(batch=1, steps=8)
    expected = model(ids).data[:, -1]
    cache = kernels.KVCache(1, 24, 2, 4, 4)
    model.infer(ids[:, :7], cache)
    cache.keys[:, :, :, position] = 0
    cache.values[:, :, :, position] = 0
    assert np.abs(model.infer(ids[:, 7:], cache)[:, 0] - expected).max() > 1e-3


def test_forward_refuses_what_it_cannot_read(model):
    with pytest.raises(ValueError, match="max_seq_len=24"):
        model(np.zeros((1, 25), int))
    with pytest.raises(ValueError, match="at least one of each"):
        model(np.zeros((1, 0), int))
    with pytest.raises(ValueError, match=r"\(batch, time\)"):
        model([1, 2, 3])


def test_learns_a_short_text_by_heart():
    np.random.seed(0)
    text = np.array([ord(c) - 96 if c != " " else 0 for c in "the quick brown fox jumps over the lazy dog"])
    model = GPT(27, embed_dim=32, num_layers=2, num_heads=4, max_seq_len=64)
    optimizer, loss_of = AdamW(model.parameters(), lr=0.01), CrossEntropyLoss()
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_of(model(text[None, :-1]).reshape(-1, 27), Tensor(text[1:]))
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert np.array_equal(model.generate(text[:4], len(text) - 4, temperature=0).data[0], text)


class Louder(Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def odd_linear(block):
    block.mlp.linear1 = Louder(16, 64)


def odd_gelu(block):
    block.mlp.gelu = GELU("tanh")


def odd_hook(block):
    plain = block.mlp.linear2.forward
    block.mlp.linear2.forward = lambda x: plain(x)


def odd_method(block):
    plain = block.attention.infer
    block.attention.infer = lambda x, *rest: 3 * plain(x, *rest)


@pytest.mark.parametrize("change", [odd_linear, odd_gelu, odd_hook, odd_method])
def test_a_block_that_is_not_ordinary_takes_its_own_layers(model, change):
    assert as_decoder_blocks(model.blocks) is not None
    change(model.blocks[1])
    assert as_decoder_blocks(model.blocks) is None
    ids, cache = tokens(batch=2, steps=6), kernels.KVCache(2, 24, 2, 4, 4)
    got = [model.infer(ids[:, t : t + 1], cache) for t in range(6)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), model.infer(ids), atol=1e-4)


class Halved(Module):
    """Stands in for a Linear, and says what it multiplies by."""

    def __init__(self, linear):
        self.linear = linear

    def weight_and_bias(self):
        return self.linear.weight.data / 2, None

    def forward(self, x):
        return x @ (self.linear.weight / 2)


class Shifted(Halved):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize("make, described", [(Halved, True), (Shifted, False)])
def test_a_layer_that_says_what_it_multiplies_by_is_believed_for_its_very_class(model, make, described):
    block = model.blocks[1]
    block.mlp.linear1 = make(block.mlp.linear1)
    assert (as_decoder_blocks(model.blocks) is not None) == described
    ids, cache = tokens(batch=2, steps=6), kernels.KVCache(2, 24, 2, 4, 4)
    got = [model.infer(ids[:, t : t + 1], cache) for t in range(6)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), model.infer(ids), atol=1e-4)


def test_a_full_cache_is_an_error(model):
    cache = kernels.KVCache(1, 2, 2, 4, 4)
    cache.advance(2)
    with pytest.raises(ValueError, match="cache is full"):
        model.infer([[1]], cache)


def test_generation_sees_weights_that_changed_since(model):
    model.generate(tokens(1, 1), 3, temperature=0)
    model.blocks[0].attention.q_proj.weight.data = model.blocks[0].attention.q_proj.weight.data * -3
    ids, cache = tokens(batch=1, steps=5), kernels.KVCache(1, 24, 2, 4, 4)
    got = [model.infer(ids[:, t : t + 1], cache) for t in range(5)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), model.infer(ids), atol=1e-4)
