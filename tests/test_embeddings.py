"""Embeddings: right rows, right gradients, and errors for ids that have no row."""

import numpy as np
import pytest

from tinytorch.autograd import gradcheck
from tinytorch.embeddings import (
    Embedding,
    EmbeddingLayer,
    PositionalEncoding,
    RotaryEmbedding,
    create_sinusoidal_embeddings,
)
from tinytorch.tensor import Tensor


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,)])
def test_embedding_takes_ids_of_any_shape(shape):
    embedding = Embedding(10, 4)
    ids = np.random.default_rng(0).integers(0, 10, shape)
    out = embedding(ids)
    assert out.shape == (*shape, 4)
    assert np.array_equal(out.data, embedding.weight.data[ids])


def test_embedding_is_xavier_uniform():
    limit = np.sqrt(6 / (200 + 50))
    weight = Embedding(200, 50).weight
    assert weight.shape == (200, 50) and weight.dtype == np.float32
    assert 0.95 * limit < np.abs(weight.data).max() <= limit


def test_embedding_takes_whole_floats_lists_and_tensors():
    embedding = Embedding(5, 2)
    for ids in ([1, 2], Tensor([1, 2]), np.array([1.0, 2.0])):
        assert np.array_equal(embedding(ids).data, embedding.weight.data[[1, 2]])


@pytest.mark.parametrize("ids", [[5], [-1], [0, 99], [[0, 1], [2, 7]]])
def test_ids_without_a_row_are_refused(ids):
    with pytest.raises(ValueError, match="Index out of range"):
        Embedding(5, 2)(ids)


def test_out_of_range_names_the_id_and_its_place():
    with pytest.raises(ValueError, match=r"id 7 at position \(1, 0\).*5 rows"):
        Embedding(5, 2)(Tensor([[0, 1], [7, 2]]))


@pytest.mark.parametrize("ids", [[1.7], [np.nan], [np.inf]])
def test_ids_must_be_whole_numbers(ids):
    with pytest.raises(ValueError, match="whole numbers"):
        Embedding(5, 2)(ids)


def test_a_repeated_id_gets_both_gradients():
    embedding = Embedding(4, 3)
    embedding([1, 1, 2]).backward(np.ones((3, 3)))
    assert np.array_equal(embedding.weight.grad, [[0] * 3, [2] * 3, [1] * 3, [0] * 3])


def test_embedding_gradient():
    embedding = Embedding(4, 3)
    embedding.weight.data = embedding.weight.data.astype(np.float64)
    gradcheck(lambda weight: embedding([[0, 3], [3, 1]]), [embedding.weight])


def test_positional_encoding_adds_the_first_rows():
    encoding = PositionalEncoding(6, 4)
    x = Tensor(np.ones((2, 3, 4)))
    assert np.array_equal(encoding(x).data, 1 + np.tile(encoding.position_embeddings.data[:3], (2, 1, 1)))
    encoding(x).sum().backward()
    assert np.array_equal(encoding.position_embeddings.grad, np.repeat([2, 2, 2, 0, 0, 0], 4).reshape(6, 4))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 4), "expected x of shape"), ((1, 7, 4), "max_seq_len=6"), ((1, 3, 5), "embed_dim=4")],
)
def test_positional_encoding_says_what_does_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        PositionalEncoding(6, 4)(Tensor(np.zeros(shape)))


@pytest.mark.parametrize("width", [1, 5, 8])
def test_sinusoids_follow_their_formula(width):
    table = create_sinusoidal_embeddings(20, width)
    assert table.shape == (20, width) and not table.requires_grad
    for t in (0, 1, 19):
        for column in range(width):
            angle = t / 10000 ** (column // 2 * 2 / width)
            expected = np.cos(angle) if column % 2 else np.sin(angle)
            assert table.data[t, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["learned", "sinusoidal", None])
def test_embedding_layer_shapes(kind):
    layer = EmbeddingLayer(10, 4, max_seq_len=6, pos_encoding=kind)
    assert layer([[1, 2, 3], [4, 5, 6]]).shape == (2, 3, 4)
    assert layer([1, 2, 3]).shape == (3, 4)
    assert np.array_equal(layer([1, 2, 3]).data, layer([[1, 2, 3]]).data[0])
    assert len(layer.parameters()) == (2 if kind == "learned" else 1)


def test_embedding_layer_scales_tokens_but_not_positions():
    layer = EmbeddingLayer(10, 4, pos_encoding="sinusoidal", scale_embeddings=True)
    expected = layer.token_embedding([3, 3]).data * 2 + layer.pos_encoding.data[:2]
    np.testing.assert_allclose(layer([3, 3]).data, expected, rtol=1e-6)


def test_embedding_layer_refuses_what_it_cannot_place():
    with pytest.raises(ValueError, match="max_seq_len=2"):
        EmbeddingLayer(10, 4, max_seq_len=2)([1, 2, 3])
    with pytest.raises(ValueError, match="pos_encoding"):
        EmbeddingLayer(10, 4, pos_encoding="rotary")
    with pytest.raises(ValueError, match=r"\(T,\) or \(B, T\)"):
        EmbeddingLayer(10, 4)(np.zeros((1, 2, 3), dtype=int))


@pytest.mark.parametrize("sizes", [(0, 4), (4, -1), (2.5, 4)])
def test_sizes_must_be_positive(sizes):
    for make in (Embedding, PositionalEncoding, create_sinusoidal_embeddings):
        with pytest.raises(ValueError, match="positive"):
            make(*sizes)


@pytest.mark.parametrize("kind", ["learned", "sinusoidal", None])
def test_an_offset_continues_the_sequence(kind):
    layer = EmbeddingLayer(10, 5, max_seq_len=6, pos_encoding=kind)
    whole = layer([[1, 2, 3, 4]]).data
    assert np.array_equal(layer([[1, 2]]).data, whole[:, :2])
    assert np.array_equal(layer([[3, 4]], offset=2).data, whole[:, 2:])
    encoding = PositionalEncoding(6, 5)
    zeros = Tensor(np.zeros((1, 2, 5)))
    assert np.array_equal(encoding(zeros, offset=4).data[0], encoding.position_embeddings.data[4:])


def by_complex_numbers(x, positions, base, interleaved):
    """The definition: a pair of columns is a complex number, and is multiplied by exp(i * angle)."""
    width = x.shape[-1]
    angle = positions[..., None] * base ** (-np.arange(0, width, 2) / width)
    pairs = np.stack([x[..., 0::2], x[..., 1::2]] if interleaved else np.split(x, 2, axis=-1))
    turned = (pairs[0] + 1j * pairs[1]) * np.exp(1j * angle)
    parts = [turned.real, turned.imag]
    return np.stack(parts, -1).reshape(x.shape) if interleaved else np.concatenate(parts, -1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shape", [(5, 2), (2, 7, 4), (2, 3, 5, 8), (1, 1, 1, 6), (0, 3, 4)])
def test_rotary_follows_its_formula(interleaved, shape):
    rope = RotaryEmbedding(shape[-1], max_seq_len=40, base=500.0, interleaved=interleaved)
    x = np.random.default_rng(0).standard_normal(shape)
    for offset in (0, 30):
        expected = by_complex_numbers(x, offset + np.arange(shape[-2]), 500.0, interleaved)
        np.testing.assert_allclose(rope(Tensor(x, dtype=np.float64), offset).data, expected, atol=1e-14)
        single = rope(Tensor(x), offset)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single.data, expected, atol=2e-6)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_gradient(interleaved):
    rope = RotaryEmbedding(6, max_seq_len=9, interleaved=interleaved)
    rng = np.random.default_rng(1)
    x = Tensor(rng.standard_normal((2, 3, 4, 6)), dtype=np.float64, requires_grad=True)
    gradcheck(lambda x: rope(x, offset=5), [x])
    gradcheck(lambda x: rope(x, offset=[0, 4]), [x])


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_products_depend_on_the_distance_alone(interleaved):
    rope = RotaryEmbedding(8, max_seq_len=100, interleaved=interleaved)
    rng = np.random.default_rng(2)
    query, key = (Tensor(rng.standard_normal((1, 8)), dtype=np.float64) for _ in range(2))
    scores = [float((rope(query, t + 7) @ rope(key, t).T).data.item()) for t in (0, 1, 50, 92)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-12)
    assert np.linalg.norm(rope(query, 33).data) == pytest.approx(np.linalg.norm(query.data))


def test_rotary_offsets_may_differ_by_sequence():
    rope = RotaryEmbedding(4, max_seq_len=20)
    x = Tensor(np.random.default_rng(3).standard_normal((3, 2, 5, 4)))
    together = rope(x, offset=np.array([0, 9, 15])).data
    for row, offset in enumerate([0, 9, 15]):
        assert np.array_equal(together[row], rope(x[row], offset).data)


def test_rotary_has_nothing_to_learn():
    rope = RotaryEmbedding(4, max_seq_len=20)
    assert rope.parameters() == []
    assert "head_dim=4" in repr(rope)


def in_pytorch(torch, x, interleaved):
    """Llama's and GPT-J's code: x cos + rotate(x) sin."""
    steps, width = x.shape[-2:]
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    angle = torch.arange(steps, dtype=x.dtype)[:, None] * frequency
    if interleaved:
        angle = torch.repeat_interleave(angle, 2, dim=-1)
        rotated = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    else:
        angle = torch.cat((angle, angle), dim=-1)
        rotated = torch.cat((-x[..., width // 2 :], x[..., : width // 2]), dim=-1)
    return x * angle.cos() + rotated * angle.sin()


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shape", [(3, 2), (2, 4, 11, 16), (1, 64, 128)])
def test_rotary_agrees_with_pytorch(interleaved, shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    values, gradient = rng.standard_normal((2, *shape))
    ours = Tensor(values, dtype=np.float64, requires_grad=True)
    theirs = torch.tensor(values, requires_grad=True)
    y = RotaryEmbedding(shape[-1], max_seq_len=128, interleaved=interleaved)(ours)
    expected = in_pytorch(torch, theirs, interleaved)
    y.backward(gradient)
    expected.backward(torch.tensor(gradient))
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-11, atol=1e-12)


def zeros(*shape):
    return Tensor(np.zeros(shape))


MISUSE = {
    "an odd head": (lambda: RotaryEmbedding(7), "head_dim=7 is odd.*num_heads"),
    "no head": (lambda: RotaryEmbedding(0), "head_dim must be a positive whole number"),
    "no positions": (lambda: RotaryEmbedding(4, 0), "max_seq_len must be a positive whole number"),
    "a negative base": (lambda: RotaryEmbedding(4, base=-1.0), "base must be a positive number"),
    "heads not split": (lambda: RotaryEmbedding(4)(zeros(2, 3, 8)), r"head_dim=4\), got \(2, 3, 8\).*Split"),
    "no time axis": (lambda: RotaryEmbedding(4)(zeros(4)), "expected x of shape"),
    "an array": (lambda: RotaryEmbedding(4)(np.zeros((2, 4))), r"got ndarray; wrap it: Tensor\(x\)"),
    "too many positions": (lambda: RotaryEmbedding(4, 6)(zeros(7, 4)), "7 tokens.*max_seq_len=6"),
    "a position beyond the table": (lambda: RotaryEmbedding(4, 6)(zeros(1, 4), 6), "position 6.*0 to 5"),
    "one row beyond the table": (lambda: RotaryEmbedding(4, 6)(zeros(2, 1, 4), [0, 6]), "max_seq_len=6"),
    "a negative offset": (lambda: RotaryEmbedding(4, 6)(zeros(1, 4), -1), "offset must be a whole number"),
    "half an offset": (lambda: RotaryEmbedding(4)(zeros(1, 4), 0.5), "offset must be whole numbers"),
    "offsets of another batch": (lambda: RotaryEmbedding(4)(zeros(3, 1, 4), [0, 1]), r"\(2,\) does not fit"),
    "offset beyond the learned": (lambda: PositionalEncoding(6, 4)(zeros(1, 2, 4), 5), "max_seq_len=6"),
    "offset beyond the layer": (lambda: EmbeddingLayer(9, 4, 6)([1, 2], offset=5), "max_seq_len=6"),
    "a negative position": (lambda: EmbeddingLayer(9, 4, 6)([1, 2], offset=-2), "from 0 on, got -2"),
    "rotary as an encoding": (lambda: EmbeddingLayer(9, 4, 6, "rotary"), "see RotaryEmbedding"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake()
