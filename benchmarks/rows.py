"""What works row by row or element by element, forward and backward: activations, softmax, the loss, norms.

Where PyTorch's function can write to a given array both sides do. Its gradients are the functions that its
autograd calls, with what the forward call saved; no tensor asks for a gradient, so nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels

ELEMENTS = (1_000, 100_000, 2_000_000)
ROWS = ((32, 10), (128, 128), (512, 768), (2048, 1024), (64, 32_000))
CLASSES = ((64, 10), (128, 1000), (128, 32_000))
NORMED_ROWS = ((1, 768), (32, 64), (512, 768), (2048, 1024), (512, 4096))
IMAGES = ((1, 16, 8, 8), (32, 64, 32, 32), (64, 128, 7, 7), (16, 64, 56, 56))


def cases(threads: int) -> Iterator[Case]:
    """Each function, small and large."""
    for n in ELEMENTS:
        yield from _relu(n)
        yield from _gelu(n, "none")
        yield from _gelu(n, "tanh")
    for shape in ROWS:
        yield from _softmax(shape)
        yield from _log_softmax(shape)
    for shape in CLASSES:
        yield from _cross_entropy(shape)
    for shape in NORMED_ROWS:
        yield from _layer_norm(shape)
        yield from _rms_norm(shape)
    for images in IMAGES:
        yield from _batch_norm(images, training=True)
        yield from _batch_norm(images, training=False)


def _random(shape: tuple[int, ...] | int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _case(name: str, reads: list[np.ndarray], ours: Call, theirs: Callable[..., Call], **own: Call) -> Case:
    """`theirs` makes PyTorch's call of torch.ops.aten, tensors of what is read, and one to write to."""
    calls: dict[str, Call] = {}
    if peers.torch:
        tensors = [peers.torch.from_numpy(array) for array in reads]
        calls["PyTorch"] = theirs(peers.torch.ops.aten, *tensors, peers.torch.empty_like(tensors[0]))
    shape = " x ".join(map(str, reads[0].shape))
    return Case(name, shape, ours, calls, own, read_bytes=float(sum(array.nbytes for array in reads)))


def _relu(n: int) -> Iterator[Case]:
    x, dy, y = _random(n), _random(n, seed=1), np.empty(n, np.float32)
    yield _case(
        "relu", [x], lambda: kernels.relu(x, out=y),
        lambda aten, x, y: lambda: aten.relu.out(x, out=y),
    )  # fmt: skip
    yield _case(
        "relu backward", [dy, x], lambda: kernels.relu_backward(dy, x, out=y),
        lambda aten, dy, x, dx: lambda: aten.threshold_backward.grad_input(dy, x, 0, grad_input=dx),
    )  # fmt: skip


def _gelu(n: int, form: str) -> Iterator[Case]:
    x, dy, y = _random(n), _random(n, seed=1), np.empty(n, np.float32)
    marked = "" if form == "none" else f", {form}"
    yield _case(
        f"gelu{marked}", [x], lambda: kernels.gelu(x, form, out=y),
        lambda aten, x, y: lambda: aten.gelu.out(x, approximate=form, out=y),
    )  # fmt: skip
    yield _case(
        f"gelu backward{marked}", [dy, x], lambda: kernels.gelu_backward(dy, x, form, out=y),
        lambda aten, dy, x, dx: lambda: aten.gelu_backward.grad_input(dy, x, approximate=form, grad_input=dx),
    )  # fmt: skip


def _softmax(shape: tuple[int, int]) -> Iterator[Case]:
    x, dy, out = _random(shape), _random(shape, seed=1), np.empty(shape, np.float32)
    y = kernels.softmax(x)
    yield _case(
        "softmax", [x], lambda: kernels.softmax(x, out=out),
        lambda aten, x, y: lambda: aten._softmax.out(x, -1, False, out=y),
    )  # fmt: skip
    yield _case(
        "softmax backward", [dy, y], lambda: kernels.softmax_backward(dy, y, out=out),
        lambda aten, dy, y, dx: lambda: aten._softmax_backward_data.out(dy, y, -1, y.dtype, grad_input=dx),
    )  # fmt: skip


def _log_softmax(shape: tuple[int, int]) -> Iterator[Case]:
    x, dy, out = _random(shape), _random(shape, seed=1), np.empty(shape, np.float32)
    y = kernels.log_softmax(x)
    yield _case(
        "log_softmax", [x], lambda: kernels.log_softmax(x, out=out),
        lambda aten, x, y: lambda: aten._log_softmax.out(x, -1, False, out=y),
    )  # fmt: skip
    yield _case(
        "log_softmax backward", [dy, y], lambda: kernels.log_softmax_backward(dy, y, out=out),
        lambda aten, dy, y, dx: lambda: aten._log_softmax_backward_data.out(dy, y, -1, y.dtype, out=dx),
    )  # fmt: skip


def _cross_entropy(shape: tuple[int, int]) -> Iterator[Case]:
    """Backward, PyTorch starts from the logarithms that its forward call saved, and ours from the logits."""
    x, out = _random(shape), np.empty(shape, np.float32)
    targets = np.random.default_rng(2).integers(0, shape[1], shape[0])

    def forward(aten: Any, x: Any, y: Any) -> Call:
        wanted = peers.torch.from_numpy(targets)
        return lambda: peers.torch.nn.functional.cross_entropy(x, wanted)

    def backward(aten: Any, x: Any, dx: Any) -> Call:
        wanted, logs = peers.torch.from_numpy(targets), peers.torch.log_softmax(x, -1)
        dy, rows, dlogs = (
            peers.torch.tensor(1.0),
            peers.torch.tensor(float(shape[0])),
            peers.torch.empty_like(x),
        )

        def call() -> object:
            aten.nll_loss_backward.grad_input(dy, logs, wanted, None, 1, -100, rows, grad_input=dlogs)
            return aten._log_softmax_backward_data.out(dlogs, logs, -1, x.dtype, out=dx)

        return call

    yield _case("cross_entropy", [x], lambda: kernels.cross_entropy(x, targets), forward)
    yield _case(
        "cross_entropy backward",
        [x],
        lambda: kernels.cross_entropy_backward(1.0, x, targets, out=out),
        backward,
    )


def _layer_norm(shape: tuple[int, int]) -> Iterator[Case]:
    """PyTorch's cannot write to a given array."""
    x, dy, out = _random(shape), _random(shape, seed=1), np.empty(shape, np.float32)
    weight, bias = _random(shape[1], seed=2), _random(shape[1], seed=3)
    sizes = [shape[1]]

    def forward(aten: Any, x: Any, y: Any) -> Call:
        w, b = peers.torch.from_numpy(weight), peers.torch.from_numpy(bias)
        return lambda: peers.torch.layer_norm(x, sizes, w, b, 1e-5)

    def backward(aten: Any, dy: Any, x: Any, dx: Any) -> Call:
        w, b = peers.torch.from_numpy(weight), peers.torch.from_numpy(bias)
        _, mean, inverse = aten.native_layer_norm(x, sizes, w, b, 1e-5)
        every = [True, True, True]
        return lambda: aten.native_layer_norm_backward(dy, x, sizes, mean, inverse, w, b, every)

    yield _case(
        "layer_norm", [x], lambda: kernels.layer_norm(x, weight, bias), forward,
        **{"with out=": lambda: kernels.layer_norm(x, weight, bias, out=out)},
    )  # fmt: skip
    yield _case(
        "layer_norm backward", [dy, x], lambda: kernels.layer_norm_backward(dy, x, weight), backward,
        **{"with out=": lambda: kernels.layer_norm_backward(dy, x, weight, out=out)},
    )  # fmt: skip


def _rms_norm(shape: tuple[int, int]) -> Iterator[Case]:
    """PyTorch's is made of several functions, so its gradient is autograd's."""
    x, dy, out = _random(shape), _random(shape, seed=1), np.empty(shape, np.float32)
    weight, sizes = _random(shape[1], seed=2), [shape[1]]

    def forward(aten: Any, x: Any, y: Any) -> Call:
        w = peers.torch.from_numpy(weight)
        return lambda: peers.torch.rms_norm(x, sizes, w, 1e-5)

    def backward(aten: Any, dy: Any, x: Any, dx: Any) -> Call:
        inputs = [x.clone().requires_grad_(), peers.torch.from_numpy(weight).clone().requires_grad_()]
        y = peers.torch.rms_norm(inputs[0], sizes, inputs[1], 1e-5)
        return lambda: peers.torch.autograd.grad(y, inputs, dy, retain_graph=True)

    yield _case(
        "rms_norm", [x], lambda: kernels.rms_norm(x, weight, 1e-5), forward,
        **{"with out=": lambda: kernels.rms_norm(x, weight, 1e-5, out=out)},
    )  # fmt: skip
    yield _case(
        "rms_norm backward", [dy, x], lambda: kernels.rms_norm_backward(dy, x, weight, 1e-5), backward,
        **{"with out=": lambda: kernels.rms_norm_backward(dy, x, weight, 1e-5, out=out)},
    )  # fmt: skip


def _batch_norm(shape: tuple[int, int, int, int], training: bool) -> Iterator[Case]:
    """Only forward can PyTorch's write to a given array."""
    channels = shape[1]
    x, dy, out = _random(shape), _random(shape, seed=1), np.empty(shape, np.float32)
    weight, bias, mean = (_random(channels, seed=seed) for seed in (2, 3, 4))
    variance = np.ones(channels, np.float32)
    mode = "training" if training else "eval"

    def vectors() -> list[Any]:
        return [peers.torch.from_numpy(vector.copy()) for vector in (weight, bias, mean, variance)]

    def forward(aten: Any, x: Any, y: Any) -> Call:
        given, saved = vectors(), [peers.torch.empty(channels if training else 0) for _ in range(2)]
        names = dict(zip(("out", "save_mean", "save_invstd"), (y, *saved), strict=True))
        return lambda: aten.native_batch_norm.out(x, *given, training, 0.1, 1e-5, **names)

    def backward(aten: Any, dy: Any, x: Any, dx: Any) -> Call:
        given, every = vectors(), [True, True, True]
        _, *saved = aten.native_batch_norm(x, *given, training, 0.1, 1e-5)
        w, _, *running = given
        return lambda: aten.native_batch_norm_backward(dy, x, w, *running, *saved, training, 1e-5, every)

    yield _case(
        f"batch_norm2d, {mode}", [x],
        lambda: kernels.batch_norm2d(x, weight, bias, mean, variance, training=training, out=out), forward,
    )  # fmt: skip
    yield _case(
        f"batch_norm2d backward, {mode}", [dy, x],
        lambda: kernels.batch_norm2d_backward(dy, x, weight, mean, variance, training=training), backward,
        **{"with out=": lambda: kernels.batch_norm2d_backward(
            dy, x, weight, mean, variance, training=training, out=out)},
    )  # fmt: skip
