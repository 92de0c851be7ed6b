"""2-D convolution: forward with weights packed once, and its three gradients together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from benchmarks.layers import COMMON, Layer
from tinytorch import kernels

LAYERS: tuple[Layer, ...] = (
    *COMMON,
    (1, 128, 28, 128, 3, {"stride": 2}),
    (8, 32, 32, 32, 3, {"dilation": 2}),
    (1, 256, 14, 256, 3, {"groups": 8}),
    (8, 32, 32, 32, 3, {"groups": 32}),
    (1, 256, 14, 256, 3, {"groups": 256}),
)


def cases(threads: int) -> Iterator[Case]:
    """Each layer forward, then backward, with buffers of its own."""
    for n, c, h, k, kernel, different in LAYERS:
        options = {"stride": 1, "padding": kernel // 2, "dilation": 1, "groups": 1, **different}
        options["padding"] *= options["dilation"]
        x, w = _normal(n, c, h, h), _normal(k, c // options["groups"], kernel, kernel)
        changes = "".join(f", {name} {value}" for name, value in different.items())
        shape = f"{n}x{c}x{h}x{h}, {k} of {kernel}x{kernel}{changes}"
        yield _forward(shape, x, w, options, threads)
        yield _backward(shape, x, w, options)


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _forward(shape: str, x: np.ndarray, w: np.ndarray, options: dict[str, int], threads: int) -> Case:
    bias, packed = _normal(w.shape[0]), kernels.pack(w, groups=options["groups"])
    same: dict[str, Any] = dict(options)
    calls: dict[str, Call] = {}
    if peers.torch:
        torch = peers.torch
        tensors = [torch.from_numpy(array) for array in (x, w, bias)]
        calls["PyTorch"] = lambda: torch.nn.functional.conv2d(*tensors, **options)
    if peers.onnxruntime:
        calls["ONNX Runtime"] = peers.onnx_call(
            "Conv",
            {"x": x, "w": w, "bias": bias},
            threads=threads,
            weights=["w", "bias"],
            kernel_shape=w.shape[2:],
            strides=[options["stride"]] * 2,
            pads=[options["padding"]] * 4,
            dilations=[options["dilation"]] * 2,
            group=options["groups"],
        )
    y = kernels.conv2d(x, packed, bias, **same)
    return Case(
        "conv2d",
        shape,
        lambda: kernels.conv2d(x, packed, bias, **same),
        calls,
        operations=2.0 * y.size * w[0].size,
        read_bytes=x.nbytes + w.nbytes,
    )


def _backward(shape: str, x: np.ndarray, w: np.ndarray, options: dict[str, int]) -> Case:
    same: dict[str, Any] = dict(options)
    dy = _normal(*kernels.conv2d(x, w, **same).shape)
    calls: dict[str, Call] = {}
    if peers.torch:
        torch = peers.torch
        tensors = [torch.from_numpy(array) for array in (dy, x, w)]
        pairs = [(options[name], options[name]) for name in ("stride", "padding", "dilation")]
        rest = (*pairs, False, (0, 0), options["groups"], (True, True, True))
        calls["PyTorch"] = lambda: torch.ops.aten.convolution_backward(*tensors, [w.shape[0]], *rest)
    return Case(
        "conv2d_backward",
        shape,
        lambda: kernels.conv2d_backward(dy, x, w, **same),
        calls,
        operations=4.0 * dy.size * w[0].size,
        read_bytes=dy.nbytes + x.nbytes + w.nbytes,
    )
