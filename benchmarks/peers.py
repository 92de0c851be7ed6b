"""The libraries we race against, where they are installed, and how each is given the same threads."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.case import Call
from tinytorch import kernels


def _imported(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch = _imported("torch")
onnx = _imported("onnx")
onnxruntime: Any = _imported("onnxruntime") if onnx else None  # without onnx there are no models to run
scipy_blas = _imported("scipy.linalg.blas")
scipy_sparse = _imported("scipy.sparse")
threadpoolctl = _imported("threadpoolctl")

PACKAGES = {"NumPy": "numpy", "PyTorch": "torch", "ONNX Runtime": "onnxruntime", "SciPy": "scipy"}
_FOUND = {"NumPy": np, "PyTorch": torch, "ONNX Runtime": onnxruntime, "SciPy": scipy_blas}


def versions() -> dict[str, str]:
    """The peers that are installed, with their versions."""
    return {name: importlib.metadata.version(package) for name, package in PACKAGES.items() if _FOUND[name]}


def missing() -> list[str]:
    """The peers that are not installed."""
    return [name for name, module in _FOUND.items() if not module]


@contextmanager
def equal_threads(count: int) -> Iterator[None]:
    """Give ours, PyTorch and every BLAS this many threads; ONNX Runtime's sessions are built with theirs."""
    before = kernels.get_num_threads()
    limits = threadpoolctl.threadpool_limits(count) if threadpoolctl else None
    kernels.set_num_threads(count)
    if torch:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        kernels.set_num_threads(before)
        if limits:
            limits.restore_original_limits()


def onnx_call(
    operator: str,
    inputs: Mapping[str, np.ndarray],
    *,
    threads: int,
    weights: Sequence[str] = (),
    outputs: int = 1,
    opset: int = 17,
    domain: str = "",
    **attributes: Any,
) -> Call:
    """A model of one node in ONNX Runtime, its inputs and outputs bound to warm buffers.

    Parameters
    ----------
    operator : str
        The ONNX operator, e.g. "Conv".
    inputs : name → array
        In the operator's order. An input that it may leave out is given as an empty name.
    threads : int
    weights : names of inputs
        These become constants of the model, which ONNX Runtime packs when it loads it.
    outputs : int
        How many the operator has.
    opset, domain
        The operator's version, and its set where it is not ONNX's own, e.g. "com.microsoft".
    **attributes
        The operator's.

    Returns
    -------
    function of no arguments
        Runs the model; returns its outputs as a list of arrays that share the bound buffers.
    """
    results = [f"output{index}" for index in range(outputs)]
    node = onnx.helper.make_node(operator, list(inputs), results, domain=domain, **attributes)
    return onnx_graph_call([node], inputs, results, threads=threads, weights=weights, opset=opset)


def onnx_graph_call(
    nodes: Sequence[Any],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    *,
    threads: int,
    weights: Sequence[str] = (),
    opset: int = 17,
) -> Call:
    """Like `onnx_call` for a model of several nodes, as ``onnx.helper.make_node`` makes them."""
    fed = {name: array for name, array in inputs.items() if name and name not in weights}
    graph = onnx.helper.make_graph(
        nodes,
        "benchmark",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in fed.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(inputs[name], name) for name in weights],
    )
    sets = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=sets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return _bound(session, fed, outputs)


def _bound(session: Any, fed: Mapping[str, np.ndarray], outputs: Sequence[str]) -> Call:
    binding = session.io_binding()
    # A first run tells the outputs' shapes.
    results = session.run(list(outputs), dict(fed))
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(result) for result in results]
    for name, array in fed.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for name, value in zip(outputs, values, strict=True):
        binding.bind_ortvalue_output(name, value)

    def call() -> object:
        session.run_with_iobinding(binding)
        return values

    return call
