"""Two thin layers are the best of their rank, and lose what their singular values say."""

import numpy as np
import pytest

from tests.pruning.models import RNG, cnn, gpt, mlp
from tinytorch import Tensor
from tinytorch.layers import Linear, Sequential
from tinytorch.pruning import factorize, low_rank, low_rank_approximate
from tinytorch.replacing import stored_bytes


def test_low_rank():
    matrix = RNG.standard_normal((10, 3)) @ RNG.standard_normal((3, 8))
    u, s, v = low_rank_approximate(matrix, 0.5)
    assert s.shape == (4,)
    np.testing.assert_allclose(u * s @ v, matrix, atol=1e-8)
    with pytest.raises(ValueError, match="rank_ratio"):
        low_rank_approximate(matrix, 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_factors_lose_the_singular_values_left_out(rank, bias):
    layer = Linear(20, 12, bias=bias)
    if bias:
        layer.bias.data[:] = RNG.standard_normal(12)
    found = factorize(layer, rank=rank)
    first, second = found.layers.layers
    assert first.weight.shape == (20, rank) and second.weight.shape == (rank, 12) and first.bias is None
    values = np.linalg.svd(layer.weight.data.astype(np.float64), compute_uv=False)
    error = np.linalg.norm(first.weight.data.astype(np.float64) @ second.weight.data - layer.weight.data)
    assert found.error == pytest.approx(np.sqrt((values[rank:] ** 2).sum()))
    assert error == pytest.approx(found.error, abs=1e-5)
    x = Tensor(RNG.standard_normal((4, 20)))
    if rank == 12:
        np.testing.assert_allclose(found.layers(x).data, layer(x).data, atol=1e-5)


@pytest.mark.parametrize("energy", [0.3, 0.9, 0.99, 1.0])
def test_rank_is_the_smallest_that_keeps_the_energy(energy):
    layer = Linear(20, 12)
    shares = np.cumsum(np.linalg.svd(layer.weight.data.astype(np.float64), compute_uv=False) ** 2)
    shares /= shares[-1]
    found = factorize(layer, energy=energy)
    assert found.energy >= energy - 1e-9 and found.energy == pytest.approx(shares[found.rank - 1])
    assert found.rank == 1 or shares[found.rank - 2] < energy


def test_only_layers_that_become_smaller_are_replaced():
    model = mlp()
    weight = RNG.standard_normal((40, 2)) @ RNG.standard_normal((2, 24))
    model.layers[0].weight.data = weight.astype(np.float32)
    smaller, factors = low_rank(model, 0.999)
    assert list(factors) == ["layers.0"] and factors["layers.0"].rank == 2
    assert isinstance(smaller.layers[0], Sequential) and type(model.layers[0]) is Linear
    assert stored_bytes(smaller) == stored_bytes(model) - 4 * (40 * 24 - 2 * (40 + 24))
    x = Tensor(RNG.standard_normal((4, 40)))
    np.testing.assert_allclose(smaller(x).data, model(x).data, rtol=1e-3, atol=1e-4)
    assert not smaller.layers[0].training  # as the model was
    assert low_rank(cnn(), 0.2)[1].keys() == {"layers.4"}  # convolutions are left alone


def test_a_thin_gpt_generates():
    model = gpt()
    thin, factors = low_rank(model, 0.5)
    assert len(factors) >= 10
    assert thin.generate([[1, 2, 3]], 5, temperature=0).shape == (1, 8)
