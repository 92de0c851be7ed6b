"""Gradients without `.grad`, and activations that are computed twice rather than kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .engine import Function, backward, enable_grad, is_grad_enabled, record, starting_gradient


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[np.ndarray | None, ...]:
    """The gradients of `outputs` for `inputs`, and of nothing else: no tensor's `.grad` changes.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        Their gradients are added up.
    inputs : Tensor or sequence of Tensor
        Leaves, or results on the way to the outputs.
    grad_outputs : array_like or sequence, optional
        What to multiply each output's gradient by, in its shape; may be left out for outputs of one element.
    retain_graph : bool
        Keep the graph for another pass.
    allow_unused : bool
        Whether an input that no output depends on gets None rather than an error.

    Returns
    -------
    tuple of ndarray
        One for each input, in its shape.
    """
    outputs, inputs = _sequence(outputs), _sequence(inputs)
    weights = [None] * len(outputs) if grad_outputs is None else _sequence(grad_outputs)
    if len(weights) != len(outputs):
        raise ValueError(f"grad: {len(weights)} grad_outputs for {len(outputs)} outputs")
    for i, tensor in enumerate(inputs):
        if not tensor.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient")
    found: dict[int, np.ndarray] = {}

    def add(key: int, gradient: np.ndarray) -> None:
        found[key] = gradient.copy() if key not in found else found[key] + gradient

    def receive(leaf: Any, gradient: np.ndarray, owned: bool) -> None:
        add(id(leaf), gradient)

    hooks = [
        tensor.register_hook(functools.partial(add, id(tensor)))
        for tensor in inputs
        if tensor._grad_fn is not None
    ]
    try:
        for i, (output, weight) in enumerate(zip(outputs, weights, strict=True)):
            keep = retain_graph or i + 1 < len(outputs)
            backward(output, starting_gradient(output, weight), keep, receive)
    finally:
        for hook in hooks:
            hook.remove()
    for i, tensor in enumerate(inputs):
        if id(tensor) not in found and not allow_unused:
            raise RuntimeError(
                f"grad: no output depends on input {i} (shape {tensor.shape}); allow_unused=True gives None"
            )
    return tuple(found.get(id(tensor)) for tensor in inputs)


def _sequence(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


class CheckpointBackward(Function):
    """A function that is run again on the way back; see `checkpoint`"""

    def __init__(self, *inputs: Any, function: Callable, random_state: Any) -> None:
        # A first edge that leads nowhere: parameters inside may need it run though no input does.
        super().__init__(None, *inputs)
        self.function, self.random_state = function, random_state

    def backward(self, grad: np.ndarray) -> tuple:
        needed = self.needs_input_grad[1:]
        inputs = [
            value.detach() if hasattr(value, "requires_grad") else value for value in self.saved_tensors[1:]
        ]
        for value, wanted in zip(inputs, needed, strict=True):
            if wanted:
                value.requires_grad = True
        now = np.random.get_state()
        np.random.set_state(self.random_state)
        try:
            with enable_grad():
                output = self.function(*inputs)
        finally:
            np.random.set_state(now)
        backward(output, grad)
        grads = [
            _grad_or_zeros(value) if wanted else None for value, wanted in zip(inputs, needed, strict=True)
        ]
        return None, *grads


def _grad_or_zeros(tensor: Any) -> np.ndarray:
    return np.zeros(tensor.shape, tensor.dtype) if tensor.grad is None else tensor.grad


def checkpoint(function: Callable, *inputs: Any) -> Any:
    """``function(*inputs)``, whose intermediate results are forgotten and computed again for `backward`.

    Costs a second forward pass, and saves the memory of what it would keep: a model of n layers, checkpointed
    in √n groups, keeps O(√n) activations. Source: Chen, Xu, Zhang and Guestrin 2016.

    Parameters
    ----------
    function : callable
        Takes the inputs and returns one tensor; the same each time (NumPy's random state is replayed).
    *inputs : Tensor, or anything else
    """
    if not inputs:
        raise ValueError("checkpoint: needs the function's inputs, for which its gradients are computed")
    if not is_grad_enabled():
        return function(*inputs)
    random_state = np.random.get_state()
    output = function(*inputs)
    if not output.requires_grad:
        return output

    def node(*_: Any) -> Function:
        return CheckpointBackward(*inputs, function=function, random_state=random_state)

    return record(output.data, node, output)
