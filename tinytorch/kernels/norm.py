"""Layer, RMS and batch normalisation and their gradients."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    as_floats,
    as_number,
    check_ndim,
    check_vector,
    copied_into,
    is_double,
    same_shapes,
)
from ._registry import _C, REFUSED, alternative, replacements

__all__ = [
    "batch_norm2d",
    "batch_norm2d_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]


def _features(kernel: str, x: np.ndarray, **vectors: np.ndarray | None) -> int:
    """The length D of x's last axis, after checking that each vector has one value for each."""
    if x.ndim == 0:
        raise ValueError(f"{kernel}: x is a single number; it needs an axis to normalise along")
    for name, vector in vectors.items():
        check_vector(kernel, name, vector, x.shape[-1], "element of x's last axis")
    return x.shape[-1]


def _gradients(kernel: str, out: np.ndarray | None, gradients: tuple[Any, ...]) -> Any:
    """A kernel's gradients, dx first, with dx where it was asked for."""
    return gradients if out is None else (copied_into(kernel, out, gradients[0]), *gradients[1:])


def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Shift and scale the last axis to mean 0 and variance 1, then apply weight and bias.

    Parameters
    ----------
    x : array, (..., D)
    weight, bias : array, (D,), optional
    eps : float
        Added to the (biased) variance, so at least 0.
    out : array, like x, optional
        Where to write the result; x itself is allowed, other overlaps are copied.

    Returns
    -------
    array, like x
        float32, or float64 when an input is float64. A row that holds NaN or inf gives NaN.

    Raises
    ------
    ValueError
        When weight or bias do not fit the last axis, eps is negative, or out has another shape.

    Notes
    -----
    Ba, Kiros and Hinton, "Layer normalization" (2016).
    """
    eps = as_number("layer_norm", "eps", eps, 0)
    if not replacements():
        try:
            return _C.layer_norm(x, weight, bias, eps, out)
        except REFUSED:
            pass
    x, weight, bias = as_floats("layer_norm", ("weight", "bias"), x=x, weight=weight, bias=bias)
    _features("layer_norm", x, weight=weight, bias=bias)
    other = alternative("layer_norm", is_double(x), x.shape)
    y = other(x, weight, bias, eps) if other else _C.layer_norm(x, weight, bias, eps, None)
    return y if out is None else copied_into("layer_norm", out, y)


def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The gradients of ``layer_norm``.

    Parameters
    ----------
    dy, x : array, (..., D)
        The gradient of the result, and what layer_norm was given.
    weight : array, (D,), optional
    eps : float
    out : array, like x, optional
        Where to write dx; dy or x itself is allowed.

    Returns
    -------
    dx : array, like x
    dweight : array, (D,), or None when weight is None
    dbias : array, (D,)
    """
    kernel = "layer_norm_backward"
    eps = as_number(kernel, "eps", eps, 0)
    if not replacements():
        try:
            return _C.layer_norm_backward(dy, x, weight, eps, out)
        except REFUSED:
            pass
    dy, x, weight = as_floats(kernel, ("weight",), dy=dy, x=x, weight=weight)
    same_shapes(kernel, x=x, dy=dy)
    features = (_features(kernel, x, weight=weight),)
    other = alternative(kernel, is_double(x), x.shape, features, features)
    gradients = other(dy, x, weight, eps) if other else _C.layer_norm_backward(dy, x, weight, eps, None)
    return _gradients(kernel, out, gradients)


def rms_norm(
    x: ArrayLike, weight: ArrayLike | None = None, eps: float = 1e-5, *, out: np.ndarray | None = None
) -> np.ndarray:
    """x / sqrt(mean(x^2) + eps) along the last axis, times weight.

    Parameters
    ----------
    x : array, (..., D)
    weight : array, (D,), optional
    eps : float
        At least 0.
    out : array, like x, optional
        Where to write the result; x itself is allowed, other overlaps are copied.

    Returns
    -------
    array, like x
        A row that holds NaN gives NaN; inf becomes NaN, and the rest of its row 0.

    Notes
    -----
    Zhang and Sennrich, "Root mean square layer normalization" (2019).
    """
    eps = as_number("rms_norm", "eps", eps, 0)
    if not replacements():
        try:
            return _C.rms_norm(x, weight, eps, out)
        except REFUSED:
            pass
    x, weight = as_floats("rms_norm", ("weight",), x=x, weight=weight)
    _features("rms_norm", x, weight=weight)
    other = alternative("rms_norm", is_double(x), x.shape)
    y = other(x, weight, eps) if other else _C.rms_norm(x, weight, eps, None)
    return y if out is None else copied_into("rms_norm", out, y)


def rms_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradients of ``rms_norm``.

    Parameters
    ----------
    dy, x : array, (..., D)
    weight : array, (D,), optional
    eps : float
    out : array, like x, optional
        Where to write dx; dy or x itself is allowed.

    Returns
    -------
    dx : array, like x
    dweight : array, (D,), or None when weight is None
    """
    kernel = "rms_norm_backward"
    eps = as_number(kernel, "eps", eps, 0)
    if not replacements():
        try:
            return _C.rms_norm_backward(dy, x, weight, eps, out)
        except REFUSED:
            pass
    dy, x, weight = as_floats(kernel, ("weight",), dy=dy, x=x, weight=weight)
    same_shapes(kernel, x=x, dy=dy)
    features = (_features(kernel, x, weight=weight),)
    other = alternative(kernel, is_double(x), x.shape, features)
    gradients = other(dy, x, weight, eps) if other else _C.rms_norm_backward(dy, x, weight, eps, None)
    return _gradients(kernel, out, gradients)


def _check_channels(kernel: str, x: np.ndarray, training: bool, **vectors: Any) -> None:
    check_ndim(kernel, "x", x, 4, "(N, C, H, W)")
    for name, vector in vectors.items():
        check_vector(kernel, name, vector, x.shape[1], "channel")
    if training and x.shape[0] * x.shape[2] * x.shape[3] < 2:
        raise ValueError(
            f"{kernel}: training needs at least 2 values in each channel to have a variance, "
            f"and x has shape {x.shape}; use a larger batch, or training=False"
        )


def batch_norm2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Normalise each channel over batch and pixels.

    Parameters
    ----------
    x : array, (N, C, H, W)
    weight, bias : array, (C,)
    running_mean, running_var : array, (C,)
        The statistics used when not training. Training normalises by the batch's own (with the
        biased variance) and updates these two in place, so they must then be writable arrays of
        x's dtype: r += momentum * (batch - r), with the unbiased variance.
    training : bool
    momentum : float
        In 0 ... 1.
    eps : float
        Added to the variance; at least 0.
    out : array, like x, optional
        Where to write the result; x itself is allowed, other overlaps are copied.

    Returns
    -------
    array, like x
        Training, a channel that holds NaN or inf gives NaN.

    Raises
    ------
    ValueError
        When shapes do not fit, or a channel has fewer than two values to train on.
    TypeError
        When the running statistics cannot be updated in place.

    Notes
    -----
    Ioffe and Szegedy, "Batch normalization" (2015).
    """
    kernel = "batch_norm2d"
    momentum = as_number(kernel, "momentum", momentum, 0, 1)
    eps = as_number(kernel, "eps", eps, 0)
    training = bool(training)
    if not replacements():
        try:
            return _C.batch_norm2d(x, weight, bias, running_mean, running_var, training, momentum, eps, out)
        except REFUSED:
            pass
    given = running_mean, running_var
    x, weight, bias, running_mean, running_var = as_floats(
        kernel, x=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var
    )
    _check_channels(
        kernel, x, training,
        weight=weight, bias=bias, running_mean=running_mean, running_var=running_var,
    )  # fmt: skip
    if training:
        names = ("running_mean", "running_var")
        for name, before, after in zip(names, given, (running_mean, running_var), strict=True):
            if before is not after or not after.flags.writeable:
                raise TypeError(
                    f"{kernel}: training updates {name} in place, which needs a writable, "
                    f"contiguous array of {after.dtype}"
                )
    other = alternative(kernel, is_double(x), x.shape)
    arguments = x, weight, bias, running_mean, running_var, training, momentum, eps
    y = other(*arguments) if other else _C.batch_norm2d(*arguments, None)
    return y if out is None else copied_into(kernel, out, y)


def batch_norm2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    *,
    training: bool = True,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of ``batch_norm2d``.

    Parameters
    ----------
    dy, x : array, (N, C, H, W)
    weight, running_mean, running_var : array, (C,)
    training : bool
        Whether the forward pass was training. It then recomputes the batch's statistics from x and
        differentiates through them.
    eps : float
    out : array, like x, optional
        Where to write dx; dy or x itself is allowed.

    Returns
    -------
    dx : array, like x
    dweight, dbias : array, (C,)
    """
    kernel = "batch_norm2d_backward"
    eps = as_number(kernel, "eps", eps, 0)
    training = bool(training)
    if not replacements():
        try:
            return _C.batch_norm2d_backward(dy, x, weight, running_mean, running_var, training, eps, out)
        except REFUSED:
            pass
    dy, x, weight, running_mean, running_var = as_floats(
        kernel, dy=dy, x=x, weight=weight, running_mean=running_mean, running_var=running_var
    )
    _check_channels(kernel, x, training, weight=weight, running_mean=running_mean, running_var=running_var)
    same_shapes(kernel, x=x, dy=dy)
    channels = (x.shape[1],)
    other = alternative(kernel, is_double(x), x.shape, channels, channels)
    arguments = dy, x, weight, running_mean, running_var, training, eps
    gradients = other(*arguments) if other else _C.batch_norm2d_backward(*arguments, None)
    return _gradients(kernel, out, gradients)
