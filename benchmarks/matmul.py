"""Matrix products: squares, few rows, thin and batched ones, transposes, and weights packed once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks import peers
from benchmarks.case import Call, Case
from tinytorch import kernels

SQUARES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
ROWS = (1, 4, 8, 32)
WEIGHTS = ((1024, 1024), (768, 3072))
TALL = (4096, 64, 64)
BATCH, BATCHED = 64, 32
TRANSPOSED = (64, 512)
PACKED = (512, 768, 1024, 1536, 2048)


def cases(threads: int) -> Iterator[Case]:
    """Each product with buffers of its own."""
    for size in SQUARES:
        yield _product(size, size, size, threads)
    for inner, columns in WEIGHTS:
        for rows in ROWS:
            yield _product(rows, columns, inner, threads)
    yield _product(*TALL, threads)
    yield _batched(BATCH, BATCHED, threads)
    for size in TRANSPOSED:
        for transpose_a, transpose_b in ((True, False), (False, True), (True, True)):
            yield _product(size, size, size, threads, transpose_a, transpose_b)
    for size in PACKED:
        yield _packed(size, threads)


def _product(
    m: int, n: int, k: int, threads: int, transpose_a: bool = False, transpose_b: bool = False
) -> Case:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if transpose_a else (m, k), dtype=np.float32)
    b = rng.standard_normal((n, k) if transpose_b else (k, n), dtype=np.float32)
    c = np.empty((m, n), np.float32)
    marks = ("T" if transpose_a else "", "T" if transpose_b else "")
    return Case(
        "matmul",
        f"{m} x {k}{marks[0]} x {n}{marks[1]}",
        lambda: kernels.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, out=c),
        _peers(a, b, transpose_a, transpose_b, threads),
        operations=2.0 * m * n * k,
        read_bytes=a.nbytes + b.nbytes,
    )


def _peers(
    a: np.ndarray, b: np.ndarray, transpose_a: bool, transpose_b: bool, threads: int
) -> dict[str, Call]:
    a_view, b_view = a.T if transpose_a else a, b.T if transpose_b else b
    shape = (a_view.shape[0], b_view.shape[1])
    c = np.empty(shape, np.float32)
    calls: dict[str, Call] = {"NumPy": lambda: np.matmul(a_view, b_view, out=c)}
    if peers.torch:
        torch = peers.torch
        a_tensor, b_tensor = torch.from_numpy(a), torch.from_numpy(b)
        a_tensor = a_tensor.t() if transpose_a else a_tensor
        b_tensor = b_tensor.t() if transpose_b else b_tensor
        c_tensor = torch.empty(shape)
        calls["PyTorch"] = lambda: torch.mm(a_tensor, b_tensor, out=c_tensor)
    if peers.onnxruntime:
        inputs = {"a": a, "b": b}
        calls["ONNX Runtime"] = (
            peers.onnx_call("Gemm", inputs, threads=threads, transA=int(transpose_a), transB=int(transpose_b))
            if transpose_a or transpose_b
            else peers.onnx_call("MatMul", inputs, threads=threads)
        )
    if peers.scipy_blas:
        # BLAS counts columns first, so it is asked for the transpose of everything.
        sgemm, by_columns = peers.scipy_blas.sgemm, np.empty(shape, np.float32).T
        calls["SciPy"] = lambda: sgemm(
            1.0, b.T, a.T, c=by_columns, trans_a=transpose_b, trans_b=transpose_a, overwrite_c=1
        )
    return calls


def _batched(batch: int, size: int, threads: int) -> Case:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((batch, size, size), dtype=np.float32) for _ in range(2))
    c, c_numpy = np.empty_like(a), np.empty_like(a)
    calls: dict[str, Call] = {"NumPy": lambda: np.matmul(a, b, out=c_numpy)}
    if peers.torch:
        torch = peers.torch
        a_tensor, b_tensor, c_tensor = torch.from_numpy(a), torch.from_numpy(b), torch.empty(a.shape)
        calls["PyTorch"] = lambda: torch.bmm(a_tensor, b_tensor, out=c_tensor)
    if peers.onnxruntime:
        calls["ONNX Runtime"] = peers.onnx_call("MatMul", {"a": a, "b": b}, threads=threads)
    return Case(
        "matmul",
        f"{batch} x ({size} x {size} x {size})",
        lambda: kernels.matmul(a, b, out=c),
        calls,
        operations=2.0 * batch * size**3,
        read_bytes=a.nbytes + b.nbytes,
    )


def _packed(size: int, threads: int) -> Case:
    """Weights packed beforehand. Of the peers only ONNX Runtime does so, with weights that are constant."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    y, y_plain = np.empty_like(x), np.empty_like(x)
    packed = kernels.pack(w)
    calls = _peers(x, w, False, False, threads)
    if peers.onnxruntime:
        calls["ONNX Runtime"] = peers.onnx_call("MatMul", {"x": x, "w": w}, weights=["w"], threads=threads)
    return Case(
        "matmul, packed",
        f"{size} x {size} x {size}",
        lambda: kernels.matmul(x, packed, out=y),
        calls,
        own={"unpacked": lambda: kernels.matmul(x, w, out=y_plain)},
        operations=2.0 * size**3,
        read_bytes=x.nbytes + w.nbytes,
    )
