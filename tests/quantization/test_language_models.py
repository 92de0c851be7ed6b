"""A GPT whose Linear layers compute on integers: close, the same with the cache, and smaller."""

import numpy as np
import pytest

from tinytorch import Tensor, caching, kernels, transformers
from tinytorch.layers import Linear
from tinytorch.models import Llama, char_gpt
from tinytorch.module import Module
from tinytorch.quantization import QuantizedLinear, quantize
from tinytorch.replacing import stored_bytes

WAYS = {
    "dynamic": {},
    "static": {"activations": "static"},
    "least squares": {"activations": "static", "observer": "mse"},
    "int4": {"weights": "int4"},
    "int4, groups of 64": {"weights": "int4", "group_size": 64},
}
IDS = np.random.default_rng(0).integers(0, 40, (3, 24))


def gpt():
    np.random.seed(0)
    return char_gpt(40, embed_dim=64, num_layers=2, num_heads=4, max_seq_len=48)


def quantized(model, way):
    options = WAYS[way]
    return quantize(model, IDS if options.get("activations") == "static" else None, **options)


def llama():
    np.random.seed(0)
    return Llama(40, 64, 2, 4, num_kv_heads=2, max_seq_len=48)


@pytest.mark.kernel
@pytest.mark.parametrize("make", [gpt, llama])
@pytest.mark.parametrize("way", WAYS)
def test_it_says_nearly_what_the_float_model_says(way, make):
    model = make()
    expected = model.infer(IDS)
    small = quantized(model, way)
    error = np.abs(small.infer(IDS) - expected).max() / np.abs(expected).max()
    assert 0 < error < (0.4 if "int4" in way else 0.06)
    np.testing.assert_allclose(small(IDS).data, small.infer(IDS), atol=1e-5)
    assert all(type(layer) is not Linear for layer in small.modules())
    np.testing.assert_array_equal(model.infer(IDS), expected)  # the model itself is left alone


@pytest.mark.kernel
@pytest.mark.parametrize("make", [gpt, llama])
@pytest.mark.parametrize("way", WAYS)
def test_the_cache_changes_nothing_but_rounding(way, make):
    small = quantized(make(), way)
    cache = kernels.KVCache(3, 48, 2, 4 if make is gpt else 2, 16)
    steps = [small.infer(IDS[:, t : t + 1], cache) for t in range(24)]
    assert_nearly_equal(np.concatenate(steps, axis=1), small.infer(IDS))
    written = small.generate(IDS[:2, :5], 20, 0.0).data
    again = small.infer(written[:, :-1])[:, 4:].argmax(axis=-1)
    assert np.mean(again == written[:, 5:]) > 0.9


@pytest.mark.kernel
def test_one_call_for_all_blocks_writes_the_text_of_the_steps(monkeypatch):
    small = quantize(gpt())
    assert transformers.as_decoder_blocks(small.blocks) is not None
    written = small.generate(IDS[:2, :5], 40, 0.0).data
    cache, again = small.new_cache(1), small.new_cache(1)
    logits = [small.infer(IDS[:1, t : t + 1], cache) for t in range(24)]
    monkeypatch.setattr(transformers, "as_decoder_blocks", lambda blocks: None)
    np.testing.assert_array_equal(small.generate(IDS[:2, :5], 40, 0.0).data, written)
    np.testing.assert_array_equal([small.infer(IDS[:1, t : t + 1], again) for t in range(24)], logits)


def calibrated(layer):
    layer.calibrate([np.random.default_rng(0).standard_normal((8, layer.in_features)).astype(np.float32)])


def doubled(layer):
    plain = layer.infer
    layer.infer = lambda x: 2 * plain(x)


def hooked(layer):
    layer.register_forward_hook(lambda module, inputs, output: output * 2)


@pytest.mark.parametrize("change", [calibrated, doubled, hooked])
def test_a_layer_that_computes_otherwise_is_honoured(change):
    small = quantize(gpt())
    change(small.blocks[1].mlp.linear1)
    assert transformers.as_decoder_blocks(small.blocks) is None
    cache = small.new_cache(3)
    steps = [small.infer(IDS[:, t : t + 1], cache) for t in range(24)]
    assert_nearly_equal(np.concatenate(steps, axis=1), small.infer(IDS))


def assert_nearly_equal(y, expected):
    """Sums in another order move a float32 by its last bit, which may tip an int8 over to its neighbour."""
    error = np.abs(y - expected)
    assert np.median(error) < 1e-5 and error.max() < 0.05 * np.abs(expected).max()


def test_the_course_s_cache_works_on_it():
    small = quantize(gpt())
    expected = small(IDS[:1]).data
    caching.enable_kv_cache(small)
    parts = [small(IDS[:1, :10]).data] + [small(IDS[:1, t : t + 1]).data for t in range(10, 24)]
    assert_nearly_equal(np.concatenate(parts, axis=1), expected)


def test_a_token_gets_what_it_gets_alone():
    """Each row has its own scale, so that what else is in the batch does not matter."""
    small = quantize(gpt())
    np.testing.assert_array_equal(small.infer(IDS)[1:2], small.infer(IDS[1:2]))


def test_bytes():
    model = gpt()
    linears = sum(p.data.nbytes for name, p in model.named_parameters() if name.endswith("weight"))
    tables = model.token_embedding.weight.data.nbytes + model.position_embedding.weight.data.nbytes
    parameters = sum(p.data.nbytes for p in model.parameters())
    assert stored_bytes(model) == parameters
    for way, share in (("dynamic", 0.30), ("int4", 0.17)):
        small = stored_bytes(quantized(model, way))
        assert small < parameters - (1 - share) * (linears - tables)


def test_tied_and_listed_layers_are_all_found():
    class Odd(Module):
        def __init__(self):
            self.first = Linear(4, 4)
            self.parts = {"a": [self.first, Linear(4, 4)]}

        def forward(self, x):
            return self.parts["a"][1](self.parts["a"][0](self.first(x)))

    odd = Odd()
    small = quantize(odd)
    assert small.first is small.parts["a"][0] and isinstance(small.parts["a"][1], QuantizedLinear)
    assert isinstance(odd.first, Linear)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_allclose(small(Tensor(x)).data, odd(Tensor(x)).data, atol=0.1)
