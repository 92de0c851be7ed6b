"""Optimizers: turn gradients into steps. Each step is one kernel call for all parameters of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import kernels
from ._arrays import is_number
from .tensor import Tensor

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

DEFAULT_LEARNING_RATE_SGD = 0.01
DEFAULT_LEARNING_RATE_ADAM = 0.001
DEFAULT_MOMENTUM = 0.9
DEFAULT_BETA1 = 0.9
DEFAULT_BETA2 = 0.999
DEFAULT_EPS = 1e-8
DEFAULT_WEIGHT_DECAY_ADAMW = 0.01

SHARES = ("beta1", "beta2", "alpha")  # hyperparameters that must stay below 1


class Hyperparameter:
    """An attribute such as `lr`: that of the first parameter group; assigned, it changes all of them.

    A group that was given a learning rate of its own keeps the ratio, so that a schedule moves all together;
    what else a group was given stays.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        return self if optimizer is None else optimizer._defaults[self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        vars(optimizer).setdefault("_defaults", {})[self.name] = value
        for group, own in zip(optimizer.param_groups, optimizer._own, strict=True):
            if self.name == "lr":
                group["lr"] = value * own.get("lr", 1.0)
            elif self.name not in own:
                group[self.name] = value


class Optimizer:
    """Base class: holds the parameters, prepares their gradients, saves and restores state.

    A subclass names its hyperparameters and its buffers (attributes that hold a list with one array for each
    parameter, None before its first step) and defines `_update`.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to train; each must require a gradient. A dict is a group: ``{"params": tensors, "lr": 0.01}``,
        with those hyperparameters that differ from the optimizer's.
    **defaults
        The hyperparameters, in the order of `hyperparameters`.

    Attributes
    ----------
    params : list of Tensor
    param_groups : list of dict
        Each with its ``params`` and all hyperparameters, which may be changed between steps.
    lr : float
        Learning rate; may be changed between steps, which changes that of all groups in proportion.
    step_count : int
        Steps taken so far.
    """

    lr = Hyperparameter()
    hyperparameters: tuple[str, ...] = ("lr",)
    buffers: tuple[str, ...] = ()
    # Empty until __init__, before which a subclass may set its hyperparameters.
    param_groups: Sequence[dict[str, Any]] = ()
    _own: Sequence[dict[str, Any]] = ()

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        groups = _check_groups(type(self).__name__, params, self.hyperparameters)
        self.params: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        self.step_count = 0
        self._defaults = {"lr": 0.0, **vars(self).get("_defaults", {}), **defaults}
        self.param_groups = [{**self._defaults, **group} for group in groups]
        self._own = [{name: group[name] for name in group if name != "params"} for group in groups]
        for own in self._own:
            if "lr" in own:
                own["lr"] = self._ratio(own["lr"])
        self._group_of = [i for i, group in enumerate(groups) for _ in group["params"]]
        # A parameter without a gradient sits a step out, so Adam's bias correction needs a count for each.
        self._steps = [0] * len(self.params)
        for name in self.buffers:
            setattr(self, name, [None] * len(self.params))
        self._check_hyperparameters()

    def _ratio(self, lr: float) -> float:
        if lr > 0 and not self.lr > 0:
            raise ValueError(
                f"{type(self).__name__}: a group has lr={lr}, so the optimizer's own lr must be above 0, "
                f"for schedules to keep their ratio; it is {self.lr}"
            )
        return lr / self.lr if lr else 0.0

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
        # A kernel takes one count, one dtype, and one set of hyperparameters.
        calls: dict[tuple[int, np.dtype, int], list[int]] = {}
        for i in grads:
            self._steps[i] += 1
            self._make_writable(i)
            self._make_buffers(i)
            calls.setdefault((self._steps[i], self.params[i].dtype, self._group_of[i]), []).append(i)
        for (step, _, group), members in calls.items():
            params, gradients = [self.params[i].data for i in members], [grads[i] for i in members]
            options = {name: self.param_groups[group][name] for name in self.hyperparameters}
            self._update(members, params, gradients, step, **options)
            for i in members:
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

    def _update(
        self, members: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int, **options: Any
    ) -> None:
        """Take one step with the parameters `members`, each for the `step`-th time."""
        raise NotImplementedError(f"{type(self).__name__} does not define _update")

    def _check_hyperparameters(self) -> None:
        for group in self.param_groups:
            for name in self.hyperparameters:
                value = group[name]
                if isinstance(value, bool):
                    continue
                if not is_number(value) or not 0 <= value < math.inf:
                    raise ValueError(
                        f"{type(self).__name__}: {name} must be finite and not negative, got {value!r}"
                    )
                if name in SHARES and value >= 1:
                    raise ValueError(f"{type(self).__name__}: {name} must lie in [0, 1), got {value}")

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters themselves, copied."""
        buffers = {
            name: [None if array is None else array.copy() for array in getattr(self, name)]
            for name in self.buffers
        }
        return {
            "type": type(self).__name__,
            "defaults": dict(self._defaults),
            "groups": [{name: group[name] for name in self.hyperparameters} for group in self.param_groups],
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
        self._defaults = dict(state["defaults"])
        for group, saved in zip(self.param_groups, state["groups"], strict=True):
            group.update(saved)
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
        if len(state["groups"]) != len(self.param_groups):
            raise ValueError(
                f"{own}: the saved state is for {len(state['groups'])} parameter groups, "
                f"this optimizer has {len(self.param_groups)}"
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
    momentum = Hyperparameter()
    weight_decay = Hyperparameter()
    nesterov = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = DEFAULT_LEARNING_RATE_SGD,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.momentum_buffers: list[Any]
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
        if any(group["nesterov"] and group["momentum"] == 0 for group in self.param_groups):
            raise ValueError("SGD: nesterov looks ahead along the momentum, so momentum must be above 0")

    def _make_buffers(self, i: int) -> None:
        if self.param_groups[self._group_of[i]]["momentum"] > 0:
            super()._make_buffers(i)

    def _update(
        self, members: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int, **options: Any
    ) -> None:
        buffers = [self.momentum_buffers[i] for i in members] if options["momentum"] > 0 else None
        kernels.sgd_step(params, grads, buffers, **options)

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

    `weight_decay` is added to the gradient, as in PyTorch; `AdamW` keeps it apart. A group may have its own
    ``betas``.
    """

    hyperparameters = ("lr", "beta1", "beta2", "eps", "weight_decay")
    buffers = ("m_buffers", "v_buffers")
    beta1 = Hyperparameter()
    beta2 = Hyperparameter()
    eps = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = DEFAULT_LEARNING_RATE_ADAM,
        betas: tuple[float, float] = (DEFAULT_BETA1, DEFAULT_BETA2),
        eps: float = DEFAULT_EPS,
        weight_decay: float = 0.0,
    ) -> None:
        self.m_buffers: list[Any]
        self.v_buffers: list[Any]
        if not isinstance(betas, Sequence) or len(betas) != 2:
            raise ValueError(f"{type(self).__name__}: betas are two, (beta1, beta2), not {betas!r}")
        beta1, beta2 = betas
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    _kernel = staticmethod(kernels.adam_step)

    def _update(
        self, members: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int, **options: Any
    ) -> None:
        m, v = [self.m_buffers[i] for i in members], [self.v_buffers[i] for i in members]
        self._kernel(params, grads, m, v, step=step, **options)


class AdamW(Adam):
    """Adam with weight decay applied to the parameters themselves. Source: Loshchilov and Hutter 2019."""

    _kernel = staticmethod(kernels.adamw_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = DEFAULT_LEARNING_RATE_ADAM,
        betas: tuple[float, float] = (DEFAULT_BETA1, DEFAULT_BETA2),
        eps: float = DEFAULT_EPS,
        weight_decay: float = DEFAULT_WEIGHT_DECAY_ADAMW,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """Steps scaled by a running mean of the gradient's square, in PyTorch's form.

    Source: Tieleman and Hinton 2012, lecture 6.5 of *Neural Networks for Machine Learning*.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr, alpha, eps, weight_decay, momentum : float
        `alpha` is the share of the running mean that is kept.
    centered : bool
        Whether to subtract the square of the gradient's running mean (Graves 2013).
    """

    hyperparameters = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")
    buffers = ("square_buffers", "mean_buffers", "momentum_buffers")
    alpha = Hyperparameter()
    eps = Hyperparameter()
    weight_decay = Hyperparameter()
    momentum = Hyperparameter()
    centered = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.square_buffers: list[Any]
        self.mean_buffers: list[Any]
        self.momentum_buffers: list[Any]
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def _update(
        self, members: list[int], params: list[np.ndarray], grads: list[np.ndarray], step: int, **options: Any
    ) -> None:
        lr, alpha, momentum = options["lr"], options["alpha"], options["momentum"]
        for i, p, g in zip(members, params, grads, strict=True):
            square, mean, v = self.square_buffers[i], self.mean_buffers[i], self.momentum_buffers[i]
            g = g + options["weight_decay"] * p
            square += (1 - alpha) * (g * g - square)
            variance = square
            if options["centered"]:
                mean += (1 - alpha) * (g - mean)
                variance = square - mean * mean
            v *= momentum
            v += g / (np.sqrt(variance) + options["eps"])
            p -= lr * v


def _check_groups(name: str, params: Any, hyperparameters: tuple[str, ...]) -> list[dict[str, Any]]:
    """Groups as dicts: a list of tensors as ``params``, and the hyperparameters that were given."""
    if isinstance(params, Iterable) and not isinstance(params, Tensor):
        params = list(params)
        if any(isinstance(group, Mapping) for group in params):
            groups = [
                _check_group(f"{name}: group {i}", params[i], hyperparameters) for i in range(len(params))
            ]
            _check_once(name, [parameter for group in groups for parameter in group["params"]])
            return groups
    return [{"params": _check_params(name, params)}]


def _check_group(name: str, group: Any, hyperparameters: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(group, Mapping) or "params" not in group:
        raise TypeError(f"{name} is no dict with 'params'; give all tensors in groups, or none")
    group = dict(group)
    if "betas" in group:
        group["beta1"], group["beta2"] = group.pop("betas")
    if unknown := sorted(group.keys() - {"params", *hyperparameters}):
        raise ValueError(f"{name} has unknown {', '.join(unknown)}; it may have {', '.join(hyperparameters)}")
    group["params"] = _check_params(name, group["params"])
    return group


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
    _check_once(name, params)
    return params


def _check_once(name: str, params: list[Tensor]) -> None:
    if len({id(parameter) for parameter in params}) != len(params):
        raise ValueError(f"{name}: a parameter appears twice, and would be updated twice in each step")


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
