"""Embeddings: right rows, right gradients, and errors for ids that have no row."""

import numpy as np
import pytest

from tinytorch.autograd import gradcheck
from tinytorch.embeddings import Embedding, EmbeddingLayer, PositionalEncoding, create_sinusoidal_embeddings
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
