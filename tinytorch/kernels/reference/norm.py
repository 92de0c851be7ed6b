"""Layer, RMS and batch normalisation."""

import numpy as np


def _centred(x, axis, eps):
    """x minus its mean, and 1 / standard deviation (biased, eps inside the root)."""
    centred = x - x.mean(axis=axis, keepdims=True)
    variance = (centred * centred).mean(axis=axis, keepdims=True)
    return centred, 1 / np.sqrt(variance + x.dtype.type(eps))


def _normalised_backward(dxhat, xhat, inv_std, axis):
    """The gradient through (x - mean) * inv_std, where both depend on x."""
    mean = dxhat.mean(axis=axis, keepdims=True)
    along = (dxhat * xhat).mean(axis=axis, keepdims=True)
    return inv_std * (dxhat - mean - xhat * along)


def _over_rows(x):
    """The sum over all axes but the last."""
    return x.reshape(-1, x.shape[-1]).sum(axis=0) if x.size else np.zeros(x.shape[-1], x.dtype)


@np.errstate(all="ignore")
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """Zero mean, unit variance along the last axis (Ba, Kiros and Hinton 2016)."""
    centred, inv_std = _centred(x, -1, eps)
    y = centred * inv_std
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@np.errstate(all="ignore")
def layer_norm_backward(dy, x, weight=None, eps=1e-5):
    """-> dx, dweight (None without weight), dbias."""
    centred, inv_std = _centred(x, -1, eps)
    xhat = centred * inv_std
    dxhat = dy if weight is None else dy * weight
    dx = _normalised_backward(dxhat, xhat, inv_std, -1)
    return dx, None if weight is None else _over_rows(dy * xhat), _over_rows(dy)


def _inv_rms(x, eps):
    return 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(eps))


@np.errstate(all="ignore")
def rms_norm(x, weight=None, eps=1e-5):
    """Unit mean square along the last axis (Zhang and Sennrich 2019)."""
    y = x * _inv_rms(x, eps)
    return y if weight is None else y * weight


@np.errstate(all="ignore")
def rms_norm_backward(dy, x, weight=None, eps=1e-5):
    """-> dx, dweight (None without weight)."""
    inv_rms = _inv_rms(x, eps)
    xhat = x * inv_rms
    dxhat = dy if weight is None else dy * weight
    dx = inv_rms * (dxhat - xhat * (dxhat * xhat).mean(axis=-1, keepdims=True))
    return dx, None if weight is None else _over_rows(dy * xhat)


_PIXELS = (0, 2, 3)


@np.errstate(all="ignore")
def batch_norm2d(x, weight, bias, running_mean, running_var, training=False, momentum=0.1, eps=1e-5):
    """Per-channel normalisation (Ioffe and Szegedy 2015); training updates the running pair."""
    if training:
        centred, inv_std = _centred(x, _PIXELS, eps)
        count = x.size // x.shape[1]
        variance = (centred * centred).sum(axis=_PIXELS) / (count - 1)
        running_mean += momentum * (x.mean(axis=_PIXELS) - running_mean)
        running_var += momentum * (variance - running_var)
    else:
        centred = x - running_mean[:, None, None]
        inv_std = 1 / np.sqrt(running_var + x.dtype.type(eps))[:, None, None]
    return centred * inv_std * weight[:, None, None] + bias[:, None, None]


@np.errstate(all="ignore")
def batch_norm2d_backward(dy, x, weight, running_mean, running_var, training=True, eps=1e-5):
    """-> dx, dweight, dbias; training differentiates through the batch's own statistics."""
    dxhat = dy * weight[:, None, None]
    if training:
        centred, inv_std = _centred(x, _PIXELS, eps)
        xhat = centred * inv_std
        dx = _normalised_backward(dxhat, xhat, inv_std, _PIXELS)
    else:
        inv_std = 1 / np.sqrt(running_var + x.dtype.type(eps))[:, None, None]
        xhat = (x - running_mean[:, None, None]) * inv_std
        dx = dxhat * inv_std
    return dx, (dy * xhat).sum(axis=_PIXELS), dy.sum(axis=_PIXELS)
