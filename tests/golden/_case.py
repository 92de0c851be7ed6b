"""A comparison with PyTorch: one table serves the maker of stored arrays, their test and the live one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

DRAWS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.5, 2, shape),
    "share": lambda rng, shape: rng.uniform(0.05, 0.95, shape),
}


class Case(NamedTuple):
    """An operation on random inputs.

    Attributes
    ----------
    expression : callable
        Called with the library (tinytorch or torch) and the tensors; gives a tensor.
    inputs : tuple
        For each tensor its shape, or an array; those of whole numbers get no gradient.
    theirs : callable, optional
        PyTorch's expression, where it is not the same.
    draw : str
        Where random values come from: a key of `DRAWS`.
    """

    expression: Callable
    inputs: tuple
    theirs: Callable | None = None
    draw: str = "normal"

    def arrays(self, seed: int = 0, dtype: Any = np.float32, shapes: tuple | None = None) -> list[np.ndarray]:
        """The inputs, random ones in this dtype; `shapes` takes the place of the case's own."""
        rng = np.random.default_rng(seed)

        def array(given):
            if isinstance(given, np.ndarray):
                return given.astype(dtype) if given.dtype.kind == "f" else given
            return np.asarray(DRAWS[self.draw](rng, given), dtype)

        return [array(given) for given in shapes or self.inputs]


# Where derivatives jump, functions saturate, and arithmetic ends.
EDGES = np.array([-np.inf, -1e30, -100, -1, -1e-30, -0.0, 0, 1e-30, 1, 100, 1e30, np.inf])


def run(library: Any, tensor: Callable, expression: Callable, arrays: list[np.ndarray]) -> dict[str, Any]:
    """The result y, and for a fixed random gradient of it, those of the floating-point inputs."""
    tensors = [tensor(array) for array in arrays]
    trained = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    for i in trained:
        tensors[i].requires_grad = True
    with np.errstate(all="ignore"):
        y = expression(library, *tensors)
        if y.requires_grad:
            gradient = np.random.default_rng(1000).standard_normal(tuple(y.shape))
            y.backward(tensor(np.asarray(gradient, str(y.dtype).split(".")[-1])))
    values = {"y": y.detach(), **{f"grad{i}": tensors[i].grad for i in trained if y.requires_grad}}
    # A tensor that the result does not depend on has no gradient.
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def run_in_pytorch(case: Case, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's answer; it gets copies, since it knows no negative strides."""
    import torch

    def tensor(array):
        return torch.from_numpy(np.array(array, order="C"))

    return run(torch, tensor, case.theirs or case.expression, arrays)


def make(cases: dict[str, Case]) -> dict[str, np.ndarray]:
    """What is stored: for each case the result, and all gradients one after the other."""
    stored = {}
    for name, case in cases.items():
        results = run_in_pytorch(case, case.arrays())
        stored[name] = results.pop("y")
        if results:
            stored[f"{name}/grads"] = np.concatenate([grad.ravel() for grad in results.values()])
    return stored
