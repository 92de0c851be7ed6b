"""Attention: the formula, the fused kernel, their gradients, and masks that keep where they are 1."""

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


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"equal heads"):
        MultiHeadAttention(10, 3)
    with pytest.raises(ValueError, match="embed_dim=8"):
        MultiHeadAttention(8, 2)(Tensor(np.zeros((1, 5, 6))))
    with pytest.raises(ValueError, match="expected x of shape"):
        MultiHeadAttention(8, 2)(Tensor(np.zeros((5, 8))))
    q, k, v = tensors((4, 8), (5, 7), (5, 7))
    with pytest.raises(ValueError, match=r"Q \(8\) and K \(7\)"):
        scaled_dot_product_attention(q, k, v)
    q, k, v = tensors((4, 8), (5, 8), (6, 8))
    with pytest.raises(ValueError, match="5 positions and V has 6"):
        scaled_dot_product_attention(q, k, v)


def test_masks_that_make_no_sense_are_refused():
    q, k, v = tensors((1, 1, 4, 8), (1, 1, 4, 8), (1, 1, 4, 8))
    for attend in (scaled_dot_product_attention, fused_attention):
        with pytest.raises(ValueError, match=r"1 \(keep\) and 0 \(block\)"):
            attend(q, k, v, np.triu(np.full((4, 4), -np.inf), 1))
        with pytest.raises(ValueError, match="doesn't fit the scores"):
            attend(q, k, v, np.ones((5, 5)))


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
