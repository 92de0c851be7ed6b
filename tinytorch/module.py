"""Module: what every layer and model has in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ._arrays import align_shapes
from .autograd.engine import RemovableHook
from .tensor import Tensor

__all__ = ["Module", "Parameter"]


class Parameter(Tensor):
    """A tensor that belongs to a module's state, whether it is being trained or frozen."""

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:
        super().__init__(data, requires_grad=requires_grad, dtype=dtype)


class Module:
    """Base class of layers and models.

    Write `forward`; call the module itself. Tensors that require gradients, `Parameter`s, and other modules
    are found wherever they are attributes, also inside lists, tuples and dicts: nothing has to be registered.

    Attributes
    ----------
    training : bool
        True at first; switched by `train` and `eval` for this module and all inside it.
    """

    training = True
    # Called before and after `forward`.
    _forward_pre_hooks: tuple = ()
    _forward_hooks: tuple = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, …)")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_hooks:
            return self.between_hooks(self.forward, *args, **kwargs)
        return self.forward(*args, **kwargs)

    def between_hooks(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the hooks before, a function that stands for `forward`, and the hooks after."""
        for hook in self._forward_pre_hooks:
            if (changed := hook(self, args)) is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = function(*args, **kwargs)
        for hook in self._forward_hooks:
            if (changed := hook(self, args, output)) is not None:
                output = changed
        return output

    def backward(self, *args: Any) -> None:
        """Do nothing but warn, for course notebooks that call it: gradients come from `Tensor.backward`."""
        name = type(self).__name__
        warnings.warn(f"{name}.backward does nothing: call backward() on the loss, a Tensor", stacklevel=2)

    # --- hooks ------------------------------------------------------------------------------------

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> RemovableHook:
        """Call ``hook(module, inputs, output)`` after each run; what it returns, unless None, is the output.

        The result's ``remove()`` takes the hook away, as does leaving it as a context manager.
        """
        return RemovableHook(self, "_forward_hooks", hook)

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple], Any]) -> RemovableHook:
        """Call ``hook(module, inputs)`` before each run; what it returns, unless None, are the inputs."""
        return RemovableHook(self, "_forward_pre_hooks", hook)

    # --- what is inside ---------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and every module inside it, once each, with dotted names."""
        seen: set[int] = set()
        waiting = [(prefix, self)]
        while waiting:
            name, module = waiting.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            waiting.extend(reversed([(_join(name, key), value) for key, value in module.named_children()]))

    def modules(self) -> Iterator[Module]:
        """This module and every module inside it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one."""
        return ((name, value) for name, value in _members(vars(self)) if isinstance(value, Module))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter with its dotted name; one that is shared appears once, under its first name."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in _members(vars(module)):
                if _is_parameter(value) and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(prefix, name), value

    def parameters(self) -> list[Tensor]:
        """Every parameter, once each."""
        return [parameter for _, parameter in self.named_parameters()]

    def register_parameter(self, name: str, value: Tensor | None) -> None:
        """Set attribute `name`, as plain assignment does."""
        setattr(self, name, value)

    def add_module(self, name: str, module: Module) -> None:
        """Set attribute `name`, as plain assignment does."""
        setattr(self, name, module)

    def register_buffer(self, name: str, value: np.ndarray) -> None:
        """Keep an array as attribute `name` that is saved with the parameters but not trained."""
        setattr(self, name, value)
        self.__dict__.setdefault("_buffer_names", []).append(name)

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every buffer with its dotted name."""
        for prefix, module in self.named_modules():
            for name in vars(module).get("_buffer_names", ()):
                yield _join(prefix, name), getattr(module, name)

    # --- training ---------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Switch to training: dropout drops, batch norm uses the batch's own statistics."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to inference: dropout is off, batch norm uses its running statistics."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Train all parameters from now on, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call ``function(module)`` for this module and every module inside it."""
        for module in list(self.modules()):
            function(module)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    # --- saving -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by dotted name."""
        state = {name: parameter.data.copy() for name, parameter in self.named_parameters()}
        state.update({name: np.copy(buffer) for name, buffer in self.named_buffers()})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy in what `state_dict` gave. Everything is checked before anything is changed.

        Raises
        ------
        KeyError
            If names are missing or unknown.
        ValueError
            If a shape differs.
        """
        targets: dict[str, Any] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        missing, unknown = sorted(targets.keys() - state.keys()), sorted(state.keys() - targets.keys())
        if missing or unknown:
            raise KeyError(
                f"load_state_dict: the state does not belong to this {type(self).__name__}; "
                f"missing: {missing or 'none'}; unknown: {unknown or 'none'}"
            )
        arrays = {name: np.asarray(_array(state[name])) for name in targets}
        for name, target in targets.items():
            if arrays[name].shape != target.shape:
                raise ValueError(
                    f"load_state_dict: {name} in the state (first) and the model (second) differ:\n"
                    + align_shapes(arrays[name].shape, target.shape)
                )
        for name, target in targets.items():
            if isinstance(target, Tensor):
                target.data = arrays[name].astype(target.dtype)
            else:
                target[...] = arrays[name]

    # --- printing ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What to print between the parentheses."""
        return ""

    def __repr__(self) -> str:
        children = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()
        ]
        inside = "\n" + "\n".join(children) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inside})"


def _members(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Attributes with dotted names, looking into lists, tuples and dicts."""
    for name, value in attributes.items():
        if isinstance(value, (list, tuple)):
            yield from _members({f"{name}.{i}": item for i, item in enumerate(value)})
        elif isinstance(value, dict):
            yield from _members({f"{name}.{key}": item for key, item in value.items()})
        else:
            yield name, value


def _is_parameter(value: Any) -> bool:
    return isinstance(value, Parameter) or (
        isinstance(value, Tensor) and value.requires_grad and value.is_leaf
    )


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value
