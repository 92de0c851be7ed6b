"""Optimizer steps: every parameter of a model, updated in place."""

import math

import numpy as np


def sgd_step(params, grads, momentum_buffers=None, lr=0.01, momentum=0.0, weight_decay=0.0, nesterov=False):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, PyTorch's form)."""
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        step = g + weight_decay * p
        if momentum_buffers is not None:
            b = momentum_buffers[i]
            b *= momentum
            b += step
            step = step + momentum * b if nesterov else b
        p -= lr * step


def adam_step(
    params, grads, m, v, step, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
    decoupled=False,
):  # fmt: skip
    """Adam (Kingma and Ba 2015); decoupled decay shrinks the parameter, not the gradient."""
    correction1 = 1 - beta1**step
    correction2 = math.sqrt(1 - beta2**step)
    for p, g, mean, square in zip(params, grads, m, v, strict=True):
        if decoupled:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
        mean *= beta1
        mean += (1 - beta1) * g
        square *= beta2
        square += (1 - beta2) * g * g
        p -= lr / correction1 * mean / (np.sqrt(square) / correction2 + eps)


def adamw_step(params, grads, m, v, step, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    """AdamW (Loshchilov and Hutter 2019)."""
    adam_step(params, grads, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled=True)
