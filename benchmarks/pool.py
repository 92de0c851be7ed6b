"""Max and average pooling, forward and backward: windows side by side, overlapping ones, and whole planes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels

Images = tuple[int, ...]
Window = tuple[int, int, int]  # kernel, stride, padding

CASES: tuple[tuple[Images, Window], ...] = (
    ((1, 6, 28, 28), (2, 2, 0)),
    ((32, 64, 32, 32), (2, 2, 0)),
    ((16, 64, 112, 112), (2, 2, 0)),
    ((16, 64, 55, 55), (3, 3, 0)),
    ((16, 64, 112, 112), (3, 2, 1)),
    ((16, 64, 28, 28), (3, 1, 1)),
    ((64, 512, 7, 7), (7, 7, 0)),
)


def cases(threads: int) -> Iterator[Case]:
    """Each kind of window with each function."""
    for images, window in CASES:
        x = np.random.default_rng(0).standard_normal(images, dtype=np.float32)
        yield from _max_pool(x, window)
        yield from _avg_pool(x, window)


def _case(
    name: str,
    window: Window,
    reads: list[np.ndarray],
    images: Images,
    ours: Call,
    theirs: dict[str, Call],
    own: dict[str, Call] | None = None,
) -> Case:
    kernel, stride, padding = window
    shape = f"{' x '.join(map(str, images))}, kernel {kernel}, stride {stride}, padding {padding}"
    return Case(name, shape, ours, theirs, own or {}, read_bytes=float(sum(array.nbytes for array in reads)))


def _max_pool(x: np.ndarray, window: Window) -> Iterator[Case]:
    """Backward, both sides start from the places of the maxima that their forward calls returned."""
    y, places = kernels.max_pool2d_with_places(x, *window)
    dy, dx = np.random.default_rng(1).standard_normal(y.shape, dtype=np.float32), np.empty_like(x)
    forward: dict[str, Call] = {}
    backward: dict[str, Call] = {}
    if peers.torch:
        torch, aten = peers.torch, peers.torch.ops.aten
        x_tensor, dy_tensor, dx_tensor = torch.from_numpy(x), torch.from_numpy(dy), torch.empty(x.shape)
        y_tensor, indices = aten.max_pool2d_with_indices(x_tensor, *window)
        found = torch.empty_like(indices)
        forward["PyTorch"] = lambda: aten.max_pool2d_with_indices.out(
            x_tensor, *window, out=y_tensor, indices=found
        )
        backward["PyTorch"] = lambda: aten.max_pool2d_with_indices_backward.grad_input(
            dy_tensor, x_tensor, *window, 1, False, indices, grad_input=dx_tensor
        )
    yield _case(
        "max_pool2d", window, [x], x.shape, lambda: kernels.max_pool2d(x, *window, out=y), forward,
        {"with places": lambda: kernels.max_pool2d_with_places(x, *window, out=y)},
    )  # fmt: skip
    yield _case(
        "max_pool2d backward", window, [dy] if places is None else [dy, places], x.shape,
        lambda: kernels.max_pool2d_backward(dy, x, *window, places=places, out=dx), backward,
        {"without places": lambda: kernels.max_pool2d_backward(dy, x, *window, out=dx)},
    )  # fmt: skip


def _avg_pool(x: np.ndarray, window: Window) -> Iterator[Case]:
    y = kernels.avg_pool2d(x, *window)
    dy, dx = np.random.default_rng(1).standard_normal(y.shape, dtype=np.float32), np.empty_like(x)
    forward: dict[str, Call] = {}
    backward: dict[str, Call] = {}
    if peers.torch:
        torch, aten = peers.torch, peers.torch.ops.aten
        x_tensor, dy_tensor = torch.from_numpy(x), torch.from_numpy(dy)
        y_tensor, dx_tensor = torch.empty(y.shape), torch.empty(x.shape)
        forward["PyTorch"] = lambda: aten.avg_pool2d.out(x_tensor, *window, out=y_tensor)
        backward["PyTorch"] = lambda: aten.avg_pool2d_backward.grad_input(
            dy_tensor, x_tensor, *window, False, True, None, grad_input=dx_tensor
        )
    yield _case("avg_pool2d", window, [x], x.shape, lambda: kernels.avg_pool2d(x, *window, out=y), forward)
    yield _case(
        "avg_pool2d backward", window, [dy], x.shape,
        lambda: kernels.avg_pool2d_backward(dy, x.shape, *window, out=dx), backward,
    )  # fmt: skip
