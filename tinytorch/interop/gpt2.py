"""GPT-2's published weights in our GPT: the same numbers under other names.

Source: A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019; names as in Hugging
Face's ``modeling_gpt2.py``, whose matrices are (in, out) like ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import numpy as np

from tinytorch.activations import GELU
from tinytorch.transformers import GPT

from .safetensors import load_file

__all__ = ["from_gpt2", "load_gpt2"]

HEAD_DIM = 64  # in all sizes of GPT-2
OURS = {
    "ln_1": "ln1", "attn.c_proj": "attention.out_proj", "ln_2": "ln2", "mlp.c_fc": "mlp.linear1",
    "mlp.c_proj": "mlp.linear2",
}  # fmt: skip
MASKS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # some files hold the causal mask, too


def load_gpt2(path: str | os.PathLike, num_heads: int | None = None) -> GPT:
    """Read a GPT from a ``model.safetensors`` of GPT-2; see `from_gpt2`."""
    return from_gpt2(load_file(path)[0], num_heads)


def from_gpt2(state: Mapping[str, np.ndarray], num_heads: int | None = None) -> GPT:
    """Return a GPT with these weights, which computes what GPT-2 does.

    Parameters
    ----------
    state : dict of arrays
        ``wte.weight``, ``wpe.weight``, ``h.0.ln_1.weight``, ..., ``ln_f.bias``; a prefix ``transformer.`` is
        taken off. Without ``lm_head.weight``, the head is ``wte`` transposed, as in all published ones.
    num_heads : int, optional
        Not in the state; heads are 64 wide unless given, as in all sizes of GPT-2.

    Raises
    ------
    ValueError
        The state is not GPT-2's, or its shapes don't belong together.
    """
    arrays = {name.removeprefix("transformer."): np.asarray(array) for name, array in state.items()}
    arrays = {name: array for name, array in arrays.items() if not MASKS.fullmatch(name)}
    if missing := [
        name for name in ("wte.weight", "wpe.weight", "h.0.attn.c_attn.weight") if name not in arrays
    ]:
        raise ValueError(
            f"from_gpt2: these weights have no {', '.join(missing)}, so they are not GPT-2's. "
            f"They begin with {', '.join(sorted(arrays)[:3]) or 'nothing'}."
        )
    vocab_size, embed_dim = arrays["wte.weight"].shape
    if num_heads is None and embed_dim % HEAD_DIM:
        raise ValueError(
            f"from_gpt2: embed_dim={embed_dim} is no multiple of {HEAD_DIM}, the width of GPT-2's heads; "
            "say how many there are: num_heads=..."
        )
    layers = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("h."))
    heads = num_heads or embed_dim // HEAD_DIM
    model = GPT(vocab_size, embed_dim, layers, heads, max_seq_len=len(arrays["wpe.weight"]))
    for block in model.blocks:
        block.mlp.gelu = GELU("tanh")
    try:
        model.load_state_dict(_renamed(arrays))
    except KeyError as error:
        raise ValueError(f"from_gpt2: {error.args[0]}") from None
    return model


def _renamed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state as `GPT.load_state_dict` takes it."""
    state = {"lm_head.weight": arrays.get("lm_head.weight", arrays["wte.weight"]).T}
    for name, array in arrays.items():
        part, _, kind = name.rpartition(".")
        norm = {"weight": "gamma", "bias": "beta"}.get(kind, kind)
        block = re.fullmatch(r"h\.(\d+)\.(.+)", part)
        if part in ("wte", "wpe"):
            state[f"{'token' if part == 'wte' else 'position'}_embedding.{kind}"] = array
        elif part == "ln_f":
            state[f"ln_f.{norm}"] = array
        elif block and block[2] == "attn.c_attn":  # queries, keys and values side by side
            for projection, third in zip("qkv", np.split(array, 3, axis=-1), strict=True):
                state[f"blocks.{block[1]}.attention.{projection}_proj.{kind}"] = third
        elif block and block[2] in OURS:
            kind = norm if block[2].startswith("ln") else kind
            state[f"blocks.{block[1]}.{OURS[block[2]]}.{kind}"] = array
        elif name != "lm_head.weight":
            state[name] = array  # for load_state_dict to complain about
    return state
