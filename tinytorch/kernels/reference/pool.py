"""Max and average pooling over windows."""

import numpy as np

from .conv import crop2d, pad2d, scatter_windows, windows


def max_pool2d(x, kernel, stride, padding):
    """x (N, C, H, W) -> (N, C, OH, OW); padding counts as -inf, NaN wins."""
    return windows(pad2d(x, padding, -np.inf), kernel, stride).max(axis=(4, 5))


def max_pool2d_backward(dy, x, kernel, stride, padding):
    """The first maximum of each window, in row-major order, takes its whole gradient."""
    padded = pad2d(x, padding, -np.inf)
    inside = pad2d(np.ones(x.shape, bool), padding, False)
    view = windows(padded, kernel, stride)
    largest = view.max(axis=(4, 5), keepdims=True)
    hit = ((view == largest) | np.isnan(view)) & windows(inside, kernel, stride)
    taps = kernel[0] * kernel[1]
    first = hit.reshape(*dy.shape, taps).argmax(axis=-1)
    dwindows = np.where(first[..., None] == np.arange(taps), dy[..., None], dy.dtype.type(0))
    dpadded = scatter_windows(dwindows.reshape(view.shape), padded.shape, stride)
    return np.ascontiguousarray(crop2d(dpadded, padding))


def avg_pool2d(x, kernel, stride, padding):
    """x (N, C, H, W) -> (N, C, OH, OW); padding counts as 0 and in the divisor."""
    return windows(pad2d(x, padding), kernel, stride).mean(axis=(4, 5), dtype=x.dtype)


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding):
    """Each window hands the same share of its gradient to each of its elements."""
    kh, kw = kernel
    n, c, h, w = x_shape
    share = (dy / (kh * kw)).astype(dy.dtype)
    dwindows = np.broadcast_to(share[..., None, None], (*dy.shape, kh, kw))
    dpadded = scatter_windows(dwindows, (n, c, h + 2 * padding[0], w + 2 * padding[1]), stride)
    return np.ascontiguousarray(crop2d(dpadded, padding))
