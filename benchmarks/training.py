"""A whole training step through the framework: forward, loss, backward, Adam, gradients forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch.activations import ReLU
from tinytorch.layers import Flatten, Linear, Sequential
from tinytorch.losses import cross_entropy
from tinytorch.models import MLPClassifier, char_gpt
from tinytorch.module import Module
from tinytorch.optimizers import Adam
from tinytorch.spatial import Conv2d, MaxPool2d
from tinytorch.tensor import Tensor

RATE = 1e-3
BATCH, CLASSES = 32, 10
MLP = (64, 128, CLASSES)
# Channels in, side of the images, channels of the two stages.
CNNS = ((1, 8, (16, 32)), (3, 32, (32, 64)))
GPT_BATCH, LENGTH, VOCABULARY, WIDTH, LAYERS, HEADS = 8, 128, 64, 128, 4, 4


def cases(threads: int) -> Iterator[Case]:
    """Each model against the same one in PyTorch, which starts from the same weights."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, BATCH)
    yield _case(
        f"MLP {'-'.join(map(str, MLP))}, batch {BATCH}",
        MLPClassifier(MLP), _torch_mlp, _images(rng, MLP[0]), labels,
    )  # fmt: skip
    for channels, side, stages in CNNS:
        yield _case(
            f"CNN {'-'.join(map(str, stages))} on {channels}x{side}x{side}, batch {BATCH}",
            _cnn(channels, side, stages), lambda c=channels, s=side, k=stages: _torch_cnn(c, s, k),
            _images(rng, channels, side, side), labels,
        )  # fmt: skip
    ids = rng.integers(0, VOCABULARY, (GPT_BATCH, LENGTH + 1))
    yield _case(
        f"GPT d{WIDTH} L{LAYERS}, batch {GPT_BATCH} x {LENGTH}",
        char_gpt(VOCABULARY, WIDTH, LAYERS, HEADS, LENGTH), _torch_gpt,
        np.ascontiguousarray(ids[:, :-1]), ids[:, 1:].reshape(-1),
    )  # fmt: skip


def _images(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal((BATCH, *shape), dtype=np.float32)


def _case(shape: str, model: Module, make_peer: Callable, x: np.ndarray, labels: np.ndarray) -> Case:
    calls: dict[str, Call] = {}
    if peers.torch:
        for name, options in (("PyTorch", {}), ("PyTorch, fused Adam", {"fused": True})):
            peer = make_peer()
            copy_weights(model, peer)
            calls[name] = torch_step(peer, x, labels, **options)
    return Case("training", shape, step(model, x, labels), calls)


def step(model: Module, x: np.ndarray, labels: np.ndarray) -> Call:
    """A function that takes one step on this batch and returns the loss before it."""
    batch: Any = Tensor(x)
    optimizer = Adam(model.parameters(), lr=RATE)

    def call() -> float:
        logits = model(batch)
        loss = cross_entropy(logits.reshape(len(labels), -1), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return call


def torch_step(model: Any, x: np.ndarray, labels: np.ndarray, **options: Any) -> Call:
    """The same in PyTorch; `options` are Adam's."""
    torch = peers.torch
    batch, targets = torch.from_numpy(x), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, **options)

    def call() -> float:
        logits = model(batch)
        loss = torch.nn.functional.cross_entropy(logits.reshape(len(labels), -1), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return call


def copy_weights(model: Module, peer: Any) -> None:
    """Give PyTorch's model the weights of ours; their layers come in the same order."""
    torch = peers.torch
    weights = [module.weight.data for module in model.modules() if hasattr(module, "weight")]
    layers = [
        m for m in peer.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Embedding))
    ]
    with torch.no_grad():
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T if isinstance(layer, torch.nn.Linear) else weight))
            if getattr(layer, "bias", None) is not None:
                layer.bias.zero_()


# --- the models ------------------------------------------------------------------------------------------


def _cnn(channels: int, side: int, stages: tuple[int, ...]) -> Module:
    layers: list[Module] = []
    for before, after in zip((channels, *stages), stages, strict=False):
        layers += [Conv2d(before, after, kernel_size=3, padding=1), ReLU(), MaxPool2d(2)]
    return Sequential(*layers, Flatten(), Linear(_features(side, stages), CLASSES))


def _features(side: int, stages: tuple[int, ...]) -> int:
    return stages[-1] * (side // 2 ** len(stages)) ** 2


def _torch_mlp() -> Any:
    nn = peers.torch.nn
    first, hidden, last = MLP
    return nn.Sequential(nn.Flatten(), nn.Linear(first, hidden), nn.ReLU(), nn.Linear(hidden, last))


def _torch_cnn(channels: int, side: int, stages: tuple[int, ...]) -> Any:
    nn = peers.torch.nn
    layers = []
    for before, after in zip((channels, *stages), stages, strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(_features(side, stages), CLASSES))


def _torch_gpt() -> Any:
    torch: Any = peers.torch
    nn, functional = torch.nn, torch.nn.functional

    class Attention(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.k_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.v_proj, self.out_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            shape = (*x.shape[:2], HEADS, WIDTH // HEADS)
            q, k, v = (p(x).view(shape).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out_proj(y.transpose(1, 2).reshape(x.shape))

    class Block(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.ln1, self.attention, self.ln2 = nn.LayerNorm(WIDTH), Attention(), nn.LayerNorm(WIDTH)
            self.linear1, self.linear2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.ln1(x))
            return x + self.linear2(functional.gelu(self.linear1(self.ln2(x))))

    class GPT(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.token_embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.position_embedding = nn.Embedding(LENGTH, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.ln_f, self.lm_head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
            self.register_buffer("positions", torch.arange(LENGTH))

        def forward(self, ids: Any) -> Any:
            x = self.token_embedding(ids) + self.position_embedding(self.positions)
            for block in self.blocks:
                x = block(x)
            return self.lm_head(self.ln_f(x))

    return GPT()
