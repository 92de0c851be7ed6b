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
from typing import Any, NoReturn

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


class RemovableHook:
    """A function that a tensor or a module calls until `remove`, or until it is left as a context manager.

    `owner` keeps its hooks as a tuple in the attribute `place`.
    """

    def __init__(self, owner: Any, place: str, hook: Callable) -> None:
        # Wrapped, so that a function that was registered twice can be removed once.
        self._owner, self._place, self._entry = owner, place, functools.partial(hook)
        setattr(owner, place, (*getattr(owner, place), self._entry))

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        kept = tuple(entry for entry in getattr(self._owner, self._place) if entry is not self._entry)
        setattr(self._owner, self._place, kept)

    def __enter__(self) -> RemovableHook:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


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
    reads_output : bool
        Whether `backward` reads the array that the operation gave; then changing that one is an error.
    owns_gradients : bool
        Whether the arrays that `backward` returns are new and nothing else refers to them. A parameter can
        then keep one as its `.grad` without a copy, and another gradient can be added to one in place.
    next_functions : list
        For each input: the node that made it, itself if it is a leaf, or None if it needs no gradient. None
        instead of a list once `backward` has passed.
    """

    reads_inputs = True
    reads_output = False
    owns_gradients = False
    apply = _Apply()

    # What most nodes never set: a node is made for every operation, so making one must be quick.
    next_functions: list | None = None
    saved_tensors: tuple = ()
    _versions: Sequence[int] = ()
    _layout: tuple | None = None  # shape and dtype of the result
    _hooks: tuple = ()  # called with the gradient of the result, which they may replace

    def __init__(self, *inputs: Any) -> None:
        self.next_functions = edges = []
        for tensor in inputs:
            edge = None
            if getattr(tensor, "requires_grad", False):
                edge = tensor._grad_fn
                if edge is None:
                    edge = tensor
            edges.append(edge)
        if self.reads_inputs:
            self.save_for_backward(*inputs)

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or arrays) for `backward`, which finds them in `saved_tensors`."""
        self.saved_tensors = tensors
        self._versions = [getattr(tensor, "_version", 0) for tensor in tensors]

    @property
    def needs_input_grad(self) -> list[bool]:
        """For each input, whether `backward` has to return its gradient."""
        return [edge is not None for edge in self.next_functions or ()]

    def input_shape(self, i: int = 0) -> Any:
        """The shape of input `i`, which must be one that needs a gradient."""
        return (self.next_functions or ())[i]._layout[0]

    def forward(self, *arrays: Any) -> np.ndarray:
        """The operation on arrays; needed only by functions that are run with ``apply``."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, *arrays)")

    def backward(self, grad: np.ndarray) -> Any:
        """The gradient of each input, given that of the output: an array, or a tuple with one for each."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(self, grad)")

    @classmethod
    def _run(cls, *inputs: Any) -> Any:
        tensors = [value for value in inputs if hasattr(value, "requires_grad")]
        if not tensors:
            raise TypeError(f"{cls.__name__}.apply: at least one argument must be a Tensor")
        node = cls(*inputs)
        with no_grad():
            out = cls.forward(node, *[_array(value) for value in inputs])
        return record(np.asarray(out), lambda *_: node, *tensors)

    def _gradients(self, grad: np.ndarray) -> tuple:
        """Run `backward` and make each gradient fit its input: broadcast axes summed, shape checked."""
        edges = self.next_functions
        if edges is None:
            raise RuntimeError(
                f"backward reached {type(self).__name__} a second time, but the first backward freed its "
                "saved values. Run the forward computation again, or call backward(retain_graph=True) the "
                "first time."
            )
        if self.saved_tensors and self._versions != [getattr(t, "_version", 0) for t in self.saved_tensors]:
            self._raise_changed("an input")
        if edges[0] is None and len(edges) == 1:
            return (None,)
        # Through the class, so that a PyTorch-style staticmethod works too.
        grads = type(self).backward(self, grad)
        if not isinstance(grads, tuple):
            grads = (grads,)
        if len(grads) != len(edges):
            raise RuntimeError(
                f"{type(self).__name__}.backward returned {len(grads)} gradients for {len(edges)} inputs"
            )
        fitting: list[Any] = []
        for i, edge in enumerate(edges):
            g = grads[i]
            if edge is None:
                g = None
            elif type(g) is not np.ndarray or (g.shape, g.dtype) != edge._layout:
                g = self._fit(i, g, edge._layout)
            fitting.append(g)
        return tuple(fitting)

    def output_changed(self) -> None:
        """Note that the operation's result was changed in place."""
        if self.reads_output:
            self._gradients = lambda grad: self._raise_changed("its output")  # type: ignore[method-assign]

    def _raise_changed(self, what: str) -> NoReturn:
        raise RuntimeError(
            f"{type(self).__name__}: {what} was changed after it was used, so its gradient would be wrong. "
            "Call backward before changing it (or before optimizer.step)."
        )

    def _fit(self, i: int, grad: Any, layout: tuple | None) -> np.ndarray:
        """The gradient of input `i` in the shape and dtype of that input."""
        if layout is None:
            raise RuntimeError(
                f"{type(self).__name__}: its input {i} was given a _grad_fn by hand, so the shape of its "
                "gradient is unknown; use record, or the class's apply"
            )
        shape, dtype = layout
        if grad is None:
            raise RuntimeError(f"{type(self).__name__} has no gradient for its input {i}, which requires one")
        array = np.asarray(_array(grad))
        if array.shape != shape:
            try:
                array = sum_to_shape(array, shape)
            except ValueError:
                raise RuntimeError(
                    f"{type(self).__name__}.backward: input {i} has shape {shape}, "
                    f"but its gradient has shape {array.shape}"
                ) from None
        return array.astype(dtype, copy=False)

    def retain_output(self, tensor: Any) -> None:
        """Let `backward` store the gradient of this node's output in `tensor.grad`."""
        reference = weakref.ref(tensor)

        def retain(grad: np.ndarray) -> None:
            if (output := reference()) is not None:
                accumulate(output, grad, owned=False)

        self._hooks += (retain,)

    def _release(self) -> None:
        """Drop everything, so that activations are freed while backward is still running."""
        self.__dict__ = {"_layout": self._layout}


def _array(value: Any) -> Any:
    return value.data if hasattr(value, "requires_grad") else value


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
                out._grad_fn = function = node(*args)
                function._layout = data.shape, data.dtype
                if data.dtype.kind != "f":
                    raise TypeError(f"only floating-point tensors can require a gradient, not {data.dtype}")
                break
    return out


# --------------------------------------------------------------------------------------------------
# The walk backwards
# --------------------------------------------------------------------------------------------------


def topological_order(root: Function) -> list[Function]:
    """Every node that `root` depends on, each before the nodes that it depends on itself; `root` comes first.

    First count the edges that lead to each node, then walk again and list a node with its last edge (Kahn
    1962). Each node and edge is visited twice, however many paths lead to it, and nothing recurses.
    """
    uses = {root: 0}
    found = [root]
    for node in found:
        for edge in node.next_functions or ():
            if isinstance(edge, Function):
                if edge in uses:
                    uses[edge] += 1
                else:
                    uses[edge] = 1
                    found.append(edge)
    order = [root]
    for node in order:
        for edge in node.next_functions or ():
            if isinstance(edge, Function):
                uses[edge] -= 1
                if uses[edge] == 0:
                    order.append(edge)
    return order


def backward(
    tensor: Any, gradient: np.ndarray, retain_graph: bool = False, receive: Callable | None = None
) -> None:
    """Add the gradient of `tensor` with respect to every leaf that it depends on to that leaf's `.grad`.

    Parameters
    ----------
    tensor : Tensor
        Must require a gradient.
    gradient : ndarray
        The gradient of `tensor` itself, in its shape.
    retain_graph : bool
        Keep the saved values, so that `backward` can run through the same graph again.
    receive : callable, optional
        Called instead of `accumulate` with each leaf and a gradient that flows into it.
    """
    receive = receive or accumulate
    root = tensor._grad_fn
    hooked: dict[Any, np.ndarray] = {}  # for leaves with hooks, the sum, since hooks see it whole
    if root is None:
        receive(tensor, run_hooks(tensor._hooks, gradient), False)
        return
    waiting = {root: gradient}  # for nodes that have not run yet, the sum over the paths that reached them
    owned: set[Function] = set()  # nodes whose sum is an array that nothing else refers to
    for node in topological_order(root):
        grad = waiting.pop(node)
        if node._hooks:
            grad = run_hooks(node._hooks, grad)
        grads = node._gradients(grad)
        for i, edge in enumerate(node.next_functions or ()):
            if edge is None:
                continue
            g = grads[i]
            new = node.owns_gradients and g is not grad
            if not isinstance(edge, Function):
                if edge._hooks:
                    hooked[edge] = g if edge not in hooked else hooked[edge] + g
                else:
                    receive(edge, g, new)
            elif edge not in waiting:
                waiting[edge] = g
                if new:
                    owned.add(edge)
            else:
                waiting[edge] = _add(waiting[edge], edge in owned, g, new)
                owned.add(edge)
        if not retain_graph:
            node._release()
    for leaf, g in hooked.items():
        receive(leaf, run_hooks(leaf._hooks, g), False)


def starting_gradient(tensor: Any, gradient: Any) -> np.ndarray:
    """What `backward` starts from: `gradient` in the shape and dtype of `tensor`; 1 for a single element."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "backward: this tensor does not depend on any tensor with requires_grad=True "
            "(or it was computed under no_grad, or detached)"
        )
    shape, dtype = tensor._layout
    if gradient is None:
        if tensor.size != 1:
            raise ValueError(
                f"backward() without a gradient needs a scalar, but this tensor has shape {shape}. "
                f"Reduce it first (.sum() or .mean()), or pass a gradient of shape {shape}"
            )
        return np.ones(shape, dtype)
    array = np.asarray(_array(gradient), dtype=dtype)
    if array.shape != shape:
        raise ValueError(f"backward: the gradient has shape {array.shape}, but the tensor has {shape}")
    return array


def run_hooks(hooks: tuple, grad: np.ndarray) -> np.ndarray:
    """The gradient after each hook has seen, and perhaps replaced, it."""
    for hook in hooks:
        changed = hook(grad)
        if changed is not None:
            changed = np.asarray(_array(changed), dtype=grad.dtype)
            if changed.shape != grad.shape:
                raise ValueError(
                    f"a gradient hook returned shape {changed.shape} for a gradient of shape {grad.shape}"
                )
            grad = changed
    return grad


def _add(a: np.ndarray, a_owned: bool, b: np.ndarray, b_owned: bool) -> np.ndarray:
    """a + b, in the memory of one that nothing else refers to."""
    if a_owned:
        a += b
        return a
    if b_owned:
        b += a
        return b
    return a + b


def accumulate(leaf: Any, grad: np.ndarray, owned: bool) -> None:
    """Add to `leaf.grad`, which may keep `grad` itself if it is `owned`: if nothing else refers to it."""
    if grad.dtype.kind != "f":
        raise TypeError(f"only floating-point tensors can require a gradient, not {grad.dtype}")
    held = leaf.grad
    if held is None:
        # A second reference to the array would let a change of one .grad show up in another.
        leaf.grad = grad if owned and grad.flags.c_contiguous else grad.copy()
    elif type(held) is np.ndarray and held.dtype is grad.dtype and held.flags.writeable:
        held += grad
    else:
        leaf.grad = np.asarray(_array(held), dtype=grad.dtype) + grad


def sum_to_shape(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum `grad` over the axes that broadcasting added or stretched, to get back to `shape`."""
    added = grad.ndim - len(shape)
    if added < 0 or any(n not in (1, m) for n, m in zip(shape, grad.shape[added:], strict=True)):
        raise ValueError(f"shape {grad.shape} is not a broadcast of {shape}")
    stretched = [added + i for i, n in enumerate(shape) if n == 1 and grad.shape[added + i] != 1]
    return grad.sum(axis=(*range(added), *stretched)).reshape(shape)
