"""Attention: the formula, the fused kernel, their gradients, and masks that keep where they are 1."""

from functools import partial

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.attention import (
    MultiHeadAttention,
    fused_attention,
    packed_weights,
    scaled_dot_product_attention,
)
from tinytorch.autograd import gradcheck
from tinytorch.embeddings import RotaryEmbedding
from tinytorch.nn import functional as F
from tinytorch.tensor import Tensor

rng = np.random.default_rng(0)


def tensors(*shapes, dtype=np.float32):
    return [Tensor(rng.standard_normal(shape), requires_grad=True, dtype=dtype) for shape in shapes]


def formula(q, k, v, keep=None):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if keep is not None:
        scores = np.where(keep, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, weights


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_the_formula(batch):
    q, k, v = tensors((*batch, 4, 8), (*batch, 5, 8), (*batch, 5, 6))
    out, weights = scaled_dot_product_attention(q, k, v)
    expected_out, expected_weights = formula(q.data, k.data, v.data)
    np.testing.assert_allclose(out.data, expected_out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.data, expected_weights, rtol=1e-5, atol=1e-6)


def test_a_mask_keeps_where_it_is_one():
    q, k, v = tensors((2, 4, 8), (2, 4, 8), (2, 4, 8))
    causal = np.tri(4)[None]
    out, weights = scaled_dot_product_attention(q, k, v, Tensor(causal))
    np.testing.assert_allclose(out.data, formula(q.data, k.data, v.data, causal > 0)[0], rtol=1e-5, atol=1e-6)
    assert np.all(weights.data[:, causal[0] == 0] == 0)
    np.testing.assert_allclose(weights.data.sum(axis=-1), 1, rtol=1e-6)


def test_a_row_that_sees_nothing_is_zero_in_both_ways():
    q, k, v = tensors((1, 1, 3, 4), (1, 1, 3, 4), (1, 1, 3, 4))
    mask = np.ones((3, 3))
    mask[1] = 0
    step_by_step = scaled_dot_product_attention(q, k, v, mask)[0].data
    fused = fused_attention(q, k, v, mask).data
    assert np.all(step_by_step[0, 0, 1] == 0) and np.all(fused[0, 0, 1] == 0)
    np.testing.assert_allclose(fused, step_by_step, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", ["no", "causal", "mask", "both"])
def test_fused_and_step_by_step_agree(masked):
    q, k, v = tensors((2, 3, 7, 8), (2, 3, 7, 8), (2, 3, 7, 8))
    keep = rng.random((2, 1, 7, 7)) < 0.7
    keep |= np.eye(7, dtype=bool)
    causal = masked in ("causal", "both")
    mask = keep if masked in ("mask", "both") else None
    fused = fused_attention(q, k, v, mask, causal)
    effective = (np.ones_like(keep) if mask is None else keep) & (np.tri(7, dtype=bool) if causal else True)
    expected = scaled_dot_product_attention(q, k, v, effective)[0]
    np.testing.assert_allclose(fused.data, expected.data, rtol=1e-4, atol=1e-5)

    upstream = rng.standard_normal(fused.shape)
    fused.backward(upstream)
    gradients = [t.grad for t in (q, k, v)]
    for t in (q, k, v):
        t.zero_grad()
    expected.backward(upstream)
    for t, gradient in zip((q, k, v), gradients, strict=True):
        np.testing.assert_allclose(gradient, t.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_gradient_of_fused_attention(causal):
    q, k, v = tensors((1, 2, 4, 3), (1, 2, 4, 3), (1, 2, 4, 3), dtype=np.float64)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]])
    gradcheck(lambda q, k, v: fused_attention(q, k, v, None, causal), [q, k, v])
    gradcheck(lambda q, k, v: fused_attention(q, k, v, mask, causal), [q, k, v])


def test_gradient_of_the_formula():
    q, k, v = tensors((2, 3, 4), (2, 3, 4), (2, 3, 4), dtype=np.float64)
    mask = np.tri(3)
    gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask)[0], [q, k, v])


def test_gradients_of_multi_head_attention():
    attention = MultiHeadAttention(4, 2)
    for parameter in attention.parameters():
        parameter.data = parameter.data.astype(np.float64)
    (x,) = tensors((2, 3, 4), dtype=np.float64)
    gradcheck(lambda x, *parameters: attention(x, causal=True), [x, *attention.parameters()])


def test_multi_head_attention_is_attention_per_head():
    attention = MultiHeadAttention(8, 2)
    x = rng.standard_normal((2, 5, 8)).astype(np.float32)
    q, k, v = (
        x @ p.weight.data + p.bias.data for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    heads = [formula(*(a[:, :, s] for a in (q, k, v)))[0] for s in (slice(0, 4), slice(4, 8))]
    expected = np.concatenate(heads, axis=-1) @ attention.out_proj.weight.data + attention.out_proj.bias.data
    np.testing.assert_allclose(attention(Tensor(x)).data, expected, rtol=1e-4, atol=1e-5)
    assert len(attention.parameters()) == 8 and attention.head_dim == 4


def test_weights_only_when_asked():
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((2, 5, 8))
    out, weights = attention(x, causal=True, return_weights=True)
    assert weights.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(weights.data.sum(axis=-1), 1, rtol=1e-5)
    assert np.all(weights.data[:, :, ~np.tri(5, dtype=bool)] == 0)
    np.testing.assert_allclose(out.data, attention(x, causal=True).data, rtol=1e-4, atol=1e-5)

    mask = np.ones((5, 5))
    mask[:, 2] = 0
    out, weights = attention(x, mask, causal=True, return_weights=True)
    np.testing.assert_allclose(out.data, attention(x, mask, causal=True).data, rtol=1e-4, atol=1e-5)
    assert np.array_equal(weights.data != 0, np.broadcast_to(np.tri(5) * mask > 0, weights.shape))


@pytest.mark.parametrize("shape", [(5, 5), (1, 5, 5), (2, 5, 5), (2, 1, 5, 5), (2, 2, 5, 5)])
def test_masks_of_every_rank(shape):
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((2, 5, 8))
    mask = Tensor(np.broadcast_to(np.tri(5), shape))
    np.testing.assert_allclose(attention(x, mask).data, attention(x, causal=True).data, rtol=1e-4, atol=1e-5)


def test_queries_and_keys_matter():
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((1, 5, 8))
    before = attention(x).data
    attention.q_proj.weight.data = attention.q_proj.weight.data * 3
    assert np.abs(attention(x).data - before).max() > 1e-3


def test_infer_is_causal_forward():
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((2, 5, 8))
    np.testing.assert_allclose(attention.infer(x.data), attention(x, causal=True).data, rtol=1e-4, atol=1e-5)


def test_infer_with_a_cache_takes_any_number_of_positions_at_a_time():
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((2, 6, 8))
    cache = kernels.KVCache(2, 6, 1, 2, 4)
    expected = attention.infer(x.data)
    got = [attention.infer(x.data[:, :3], cache)]
    cache.advance(3)
    for t in range(3, 6):
        got.append(attention.infer(x.data[:, t : t + 1], cache))
        cache.advance()
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, rtol=1e-4, atol=1e-5)
    cache.reset()
    got = []
    for start, end in ((0, 1), (1, 3), (3, 6)):
        got.append(attention.infer(x.data[:, start:end], cache))
        cache.advance(end - start)
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attend", [fused_attention, lambda *args: scaled_dot_product_attention(*args)[0]])
def test_other_floats_are_added_to_the_scores(attend):
    q, k, v = tensors((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 8))
    added = rng.standard_normal((4, 5))
    added[2, 3] = -np.inf
    scores = q.data @ np.swapaxes(k.data, -1, -2) / np.sqrt(8) + added
    e = np.exp(scores)
    expected = e / e.sum(axis=-1, keepdims=True) @ v.data
    np.testing.assert_allclose(attend(q, k, v, added).data, expected, rtol=1e-4, atol=1e-5)
    added[1] = -np.inf
    assert np.all(attend(q, k, v, added).data[:, :, 1] == 0)


def test_a_mask_of_zeros_blocks_all_but_not_in_silence():
    q, k, v = tensors((1, 1, 4, 8), (1, 1, 4, 8), (1, 1, 4, 8))
    with pytest.warns(UserWarning, match="blocks everything"):
        assert np.all(fused_attention(q, k, v, np.zeros((4, 4))).data == 0)
    assert np.all(fused_attention(q, k, v, np.zeros((4, 4), bool)).data == 0)


def test_a_learned_mask_gets_a_gradient():
    q, k, v, bias = tensors((2, 3, 4), (2, 3, 4), (2, 3, 4), (3, 3), dtype=np.float64)
    gradcheck(lambda q, k, v, bias: scaled_dot_product_attention(q, k, v, bias)[0], [q, k, v, bias])


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_shared_keys_are_repeated_keys(kv_heads):
    q, k, v = tensors((2, 4, 5, 8), (2, kv_heads, 6, 8), (2, kv_heads, 6, 3))
    k_all, v_all = (x.data.repeat(4 // kv_heads, axis=1) for x in (k, v))
    expected = formula(q.data, k_all, v_all)[0]
    for attend in (fused_attention, lambda *qkv: scaled_dot_product_attention(*qkv)[0]):
        np.testing.assert_allclose(attend(q, k, v).data, expected, rtol=1e-4, atol=1e-5)


def grouped(rotary=False, dtype=np.float32):
    np.random.seed(0)
    turn = RotaryEmbedding(4, max_seq_len=16) if rotary else None
    attention = MultiHeadAttention(16, 4, num_kv_heads=2, bias=False, rotary=turn)
    for parameter in attention.parameters():
        parameter.data = parameter.data.astype(dtype)
    return attention


def test_grouped_queries_have_fewer_weights():
    assert [p.shape for p in grouped().parameters()] == [(16, 16), (16, 8), (16, 8), (16, 16)]


@pytest.mark.parametrize("rotary", [False, True])
def test_gradients_of_grouped_queries(rotary):
    attention = grouped(rotary, np.float64)
    (x,) = tensors((2, 3, 16), dtype=np.float64)
    padding = [[1, 1, 1], [1, 1, 0]]
    gradcheck(lambda x, *_: attention(x, causal=True, padding_mask=padding), [x, *attention.parameters()])


@pytest.mark.parametrize("rotary", [False, True])
def test_both_ways_and_the_cache_agree_on_grouped_queries(rotary):
    attention = grouped(rotary)
    (x,) = tensors((2, 6, 16))
    expected = attention(x, causal=True).data
    step_by_step = attention(x, causal=True, return_weights=True)[0].data
    np.testing.assert_allclose(step_by_step, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(attention.infer(x.data), expected, rtol=1e-4, atol=1e-5)
    cache = kernels.KVCache(2, 6, 1, 2, 4)
    got = [attention.infer(x.data[:, :3], cache)]
    cache.advance(3)
    for t in range(3, 6):
        got.append(attention.infer(x.data[:, t : t + 1], cache))
        cache.advance()
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, rtol=1e-4, atol=1e-5)


def test_rotary_attention_sees_distances_only():
    attention = grouped(rotary=True)
    (x,) = tensors((1, 5, 16))
    ahead = Tensor(np.concatenate([rng.standard_normal((1, 7, 16)), x.data], axis=1))
    padding = [[0] * 7 + [1] * 5]
    shifted = attention(ahead, causal=True, padding_mask=padding).data[:, 7:]
    np.testing.assert_allclose(shifted, attention(x, causal=True).data, rtol=1e-4, atol=1e-5)
    order = attention(Tensor(x.data[:, ::-1])).data[:, ::-1]
    assert np.abs(order - attention(x).data).max() > 1e-3


@pytest.mark.parametrize("mask", [None, "keep", "add"])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_holds_together_with_other_masks(mask, causal):
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((2, 5, 8))
    keep = rng.random((2, 5, 5)) < 0.7
    keep |= np.eye(5, dtype=bool)
    given = {None: None, "keep": keep, "add": np.where(keep, 0.0, -np.inf) + 0.5}[mask]
    padding = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    allowed = padding[:, None] * (1 if mask is None else keep) * (np.tri(5) if causal else 1)
    allowed = np.broadcast_to(allowed, (2, 5, 5))
    expected = attention(x, allowed).data
    np.testing.assert_allclose(
        attention(x, given, causal, padding_mask=padding).data, expected, rtol=1e-4, atol=1e-5
    )
    out, weights = attention(x, given, causal, return_weights=True, padding_mask=Tensor(padding))
    np.testing.assert_allclose(out.data, expected, rtol=1e-4, atol=1e-5)
    assert np.all(weights.data[np.broadcast_to(allowed[:, None] == 0, weights.shape)] == 0)


def test_packed_weights_change_speed_only():
    attention = MultiHeadAttention(8, 2)
    (x,) = tensors((1, 3, 8))
    expected = attention.infer(x.data)
    with packed_weights(attention):
        np.testing.assert_allclose(attention.infer(x.data), expected, rtol=1e-5, atol=1e-6)
    attention.q_proj.weight.data = attention.q_proj.weight.data * 2
    assert np.abs(attention.infer(x.data) - expected).max() > 1e-4
    assert "_packed_weight" not in vars(attention.q_proj)


@pytest.mark.parametrize("shape", [(0, 3, 8), (2, 0, 8)])
def test_nothing_in_nothing_out(shape):
    x = Tensor(np.zeros(shape), requires_grad=True)
    out = MultiHeadAttention(8, 2)(x, causal=True)
    out.sum().backward()
    assert out.shape == x.grad.shape == shape


def zeros(*shape):
    return Tensor(np.zeros(shape))


def attend(mask=None, q=(1, 2, 4, 8), k=(1, 2, 4, 8), v=None, how=fused_attention, **options):
    return how(zeros(*q), zeros(*k), zeros(*(v or k)), mask, **options)


def heads(x=(2, 5, 8), *rest, **options):
    return MultiHeadAttention(8, 2)(zeros(*x), *rest, **options)


FUTURE = np.triu(np.full((4, 4), np.inf), 1)
LEARNED = Tensor(np.ones((4, 4)), requires_grad=True)

MISUSE = {
    "heads of unequal width": (lambda: MultiHeadAttention(10, 3), "num_heads=3 equal heads.*divides embed"),
    "queries that share unevenly": (
        lambda: MultiHeadAttention(12, 6, 4),
        "num_kv_heads=4.*divides num_heads",
    ),
    "more keys than queries": (lambda: MultiHeadAttention(12, 2, 4), "num_heads=2 queries can't share"),
    "no keys": (lambda: MultiHeadAttention(12, 2, 0), "num_kv_heads must be a positive whole number, got 0"),
    "rotary of another width": (
        lambda: MultiHeadAttention(8, 2, rotary=RotaryEmbedding(8)),
        r"= 4 wide, but RotaryEmbedding has head_dim=8. Make it RotaryEmbedding\(4\)",
    ),
    "an input of another width": (lambda: heads((2, 5, 6)), "axis 2 is 6, not embed_dim=8"),
    "no batch": (lambda: heads((5, 8)), r"expected x of shape \(batch, time, 8\), got \(5, 8\)"),
    "an array": (lambda: MultiHeadAttention(8, 2)(np.zeros((1, 2, 8))), r"got ndarray; wrap it: Tensor\(x\)"),
    "query, key and value": (
        lambda: heads((2, 5, 8), zeros(2, 5, 5), zeros(2, 5, 8)),
        "causal is True or False, got Tensor.*once",
    ),
    "one x as the mask": (
        lambda: heads((2, 5, 8), zeros(2, 5, 8)),
        r"(?s)doesn't fit.*mask   \(2, 1, 5, 8\)",
    ),
    "padding as the mask": (
        lambda: heads((2, 5, 8), np.ones((2, 5))),
        r"(?s)doesn't fit.*goes to padding_mask",
    ),
    "a mask as the padding": (
        lambda: heads(padding_mask=np.tri(5)),
        r"= \(2, 5\), got \(5, 5\).*goes to mask",
    ),
    "ids as the padding": (
        lambda: heads(padding_mask=np.full((2, 5), 7)),
        "other values, such as 7.*ids != pad_id",
    ),
    "more rotary positions than there are": (
        lambda: MultiHeadAttention(8, 2, rotary=RotaryEmbedding(4, 3))(zeros(1, 4, 8)),
        "4 tokens.*max_seq_len=3",
    ),
    "a mask of another size": (
        lambda: attend(np.ones((5, 5))),
        r"(?s)mask   \(5, 5\).*scores \(1, 2, 4, 4\)",
    ),
    "a mask of two sizes more": (lambda: attend(np.ones((2, 2, 4, 4))), r"mask   \(2, 2, 4, 4\)"),
    "whole numbers to add": (lambda: attend(np.tri(4, dtype=int) * -9), "such as -9.*ids != pad_id"),
    "zero times infinity": (
        lambda: attend(np.tri(4) * np.nan),
        r"NaN or \+inf.*np.where\(keep, 0, -np.inf\)",
    ),
    "the future at +inf": (lambda: attend(FUTURE), r"NaN or \+inf; -inf blocks"),
    "a learned mask in the fused kernel": (lambda: attend(LEARNED), "no gradient for the mask.*detach"),
    "queries and keys of other widths": (lambda: attend(k=(1, 2, 4, 7)), r"Q \(8\) and K \(7\)"),
    "keys without values": (lambda: attend(v=(1, 2, 6, 8)), "4 positions and V has 6"),
    "three queries for two keys": (lambda: attend(q=(1, 3, 4, 8)), "3 heads of Q can't share 2 heads of K"),
    "a vector for a query": (lambda: attend(q=(8,)), r"needs at least the axes \(time, features\)"),
    "dropped weights": (
        lambda: F.scaled_dot_product_attention(*[zeros(1, 2, 4, 8)] * 3, dropout_p=0.1),
        "dropout_p must be 0",
    ),
    "shared keys by accident": (
        lambda: F.scaled_dot_product_attention(zeros(1, 4, 4, 8), *[zeros(1, 2, 4, 8)] * 2),
        "query has 4 heads and key 2.*enable_gqa=True",
    ),
    "axes that differ": (
        lambda: F.scaled_dot_product_attention(zeros(4, 4, 8), *[zeros(1, 4, 4, 8)] * 2),
        "the same 2 to 4 axes",
    ),
    "PyTorch's mask as ones": (
        lambda: F.scaled_dot_product_attention(*[zeros(1, 1, 4, 8)] * 3, np.ones((4, 4), int)),
        r"for 1 keeps, 0 blocks, pass mask.astype\(bool\)",
    ),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake()


@pytest.mark.parametrize("what", ["a mask of another size", "zero times infinity", "keys without values"])
def test_the_formula_explains_the_same(what, monkeypatch):
    mistake, words = MISUSE[what]
    monkeypatch.setitem(globals(), "attend", partial(attend, how=scaled_dot_product_attention))
    with pytest.raises(ValueError, match=words):
        mistake()
