"""Optimizer steps: one call updates every parameter of a model, in place."""

from typing import Any

import numpy as np

from ._checks import as_int, as_number, lined_up
from ._registry import _C, REFUSED, alternative, replacements

__all__ = ["adam_step", "adamw_step", "sgd_step"]

Arrays = list[np.ndarray]


def _checked(kernel: str, params: Any, **others: Any) -> tuple[list[Arrays], bool]:
    """All lists with their arrays checked against params, and whether they are float64."""
    lists = {"params": list(params), **{name: list(arrays) for name, arrays in others.items()}}
    for name, arrays in lists.items():
        if len(arrays) != len(lists["params"]):
            raise ValueError(f"{kernel}: {name} has {len(arrays)} arrays for {len(lists['params'])} params")
    for i, p in enumerate(lists["params"]):
        for name, arrays in lists.items():
            _check_array(kernel, f"{name}[{i}]", arrays[i], name != "grads")
            if arrays[i].shape != p.shape:
                raise ValueError(
                    f"{kernel}: {name}[{i}] must have the shape of params[{i}]\n"
                    + lined_up(**{f"params[{i}]": p, f"{name}[{i}]": arrays[i]})
                )
    dtypes = {array.dtype for arrays in lists.values() for array in arrays}
    if len(dtypes) > 1:
        raise TypeError(f"{kernel}: all arrays must be float32 or all float64, and are mixed")
    values = list(lists.values())
    double = np.dtype(np.float64) in dtypes
    if not double:
        values[1] = [_C.as_float32(g) for g in values[1]]
    return values, double


def _check_array(kernel: str, name: str, x: Any, updated: bool) -> None:
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{kernel}: {name} must be a float32 array, got {found}")
    if updated and not (x.flags.c_contiguous and x.flags.aligned and x.flags.writeable):
        raise ValueError(f"{kernel}: {name} is updated in place and must be a writable, C-contiguous array")


def sgd_step(
    params: Arrays,
    grads: Arrays,
    momentum_buffers: Arrays | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of stochastic gradient descent on all parameters, in place.

    Parameters
    ----------
    params, grads : list of array
        Pairs of one shape; float32 (all float64 runs on NumPy).
    momentum_buffers : list of array, optional
        Needed when momentum is not 0; zeros at first, then updated in place.
    lr : float
        Learning rate, at least 0.
    momentum : float
        In 0 ... 1: b = momentum * b + g, p -= lr * b.
    weight_decay : float
        Added to the gradient as weight_decay * p.
    nesterov : bool
        Step along g + momentum * b instead.

    Raises
    ------
    ValueError
        When lists or shapes do not match, a rate is out of range, or momentum has no buffers.
    TypeError
        When an array is neither float32 nor float64.

    Notes
    -----
    Sutskever et al., "On the importance of initialization and momentum" (2013), in PyTorch's form.
    """
    kernel = "sgd_step"
    lr = as_number(kernel, "lr", lr, 0)
    momentum = as_number(kernel, "momentum", momentum, 0, 1)
    weight_decay = as_number(kernel, "weight_decay", weight_decay, 0)
    if momentum and momentum_buffers is None:
        raise ValueError(f"{kernel}: momentum={momentum:g} needs momentum_buffers, zeros at first")
    if nesterov and not momentum:
        raise ValueError(f"{kernel}: nesterov=True needs a momentum above 0")
    if not replacements():
        try:
            buffers = momentum_buffers if momentum else None
            return _C.sgd_step(params, grads, buffers, lr, momentum, weight_decay, bool(nesterov))
        except REFUSED:
            pass
    state = {"momentum_buffers": momentum_buffers} if momentum else {}
    lists, double = _checked(kernel, params, grads=grads, **state)
    buffers = lists[2] if momentum else None
    run = alternative(kernel, double) or _C.sgd_step
    run(lists[0], lists[1], buffers, lr, momentum, weight_decay, bool(nesterov))


def _adam(
    kernel: str, params: Any, grads: Any, m: Any, v: Any, step: Any, lr: Any, beta1: Any,
    beta2: Any, eps: Any, weight_decay: Any,
) -> None:  # fmt: skip
    numbers = (
        as_int(kernel, "step", step, 1),
        as_number(kernel, "lr", lr, 0),
        as_number(kernel, "beta1", beta1, 0, 1, below=True),
        as_number(kernel, "beta2", beta2, 0, 1, below=True),
        as_number(kernel, "eps", eps, 0),
        as_number(kernel, "weight_decay", weight_decay, 0),
    )
    if not replacements():
        try:
            return _C.adam_step(params, grads, m, v, *numbers, kernel == "adamw_step")
        except REFUSED:
            pass
    lists, double = _checked(kernel, params, grads=grads, m=m, v=v)
    other = alternative(kernel, double)
    if other:
        other(*lists, *numbers)
    else:
        _C.adam_step(*lists, *numbers, kernel == "adamw_step")


def adam_step(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    v: Arrays,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """One step of Adam on all parameters, in place.

    Parameters
    ----------
    params, grads : list of array
        Pairs of one shape; float32 (all float64 runs on NumPy).
    m, v : list of array
        Running mean of the gradients and of their squares; zeros at first, updated in place.
    step : int
        Which step this is, from 1; it corrects the bias of m and v towards 0.
    lr : float
        Learning rate, at least 0.
    beta1, beta2 : float
        How much of m and v is kept, each in 0 ... 1 without 1.
    eps : float
        Added to sqrt(v).
    weight_decay : float
        Added to the gradient as weight_decay * p.

    Raises
    ------
    ValueError
        When lists or shapes do not match, or a number is out of range.
    TypeError
        When an array is neither float32 nor float64.

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization" (2015).
    """
    _adam("adam_step", params, grads, m, v, step, lr, beta1, beta2, eps, weight_decay)


def adamw_step(
    params: Arrays,
    grads: Arrays,
    m: Arrays,
    v: Arrays,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """One step of AdamW on all parameters, in place.

    As ``adam_step``, but weight decay shrinks the parameter itself, p *= 1 - lr * weight_decay,
    and does not pass through m and v (Loshchilov and Hutter, "Decoupled weight decay
    regularization", 2019).
    """
    _adam("adamw_step", params, grads, m, v, step, lr, beta1, beta2, eps, weight_decay)
