"""GPT-2's weights in our GPT: PyTorch's logits and text from a small state of the same form."""

import re

import numpy as np
import pytest

from tinytorch.interop.gpt2 import from_gpt2, load_gpt2
from tinytorch.interop.safetensors import save_file

VOCAB, WIDTH, LAYERS, HEADS, CONTEXT = 17, 8, 2, 2, 12
IDS = np.random.default_rng(0).integers(0, VOCAB, (2, 7))


def state():
    """Random weights under GPT-2's names."""
    shapes = {"wte.weight": (VOCAB, WIDTH), "wpe.weight": (CONTEXT, WIDTH)}
    parts = {"attn.c_attn": (WIDTH, 3 * WIDTH), "attn.c_proj": (WIDTH, WIDTH)}
    parts |= {"mlp.c_fc": (WIDTH, 4 * WIDTH), "mlp.c_proj": (4 * WIDTH, WIDTH)}
    norms = [f"h.{i}.ln_{j}" for i in range(LAYERS) for j in (1, 2)]
    for name in ["ln_f", *norms]:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    for i in range(LAYERS):
        for part, shape in parts.items():
            shapes |= {f"h.{i}.{part}.weight": shape, f"h.{i}.{part}.bias": shape[1:]}
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def in_pytorch(torch, w, ids):
    """Logits of GPT-2, as Hugging Face's modeling_gpt2.py computes them."""
    f = torch.nn.functional

    def conv1d(name, x):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(name, x):
        return f.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    x = w["wte.weight"][ids] + w["wpe.weight"][: ids.shape[1]]
    for i in range(LAYERS):
        qkv = conv1d(f"h.{i}.attn.c_attn", norm(f"h.{i}.ln_1", x)).chunk(3, dim=-1)
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in qkv)
        y = f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + conv1d(f"h.{i}.attn.c_proj", y)
        y = f.gelu(conv1d(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x)), approximate="tanh")
        x = x + conv1d(f"h.{i}.mlp.c_proj", y)
    return norm("ln_f", x) @ w["wte.weight"].T


def test_computes_what_pytorch_does(tmp_path):
    torch = pytest.importorskip("torch")
    save_file(state(), tmp_path / "model.safetensors")
    model = load_gpt2(tmp_path / "model.safetensors", num_heads=HEADS)
    w = {name: torch.from_numpy(array) for name, array in state().items()}
    expected = in_pytorch(torch, w, torch.from_numpy(IDS)).numpy()
    np.testing.assert_allclose(model(IDS).data, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    text = torch.from_numpy(IDS[:, :4])
    for _ in range(CONTEXT - 4):
        text = torch.cat((text, in_pytorch(torch, w, text)[:, -1:].argmax(-1)), dim=1)
    assert np.array_equal(model.generate(IDS[:, :4], CONTEXT - 4, temperature=0).data, text.numpy())


def test_sizes_come_from_the_shapes():
    model = from_gpt2(state(), num_heads=HEADS)
    assert (model.vocab_size, model.embed_dim, model.num_layers) == (VOCAB, WIDTH, LAYERS)
    assert (model.num_heads, model.max_seq_len) == (HEADS, CONTEXT)
    assert all(block.mlp.gelu.approximate == "tanh" for block in model.blocks)
    assert np.array_equal(model.lm_head.weight.data, state()["wte.weight"].T)
    assert np.array_equal(model.blocks[1].attention.k_proj.bias.data, state()["h.1.attn.c_attn.bias"][8:16])


def test_prefixes_masks_and_a_head_of_its_own():
    stored = {f"transformer.{name}": array for name, array in state().items()}
    stored["transformer.h.0.attn.bias"] = np.tri(CONTEXT)[None, None]
    stored["lm_head.weight"] = 2 * state()["wte.weight"]
    model = from_gpt2(stored, num_heads=HEADS)
    np.testing.assert_allclose(model(IDS).data, 2 * from_gpt2(state(), HEADS)(IDS).data, rtol=1e-5)


def without(name):
    return {key: array for key, array in state().items() if key != name}


MISUSE = {
    "another model's weights": (lambda: from_gpt2({"conv.weight": np.ones(3)}), "no wte.weight.*conv.weight"),
    "nothing": (lambda: from_gpt2({}), "begin with nothing"),
    "heads not said": (lambda: from_gpt2(state()), "no multiple of 64.*num_heads="),
    "heads that don't divide": (lambda: from_gpt2(state(), 3), "num_heads=3"),
    "a weight too few": (lambda: from_gpt2(without("h.1.ln_2.bias"), 2), re.escape("blocks.1.ln2.beta")),
    "a weight too many": (lambda: from_gpt2(state() | {"h.0.x.weight": np.ones(2)}, 2), "unknown:.*h.0.x"),
    "another shape": (lambda: from_gpt2(state() | {"ln_f.bias": np.ones(7)}, 2), "(?s)ln_f.beta.*differ"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises(ValueError, match=words):
        mistake()
