"""Attention under every mask, and whole language models: logits, the gradient of each weight, greedy text."""

import numpy as np

from . import _case
from ._case import Case

B, H, G, T, S, D, E = 2, 4, 2, 5, 6, 4, 3
rng = np.random.default_rng(7)


def keep(*shape):
    """Booleans in which each query sees at least the first key."""
    mask = rng.random(shape) < 0.6
    mask[..., 0] = True
    return mask


def added(*shape):
    """Floats to add, some of them -inf."""
    return np.where(keep(*shape), rng.standard_normal(shape), -np.inf).astype(np.float32)


UNMASKED = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3, "is_causal": True},
}
MASKS = {
    "keep_ts": keep(T, S),
    "keep_1ts": keep(1, T, S),
    "keep_b1ts": keep(B, 1, T, S),
    "keep_bhts": keep(B, H, T, S),
    "keep_padding": keep(B, 1, 1, S),
    "keep_head": keep(1, H, 1, S),
    "add_ts": added(T, S),
    "add_b1ts": added(B, 1, T, S),
    "add_bhts": added(B, H, T, S),
    "add_padding": np.where(keep(B, 1, 1, S), 0, -np.inf).astype(np.float32),
    "add_zeros_and_ones": keep(T, S).astype(np.float32),
    "add_nothing": np.zeros((T, S), np.float32),
}
QKV = ((B, H, T, D), (B, H, S, D), (B, H, S, E))
SHARED_KEYS = ((B, H, T, D), (B, G, S, D), (B, G, S, E))


def attention(shapes, mask=None, **options):
    """scaled_dot_product_attention of both libraries."""

    def ours(t, q, k, v):
        return t.nn.functional.scaled_dot_product_attention(q, k, v, mask, **options)

    def theirs(t, q, k, v):
        m = mask if mask is None else t.from_numpy(mask)
        m = m.to(q.dtype) if mask is not None and mask.dtype.kind == "f" else m
        return t.nn.functional.scaled_dot_product_attention(q, k, v, m, **options)

    return Case(ours, shapes, theirs)


CASES = {
    **{f"attention_{name}": attention(QKV, **options) for name, options in UNMASKED.items()},
    **{f"attention_{name}": attention(QKV, mask) for name, mask in MASKS.items()},
    "attention_3d": attention(((B, T, D), (B, S, D), (B, S, E))),
    "attention_3d_mask": attention(((B, T, D), (B, S, D), (B, S, E)), keep(B, T, S)),
    "attention_2d_causal": attention(((T, D), (S, D), (S, E)), is_causal=True),
    "gqa": attention(SHARED_KEYS, enable_gqa=True),
    "gqa_causal": attention(SHARED_KEYS, is_causal=True, enable_gqa=True),
    "gqa_keep": attention(SHARED_KEYS, MASKS["keep_b1ts"], enable_gqa=True),
    "gqa_add": attention(SHARED_KEYS, MASKS["add_bhts"], enable_gqa=True),
    "mqa_causal": attention(
        ((B, H, T, D), (B, 1, S, D), (B, 1, S, E)), is_causal=True, enable_gqa=True
    ),
}  # fmt: skip

# ---- whole models ----

VOCAB, WIDTH, LAYERS, HEADS, KV_HEADS, HIDDEN, CONTEXT, EPS = 13, 12, 2, 3, 1, 16, 20, 1e-5
SIZES = dict(vocab_size=VOCAB, embed_dim=WIDTH, num_layers=LAYERS, num_heads=HEADS, max_seq_len=CONTEXT)
LLAMA = dict(num_kv_heads=KV_HEADS, hidden_dim=HIDDEN)
IDS = np.random.default_rng(1).integers(0, VOCAB, (3, 9))
PROMPT = IDS[:2, :3]


def weights(shapes, dtype=np.float32):
    """Fixed random weights for named shapes, large enough for logits that differ clearly."""
    rng = np.random.default_rng(3)
    return {
        name: np.asarray(
            rng.standard_normal(shape) * (0.5 if len(shape) > 1 else 0.2) + name.endswith("gamma"), dtype
        )
        for name, shape in sorted(shapes.items())
    }


def gpt_in_pytorch(torch, w, ids):
    """Logits (B, T, V) of a GPT with our names and layouts (Linear's weights are (in, out))."""
    f = torch.nn.functional

    def linear(name, x):
        return f.linear(x, w[f"{name}.weight"].T, w.get(f"{name}.bias"))

    def norm(name, x):
        return f.layer_norm(x, x.shape[-1:], w[f"{name}.gamma"], w[f"{name}.beta"], EPS)

    def heads(x):
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    x = w["token_embedding.weight"][ids] + w["position_embedding.weight"][: ids.shape[1]]
    for i in range(LAYERS):
        block = f"blocks.{i}"
        y = norm(f"{block}.ln1", x)
        q, k, v = (heads(linear(f"{block}.attention.{n}_proj", y)) for n in "qkv")
        y = f.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + linear(f"{block}.attention.out_proj", y)
        y = f.gelu(linear(f"{block}.mlp.linear1", norm(f"{block}.ln2", x)))
        x = x + linear(f"{block}.mlp.linear2", y)
    return linear("lm_head", norm("ln_f", x))


def llama_in_pytorch(torch, w, ids):
    """Logits (B, T, V) of a Llama, its rotary positions written as in Hugging Face's modeling_llama.py."""
    f = torch.nn.functional

    def linear(name, x):
        return f.linear(x, w[f"{name}.weight"].T)

    def norm(name, x):
        return f.rms_norm(x, x.shape[-1:], w[f"{name}.gamma"], EPS)

    def heads(x):
        return x.unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)

    def rotated(x):
        steps, width = x.shape[-2:]
        frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.arange(steps, dtype=torch.float64)[:, None] * frequency
        angle = torch.cat((angle, angle), dim=-1)
        half = torch.cat((-x[..., width // 2 :], x[..., : width // 2]), dim=-1)
        return x * angle.cos().to(x.dtype) + half * angle.sin().to(x.dtype)

    x = w["token_embedding.weight"][ids]
    for i in range(LAYERS):
        block = f"blocks.{i}"
        y = norm(f"{block}.ln1", x)
        q, k, v = (heads(linear(f"{block}.attention.{n}_proj", y)) for n in "qkv")
        y = f.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True, enable_gqa=True)
        x = x + linear(f"{block}.attention.out_proj", y.transpose(1, 2).flatten(2))
        y = norm(f"{block}.ln2", x)
        gated = f.silu(linear(f"{block}.mlp.gate", y)) * linear(f"{block}.mlp.up", y)
        x = x + linear(f"{block}.mlp.down", gated)
    return linear("lm_head", norm("ln_f", x))


IN_PYTORCH = {"gpt": gpt_in_pytorch, "llama": llama_in_pytorch}


def shapes(name):
    """The names and shapes of a model's weights, as ours has them."""
    linear = {"q": (WIDTH, WIDTH), "k": (WIDTH, WIDTH), "v": (WIDTH, WIDTH), "out": (WIDTH, WIDTH)}
    norms, tables = ["gamma", "beta"], {"token_embedding.weight": (VOCAB, WIDTH)}
    mlp = {"linear1": (WIDTH, 4 * WIDTH), "linear2": (4 * WIDTH, WIDTH)}
    if name == "gpt":
        tables["position_embedding.weight"] = (CONTEXT, WIDTH)
    else:
        norms = ["gamma"]
        linear |= dict.fromkeys("kv", (WIDTH, WIDTH // HEADS * KV_HEADS))
        mlp = {"gate": (WIDTH, HIDDEN), "up": (WIDTH, HIDDEN), "down": (HIDDEN, WIDTH)}
    found = tables | {"lm_head.weight": (WIDTH, VOCAB)} | {f"ln_f.{norm}": (WIDTH,) for norm in norms}
    parts = {f"attention.{n}_proj": shape for n, shape in linear.items()}
    parts |= {f"mlp.{n}": shape for n, shape in mlp.items()}
    for block in (f"blocks.{i}" for i in range(LAYERS)):
        found |= {f"{block}.{part}.weight": shape for part, shape in parts.items()}
        found |= {f"{block}.{ln}.{norm}": (WIDTH,) for ln in ("ln1", "ln2") for norm in norms}
        if name == "gpt":
            found |= {f"{block}.{part}.bias": shape[1:] for part, shape in parts.items()}
    return found


def run_model(name, dtype=np.float32, steps=CONTEXT - PROMPT.shape[1]):
    """What PyTorch makes of it: logits, the loss of the next token, all gradients, and its greedy text."""
    import torch

    logits_of = IN_PYTORCH[name]
    w = {key: torch.from_numpy(array).requires_grad_() for key, array in weights(shapes(name), dtype).items()}
    ids = torch.from_numpy(IDS)
    logits = logits_of(torch, w, ids[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:])
    loss.backward()
    text = torch.from_numpy(PROMPT)
    with torch.no_grad():
        for _ in range(steps):
            text = torch.cat((text, logits_of(torch, w, text)[:, -1:].argmax(-1)), dim=1)
    grads = {key: value.grad.numpy() for key, value in w.items()}
    return {"logits": logits.detach().numpy(), "loss": loss.detach().numpy(), "text": text.numpy()}, grads


def make():
    stored = _case.make(CASES)
    for name in IN_PYTORCH:
        results, grads = run_model(name)
        stored |= {f"{name}/{key}": value for key, value in results.items()}
        stored[f"{name}/grads"] = np.concatenate([grads[key].ravel() for key in sorted(grads)])
    return stored
