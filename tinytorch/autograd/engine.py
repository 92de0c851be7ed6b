"""The graph of recorded operations, and the walk backwards through it.

An operation on tensors computes its result with NumPy or a kernel, then calls `record`. If a gradient will
be wanted, `record` attaches a `Function` to the result: a node that remembers what its derivative needs
and where each gradient goes next. `backward` walks these nodes from the loss to the parameters, each once.

This room lies below `tinytorch.tensor` and never imports it: here, a tensor is anything with `requires_grad`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

# --------------------------------------------------------------------------------------------------
# Switching recording off and on
# --------------------------------------------------------------------------------------------------

_recording: ContextVar[bool] = ContextVar("tinytorch_recording", default=True)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for `backward`."""
    return _recording.get()


class _Recording:
    """Context manager and decorator that sets whether operations are recorded; see `no_grad`."""

    _value: bool

    def __enter__(self) -> None:
        self._token = _recording.set(self._value)

    def __exit__(self, *exception: object) -> None:
        _recording.reset(self._token)

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_Recording):
    """Record nothing inside: `with no_grad(): …`, or `@no_grad()` above a function. Saves memory and time."""

    _value = False


class enable_grad(_Recording):
    """Record again inside an outer `no_grad`."""

    _value = True


def enable_autograd(quiet: bool = False) -> None:
    """Do nothing: autograd is always on. Kept for course notebooks that call it."""


# --------------------------------------------------------------------------------------------------
# A node of the graph
# --------------------------------------------------------------------------------------------------


class _Apply:
    """`Square.apply(x)` on a class runs the operation, as in PyTorch; `node.apply(grad)` reverses one."""

    def __get__(self, node: Function | None, owner: type[Function]) -> Callable:
        return owner._run if node is None else node._gradients


class Function:
    """One recorded operation: where its gradients go, and how to compute them.

    Those in `rules` are built after their forward computation, with the tensors they were given. To write
    your own, define `forward` and `backward` on arrays, and run it with ``apply``:

    >>> class Square(Function):
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x * x
    ...     def backward(self, grad):
    ...         return 2 * self.x * grad
    >>> y = Square.apply(x)

    Attributes
    ----------
    reads_inputs : bool
        Whether `backward` reads the input tensors (then `saved_tensors` keeps them, and changing one in place
        before `backward` is an error).
    owns_gradients : bool
        Whether the arrays that `backward` returns are new and nothing else refers to them, so a parameter
        can keep one as its `.grad` without a copy.
    next_functions : tuple
        For each input: the node that made it, itself if it is a leaf, or None if it needs no gradient.
    needs_input_grad : tuple of bool
    """

    reads_inputs = True
    owns_gradients = False
    apply = _Apply()

    def __init__(self, *inputs: Any) -> None:
        self.next_functions: tuple | None = tuple([_edge(tensor) for tensor in inputs])
        self.needs_input_grad = tuple([edge is not None for edge in self.next_functions])
        self._shapes: list[Any] = [getattr(tensor, "shape", ()) for tensor in inputs]
        self._dtypes = [getattr(tensor, "dtype", None) for tensor in inputs]
        self._output: weakref.ref | None = None
        self.saved_tensors: tuple = ()
        self._versions: list[int] = []
        if self.reads_inputs:
            self.save_for_backward(*inputs)

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or arrays) for `backward`, which finds them in `saved_tensors`."""
        self.saved_tensors = tensors
        self._versions = [getattr(tensor, "_version", 0) for tensor in tensors]

    def forward(self, *arrays: Any) -> np.ndarray:
        """The operation on arrays; needed only by functions that are run with ``apply``."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, *arrays)")

    def backward(self, grad: np.ndarray) -> Any:
        """The gradient of each input, given that of the output: an array, or a tuple with one for each."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(self, grad)")

    @classmethod
    def _run(cls, *inputs: Any) -> Any:
        if not any(hasattr(value, "requires_grad") for value in inputs):
            raise TypeError(f"{cls.__name__}.apply: at least one argument must be a Tensor")
        node = cls(*inputs)
        with no_grad():
            out = cls.forward(node, *[_array(value) for value in inputs])
        tensor = next(value for value in inputs if hasattr(value, "requires_grad"))
        return _attach(tensor._wrap(np.asarray(out)), node, inputs)

    def _gradients(self, grad: np.ndarray) -> tuple:
        """Run `backward` and make each gradient fit its input: broadcast axes summed, shape checked."""
        name = type(self).__name__
        if self.next_functions is None:
            raise RuntimeError(
                f"backward reached {name} a second time, but the first backward freed its saved values. "
                "Run the forward computation again, or call backward(retain_graph=True) the first time."
            )
        for tensor, version in zip(self.saved_tensors, self._versions, strict=True):
            if getattr(tensor, "_version", 0) != version:
                raise RuntimeError(
                    f"{name}: an input of shape {tensor.shape} was changed after it was used, so its "
                    "gradient would be wrong. Call backward before changing it (or before optimizer.step)."
                )
        grads = type(self).backward(
            self, grad
        )  # through the class, so that a PyTorch-style staticmethod works too
        grads = grads if isinstance(grads, tuple) else (grads,)
        if len(grads) != len(self._shapes):
            raise RuntimeError(
                f"{name}.backward returned {len(grads)} gradients for {len(self._shapes)} inputs"
            )
        return tuple([self._fit(i, g) if self.needs_input_grad[i] else None for i, g in enumerate(grads)])

    def _fit(self, i: int, grad: Any) -> np.ndarray:
        if grad is None:
            raise RuntimeError(f"{type(self).__name__} has no gradient for its input {i}, which requires one")
        array = np.asarray(_array(grad))
        if array.shape != self._shapes[i]:
            try:
                array = sum_to_shape(array, self._shapes[i])
            except ValueError:
                raise RuntimeError(
                    f"{type(self).__name__}.backward: input {i} has shape {self._shapes[i]}, "
                    f"but its gradient has shape {array.shape}"
                ) from None
        return array if array.dtype == self._dtypes[i] else array.astype(self._dtypes[i])

    def retain_output(self, tensor: Any) -> None:
        """Let `backward` store the gradient of this node's output in `tensor.grad`."""
        self._output = weakref.ref(tensor)

    def _release(self) -> None:
        """Drop everything, so that activations are freed while backward is still running."""
        self.__dict__ = {"next_functions": None}


def _edge(tensor: Any) -> Any:
    if not getattr(tensor, "requires_grad", False):
        return None
    if tensor.dtype.kind != "f":
        raise TypeError(f"only floating-point tensors can require a gradient, not {tensor.dtype}")
    return tensor if tensor._grad_fn is None else tensor._grad_fn


def _array(value: Any) -> Any:
    return value.data if hasattr(value, "requires_grad") else value


def _attach(out: Any, node: Function, inputs: Sequence) -> Any:
    if is_grad_enabled() and any(node.needs_input_grad):
        out.requires_grad = True
        out._grad_fn = node
    return out


def record(data: np.ndarray, node: Callable[..., Function], *args: Any) -> Any:
    """The tensor that holds an operation's result, with its place in the graph if a gradient will be wanted.

    Parameters
    ----------
    data : ndarray
        The result. It is not copied.
    node : Function subclass
        Called with `args` to build the node; not called at all when nothing needs a gradient.
    *args
        What `node` takes. The first must be a tensor.
    """
    out = args[0]._wrap(data)
    if _recording.get():
        for value in args:
            if getattr(value, "requires_grad", False):
                out.requires_grad = True
                out._grad_fn = node(*args)
                break
    return out


# --------------------------------------------------------------------------------------------------
# The walk backwards
# --------------------------------------------------------------------------------------------------


def topological_order(root: Function) -> list[Function]:
    """Every node that `root` depends on, each before the nodes that it depends on itself; `root` comes first.

    A depth-first walk with its own stack: deep graphs don't meet Python's recursion limit, and each node and
    edge is visited once however many paths lead to it.
    """
    order: list[Function] = []
    visited: set[Function] = set()
    stack: list[tuple[Function, bool]] = [(root, False)]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            order.append(node)
        elif node not in visited:
            visited.add(node)
            stack.append((node, True))
            for edge in node.next_functions or ():
                if isinstance(edge, Function) and edge not in visited:
                    stack.append((edge, False))
    order.reverse()
    return order


def backward(tensor: Any, gradient: np.ndarray, retain_graph: bool = False) -> None:
    """Add the gradient of `tensor` with respect to every leaf that it depends on to that leaf's `.grad`.

    Parameters
    ----------
    tensor : Tensor
        Must require a gradient.
    gradient : ndarray
        The gradient of `tensor` itself, in its shape.
    retain_graph : bool
        Keep the saved values, so that `backward` can run through the same graph again.
    """
    root = _edge(tensor)
    if not isinstance(root, Function):
        _accumulate(tensor, gradient, owned=False)
        return
    waiting = {
        root: gradient
    }  # the gradients of nodes that have not run yet, summed over the paths that reach them
    for node in topological_order(root):
        grad = waiting.pop(node)
        grads = node.apply(grad)
        if node._output is not None and (output := node._output()) is not None:
            _accumulate(output, grad, owned=False)
        for edge, g in zip(node.next_functions or (), grads, strict=True):
            if isinstance(edge, Function):
                waiting[edge] = waiting[edge] + g if edge in waiting else g
            elif edge is not None:
                _accumulate(edge, g, owned=node.owns_gradients)
        if not retain_graph:
            node._release()


def _accumulate(leaf: Any, grad: np.ndarray, owned: bool) -> None:
    if leaf.grad is None:
        # A second reference to the array would let a change of one .grad show up in another.
        leaf.grad = grad if owned and grad.flags.c_contiguous else np.array(grad, order="C")
    elif isinstance(leaf.grad, np.ndarray) and leaf.grad.flags.writeable and leaf.grad.dtype == grad.dtype:
        leaf.grad += grad
    else:
        leaf.grad = np.asarray(_array(leaf.grad), dtype=grad.dtype) + grad


def sum_to_shape(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum `grad` over the axes that broadcasting added or stretched, to get back to `shape`."""
    added = grad.ndim - len(shape)
    if added < 0 or any(n not in (1, m) for n, m in zip(shape, grad.shape[added:], strict=True)):
        raise ValueError(f"shape {grad.shape} is not a broadcast of {shape}")
    stretched = [added + i for i, n in enumerate(shape) if n == 1 and grad.shape[added + i] != 1]
    return grad.sum(axis=(*range(added), *stretched)).reshape(shape)
