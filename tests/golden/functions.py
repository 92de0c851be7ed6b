"""Activations, layers and losses, with the gradients of their weights."""

import numpy as np

from . import _case
from ._case import EDGES, Case

ACTIVATIONS = {
    "relu": lambda t, x: t.nn.functional.relu(x),
    "leaky_relu": lambda t, x: t.nn.functional.leaky_relu(x, 0.2),
    "elu": lambda t, x: t.nn.functional.elu(x, 0.7),
    "sigmoid": lambda t, x: t.nn.functional.sigmoid(3 * x),
    "tanh": lambda t, x: t.nn.functional.tanh(x),
    "silu": lambda t, x: t.nn.functional.silu(x),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "gelu_tanh": lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
}
ALONG_AN_AXIS = {
    "softmax": lambda t, x: t.nn.functional.softmax(x, -1),
    "softmax_first": lambda t, x: t.nn.functional.softmax(x, 0),
    "softmax_middle": lambda t, x: t.nn.functional.softmax(x, 1),
    "softmax_large": lambda t, x: t.nn.functional.softmax(100 * x + 1000, -1),
    "log_softmax": lambda t, x: t.nn.functional.log_softmax(x, -1),
    "log_softmax_first": lambda t, x: t.nn.functional.log_softmax(x, dim=0),
    "log_softmax_large": lambda t, x: t.nn.functional.log_softmax(100 * x, -1),
}
FINITE = EDGES[1:-1]
X, LABELS = (6, 5), np.array([1, 0, 4, 2, 2, 3])


def layer(name, *sizes, **options):
    """Our layer of this name, its weights replaced by the tensors that the case gives."""

    def expression(t, x, *weights):
        module = getattr(t.nn, name)(*sizes, **options)
        for (attribute, _), weight in zip(list(module.named_parameters()), weights, strict=True):
            setattr(module, attribute, weight)
        return module(x)

    return expression


def loss(name, **options):
    """A loss that both libraries have in nn.functional."""
    return lambda t, x, target: getattr(t.nn.functional, name)(x, target, **options)


def distribution(t, logits):
    return t.nn.functional.softmax(logits, -1).detach()


CASES = {
    **{name: Case(expression, ((3, 7),)) for name, expression in ACTIVATIONS.items()},
    **{name: Case(expression, ((2, 5, 3),)) for name, expression in ALONG_AN_AXIS.items()},
    **{
        f"{name}_edges": Case(expression, (FINITE,))
        for name, expression in ACTIVATIONS.items()
        if name != "gelu_tanh"  # PyTorch's cube of 1e30 is infinite, and its gradient then NaN
    },
    **{f"{name}_edges": Case(loss(f"{name}_loss"), (FINITE, FINITE[::-1])) for name in ("l1", "huber")},
    "gelu_sigmoid": Case(
        lambda t, x: t.nn.functional.gelu(x, approximate="sigmoid"), ((3, 7),),
        lambda t, x: x * t.sigmoid(1.702 * x),
    ),
    "linear": Case(
        layer("Linear", 4, 3), ((2, 4), (4, 3), (3,)), lambda t, x, w, b: t.nn.functional.linear(x, w.T, b)
    ),
    "linear_rows": Case(
        layer("Linear", 4, 3), ((2, 5, 4), (4, 3), (3,)), lambda t, x, w, b: t.nn.functional.linear(x, w.T, b)
    ),
    "linear_vector": Case(
        layer("Linear", 4, 3, bias=False), ((4,), (4, 3)), lambda t, x, w: t.nn.functional.linear(x, w.T)
    ),
    "layer_norm": Case(
        layer("LayerNorm", 6), ((2, 3, 6), (6,), (6,)),
        lambda t, x, w, b: t.nn.functional.layer_norm(x, (6,), w, b),
    ),
    "layer_norm_eps": Case(
        layer("LayerNorm", 6, eps=0.5), ((4, 6), (6,), (6,)),
        lambda t, x, w, b: t.nn.functional.layer_norm(x, (6,), w, b, eps=0.5),
    ),
    "rms_norm": Case(
        layer("RMSNorm", 6), ((2, 3, 6), (6,)), lambda t, x, w: t.nn.functional.rms_norm(x, (6,), w, eps=1e-5)
    ),
    "batch_norm": Case(
        layer("BatchNorm2d", 3), ((4, 3, 2, 5), (3,), (3,)),
        lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, training=True),
    ),
    "embedding": Case(
        lambda t, w, ids: layer("Embedding", 5, 4)(t, ids, w), ((5, 4), np.array([[0, 3, 3], [4, 0, 3]])),
        lambda t, w, ids: t.nn.functional.embedding(ids, w),
    ),
    "flatten_layer": Case(layer("Flatten"), ((2, 3, 4),), lambda t, x: x.flatten(1)),
    "mse": Case(loss("mse_loss"), (X, X)),
    "l1": Case(loss("l1_loss"), (X, X)),
    "huber": Case(loss("huber_loss"), (X, X)),
    "huber_narrow": Case(loss("huber_loss", delta=0.3), (X, X)),
    "bce": Case(loss("binary_cross_entropy"), (X, X), draw="share"),
    "bce_hard": Case(loss("binary_cross_entropy"), ((5,), np.array([0.0, 1, 1, 0, 1])), draw="share"),
    "bce_logits": Case(
        lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(20 * x, y), (X, X), draw="share"
    ),
    "cross_entropy": Case(loss("cross_entropy"), (X, LABELS)),
    "cross_entropy_large": Case(lambda t, x, y: t.nn.functional.cross_entropy(90 * x, y), (X, LABELS)),
    "cross_entropy_smooth": Case(loss("cross_entropy", label_smoothing=0.1), (X, LABELS)),
    "cross_entropy_ignoring": Case(loss("cross_entropy", ignore_index=2), (X, LABELS)),
    "cross_entropy_both": Case(loss("cross_entropy", ignore_index=2, label_smoothing=0.3), (X, LABELS)),
    "cross_entropy_of_probabilities": Case(
        lambda t, x, z: t.nn.functional.cross_entropy(x, distribution(t, z)), (X, X)
    ),
    "cross_entropy_of_smooth_probabilities": Case(
        lambda t, x, z: t.nn.functional.cross_entropy(x, distribution(t, z), label_smoothing=0.2), (X, X)
    ),
    "classifier": Case(
        lambda t, x, w, b, y: t.nn.functional.cross_entropy((x @ w + b).tanh() @ w.transpose(0, 1), y),
        (X, (5, 3), (3,), LABELS),
    ),
}  # fmt: skip


def make():
    return _case.make(CASES)
