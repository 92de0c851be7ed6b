"""Optimizers: turn gradients into steps. Each step is one kernel call for all parameters of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import kernels
from .tensor import Tensor

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]

DEFAULT_LEARNING_RATE_SGD = 0.01
DEFAULT_LEARNING_RATE_ADAM = 0.001
DEFAULT_MOMENTUM = 0.9
DEFAULT_BETA1 = 0.9
DEFAULT_BETA2 = 0.999
DEFAULT_EPS = 1e-8
DEFAULT_WEIGHT_DECAY_ADAMW = 0.01


class Optimizer:
    """Base class: holds the parameters, prepares their gradients, saves and restores state.

    A subclass defines `_update`, and names its hyperparameters and its buffers: attributes that hold a list
    with one array for each parameter (None before its first step).

    Parameters
    ----------
    params : iterable of Tensor
        What to train; each must require a gradient.

    Attributes
    ----------
    params : list of Tensor
    lr : float
        Learning rate; may be changed between steps.
    step_count : int
        Steps taken so far.
    """

    lr: float
    hyperparameters: tuple[str, ...] = ("lr",)
    buffers: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Tensor]) -> None:
        self.params = _check_params(type(self).__name__, params)
        self.step_count = 0
        # A parameter without a gradient sits a step out, so Adam's bias correction needs a count for each.
        self._steps = [0] * len(self.params)
        for name in self.buffers:
            setattr(self, name, [None] * len(self.params))

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        self._check_hyperparameters()
        grads = {
            i: _gradient(parameter, i)
            for i, parameter in enumerate(self.params)
            if parameter.grad is not None
        }
        self.step_count += 1
        groups: dict[tuple[int, np.dtype], list[int]] = {}  # a kernel takes one count and one dtype
        for i in grads:
            self._steps[i] += 1
            self._make_writable(i)
            self._make_buffers(i)
            groups.setdefault((self._steps[i], self.params[i].dtype), []).append(i)
        for (step, _), group in groups.items():
            self._update(group, [self.params[i].data for i in group], [grads[i] for i in group], step)
            for i in group:
                self.params[i].mark_changed()

    def _make_writable(self, i: int) -> None:
        """Give parameter i an array that a kernel can write to."""
        parameter = self.params[i]
        if not parameter.data.flags.carray:  # writable, aligned, and in C's order
            parameter.data = np.require(parameter.data, requirements=["C", "A", "W"])

    def _make_buffers(self, i: int) -> None:
        data = self.params[i].data
        for name in self.buffers:
            buffers = getattr(self, name)
            if buffers[i] is None:
                buffers[i] = np.zeros_like(data)
            elif buffers[i].dtype != data.dtype:
                buffers[i] = buffers[i].astype(data.dtype)

    def _update(self, group: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int) -> None:
        """Take one step with the parameters `group`, each for the `step`-th time."""
        raise NotImplementedError(f"{type(self).__name__} does not define _update")

    def _check_hyperparameters(self) -> None:
        for name in self.hyperparameters:
            value = getattr(self, name)
            if isinstance(value, bool):
                continue
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be finite and not negative, got {value}"
                )
            if name.startswith("beta") and value >= 1:
                raise ValueError(f"{type(self).__name__}: {name} must lie in [0, 1), got {value}")

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters themselves, copied."""
        buffers = {
            name: [None if array is None else array.copy() for array in getattr(self, name)]
            for name in self.buffers
        }
        return {
            "type": type(self).__name__,
            "hyperparameters": {name: getattr(self, name) for name in self.hyperparameters},
            "step_count": self.step_count,
            "steps": list(self._steps),
            "buffers": buffers,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave. Everything is checked before anything is changed.

        Raises
        ------
        ValueError
            If the state is that of another optimizer, or of other parameters.
        """
        self.check_state_dict(state)
        for name, value in state["hyperparameters"].items():
            setattr(self, name, value)
        self.step_count, self._steps = state["step_count"], list(state["steps"])
        for name, arrays in state["buffers"].items():
            setattr(self, name, [None if array is None else np.array(array) for array in arrays])

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError unless `state` fits this optimizer and its parameters."""
        own = type(self).__name__
        if state["type"] != own:
            raise ValueError(
                f"{own}: the saved state is that of {state['type']}; make the same optimizer first"
            )
        if len(state["steps"]) != len(self.params):
            raise ValueError(
                f"{own}: the saved state is for {len(state['steps'])} parameters, "
                f"this optimizer has {len(self.params)}"
            )
        for name in self.buffers:
            for i, (array, parameter) in enumerate(zip(state["buffers"][name], self.params, strict=True)):
                if array is not None and array.shape != parameter.shape:
                    raise ValueError(
                        f"{own}: saved {name}[{i}] has shape {array.shape}, "
                        f"but parameter {i} has shape {parameter.shape}"
                    )


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum·v + g, p -= lr·v, with weight decay added to g.

    Source: Sutskever et al. 2013, in PyTorch's form.
    """

    hyperparameters = ("lr", "momentum", "weight_decay", "nesterov")
    buffers = ("momentum_buffers",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = DEFAULT_LEARNING_RATE_SGD,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov
        self.momentum_buffers: list[Any]
        self._check_hyperparameters()
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov looks ahead along the momentum, so momentum must be above 0")

    def _make_buffers(self, i: int) -> None:
        if self.momentum > 0:
            super()._make_buffers(i)

    def _update(self, group: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int) -> None:
        buffers = [self.momentum_buffers[i] for i in group] if self.momentum > 0 else None
        kernels.sgd_step(
            params, grads, buffers,
            lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov,
        )  # fmt: skip

    def has_momentum(self) -> bool:
        """Whether momentum is in use."""
        return self.momentum > 0

    def get_momentum_state(self) -> list[np.ndarray | None] | None:
        """Copies of the momentum buffers, or None without momentum."""
        return self.state_dict()["buffers"]["momentum_buffers"] if self.has_momentum() else None

    def set_momentum_state(self, state: list[np.ndarray | None] | None) -> None:
        """Restore what `get_momentum_state` gave."""
        if state is not None:
            self.load_state_dict({**self.state_dict(), "buffers": {"momentum_buffers": state}})


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square. Source: Kingma and Ba 2015.

    `weight_decay` is added to the gradient, as in PyTorch; `AdamW` keeps it apart.
    """

    hyperparameters = ("lr", "beta1", "beta2", "eps", "weight_decay")
    buffers = ("m_buffers", "v_buffers")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = DEFAULT_LEARNING_RATE_ADAM,
        betas: tuple[float, float] = (DEFAULT_BETA1, DEFAULT_BETA2),
        eps: float = DEFAULT_EPS,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr, self.eps, self.weight_decay = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.m_buffers: list[Any]
        self.v_buffers: list[Any]
        self._check_hyperparameters()

    _kernel = staticmethod(kernels.adam_step)

    def _update(self, group: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int) -> None:
        m, v = [self.m_buffers[i] for i in group], [self.v_buffers[i] for i in group]
        self._kernel(
            params, grads, m, v,
            step=step, lr=self.lr, beta1=self.beta1, beta2=self.beta2, eps=self.eps,
            weight_decay=self.weight_decay,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay applied to the parameters themselves. Source: Loshchilov and Hutter 2019."""

    _kernel = staticmethod(kernels.adamw_step)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = DEFAULT_LEARNING_RATE_ADAM,
        betas: tuple[float, float] = (DEFAULT_BETA1, DEFAULT_BETA2),
        eps: float = DEFAULT_EPS,
        weight_decay: float = DEFAULT_WEIGHT_DECAY_ADAMW,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


def _check_params(name: str, params: Iterable[Tensor]) -> list[Tensor]:
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        hint = "pass model.parameters()" if hasattr(params, "parameters") else "pass a list of tensors"
        raise TypeError(f"{name}: params is a {type(params).__name__}; {hint}")
    params = list(params)
    if not params:
        raise ValueError(f"{name}: got no parameters to train")
    for i, parameter in enumerate(params):
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{name}: params[{i}] is a {type(parameter).__name__}, not a Tensor")
        if not parameter.requires_grad:
            raise ValueError(f"{name}: params[{i}] (shape {parameter.shape}) has requires_grad=False")
        if not parameter.is_leaf:
            raise ValueError(f"{name}: params[{i}] was computed from other tensors; train those instead")
    if len({id(parameter) for parameter in params}) != len(params):
        raise ValueError(f"{name}: a parameter appears twice, and would be updated twice in each step")
    return params


def _gradient(parameter: Tensor, i: int) -> np.ndarray:
    """The gradient as an array in the parameter's dtype, whatever kind of buffer it was handed over as."""
    grad, data = parameter.grad, parameter.data
    if type(grad) is np.ndarray and grad.dtype is data.dtype and grad.shape == data.shape:
        return grad if grad.flags.c_contiguous else grad.copy()
    if isinstance(grad, Tensor):
        grad = grad.data
    array = np.ascontiguousarray(grad, dtype=data.dtype).reshape(np.shape(grad))
    if array.shape != data.shape:
        raise ValueError(
            f"step: params[{i}] has shape {data.shape}, but its gradient has shape {array.shape}"
        )
    return array
