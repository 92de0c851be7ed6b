"""Convolution as a matrix product: each window of the image becomes one column."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .activation import activate


def pad2d(x, padding, value=0):
    """x (N, C, H, W) with a border of (ph, pw) elements."""
    ph, pw = padding
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=value)


def windows(x, kernel, stride, dilation=(1, 1)):
    """A view (N, C, OH, OW, kh, kw) of every window of x (N, C, H, W)."""
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = sliding_window_view(x, span, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def scatter_windows(dwindows, shape, stride, dilation=(1, 1)):
    """The reverse of windows: adds (N, C, OH, OW, kh, kw) into an array (N, C, H, W)."""
    _, _, oh, ow, kh, kw = dwindows.shape
    dx = np.zeros(shape, dwindows.dtype)
    for r in range(kh):
        for s in range(kw):
            rows = slice(r * dilation[0], r * dilation[0] + oh * stride[0], stride[0])
            cols = slice(s * dilation[1], s * dilation[1] + ow * stride[1], stride[1])
            dx[:, :, rows, cols] += dwindows[..., r, s]
    return dx


def crop2d(x, padding):
    """x without the border that pad2d added."""
    ph, pw = padding
    return x[:, :, ph : x.shape[2] - ph, pw : x.shape[3] - pw]


def columns(x, kernel, stride, padding, dilation, groups, value=0):
    """im2col: (groups, C/groups * kh * kw, N * OH * OW), and the output size (OH, OW)."""
    view = windows(pad2d(x, padding, value), kernel, stride, dilation)
    n, c, oh, ow, kh, kw = view.shape
    i = c // groups
    view = view.reshape(n, groups, i, oh, ow, kh, kw).transpose(1, 2, 5, 6, 0, 3, 4)
    return view.reshape(groups, i * kh * kw, n * oh * ow), (oh, ow)


def conv2d(
    x, w, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation=None,
    *, matmul=np.matmul,
):  # fmt: skip
    """x (N, C, H, W), w (O, C/groups, kh, kw), bias (O,) -> (N, O, OH, OW)."""
    n, o = x.shape[0], w.shape[0]
    cols, (oh, ow) = columns(x, w.shape[2:], stride, padding, dilation, groups)
    y = matmul(w.reshape(groups, o // groups, cols.shape[1]), cols)
    y = y.reshape(o, n, oh, ow).transpose(1, 0, 2, 3)
    if bias is not None:
        y = y + bias[:, None, None]
    return np.ascontiguousarray(activate(y, activation))


def conv2d_backward(
    dy, x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1,
    output_mask=(True, True, True), *, matmul=np.matmul,
):  # fmt: skip
    """dy (N, O, OH, OW) -> (dx, dw, db), each None where output_mask says so."""
    n, o, oh, ow = dy.shape
    kernel = w.shape[2:]
    taps = w.shape[1] * kernel[0] * kernel[1]
    dy_rows = dy.transpose(1, 0, 2, 3).reshape(groups, o // groups, n * oh * ow)
    dx = dw = db = None
    if output_mask[0]:
        w_columns = w.reshape(groups, o // groups, taps).swapaxes(1, 2)
        dcols = matmul(w_columns, dy_rows).reshape(x.shape[1], *kernel, n, oh, ow)
        padded = (n, x.shape[1], x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1])
        dpadded = scatter_windows(dcols.transpose(3, 0, 4, 5, 1, 2), padded, stride, dilation)
        dx = np.ascontiguousarray(crop2d(dpadded, padding))
    if output_mask[1]:
        cols, _ = columns(x, kernel, stride, padding, dilation, groups)
        dw = matmul(dy_rows, cols.swapaxes(1, 2)).reshape(w.shape)
    if output_mask[2]:
        db = dy.sum(axis=(0, 2, 3))
    return dx, dw, db
