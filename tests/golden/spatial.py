"""Convolution, pooling and batch normalisation: the cases, and PyTorch's values and gradients for them."""

import numpy as np

IMAGES = (2, 4, 7, 6)

# Function of nn.functional, shapes of its tensors, options. PyTorch's functions take the same.
CASES = {
    "conv": ("conv2d", [IMAGES, (3, 4, 3, 3), (3,)], {}),
    "conv_strided": ("conv2d", [IMAGES, (3, 4, 3, 2), (3,)], dict(stride=(2, 1), padding=(1, 0))),
    "conv_dilated": ("conv2d", [IMAGES, (3, 4, 2, 3), (3,)], dict(dilation=(3, 2), padding=2)),
    "conv_grouped": ("conv2d", [IMAGES, (6, 2, 3, 3), (6,)], dict(groups=2, stride=2, padding=1)),
    "conv_depthwise": ("conv2d", [IMAGES, (4, 1, 3, 3), (4,)], dict(groups=4, padding=1)),
    "conv_multiplied": ("conv2d", [IMAGES, (8, 1, 3, 3)], dict(groups=4, dilation=2, stride=(1, 2))),
    "conv_pointwise": ("conv2d", [IMAGES, (5, 4, 1, 1)], dict(stride=2)),
    "conv_same": ("conv2d", [IMAGES, (3, 4, 3, 5), (3,)], dict(padding="same")),
    "conv_same_even": ("conv2d", [IMAGES, (3, 4, 2, 4), (3,)], dict(padding="same", dilation=(1, 3))),
    "conv_valid": ("conv2d", [IMAGES, (3, 4, 2, 2), (3,)], dict(padding="valid", stride=2)),
    "max": ("max_pool2d", [IMAGES], dict(kernel_size=2)),
    "max_overlapping": ("max_pool2d", [IMAGES], dict(kernel_size=3, stride=1, padding=1)),
    "max_odd": ("max_pool2d", [IMAGES], dict(kernel_size=(3, 2), stride=(2, 3), padding=(1, 0))),
    "max_dilated": ("max_pool2d", [IMAGES], dict(kernel_size=(2, 3), stride=2, padding=1, dilation=2)),
    "max_ceil": ("max_pool2d", [IMAGES], dict(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
    "max_ceil_wide": ("max_pool2d", [IMAGES], dict(kernel_size=2, stride=4, ceil_mode=True)),
    "avg": ("avg_pool2d", [IMAGES], dict(kernel_size=2)),
    "avg_padded": ("avg_pool2d", [IMAGES], dict(kernel_size=3, stride=2, padding=1)),
    "avg_inside": ("avg_pool2d", [IMAGES], dict(kernel_size=3, padding=1, count_include_pad=False)),
    "avg_ceil": ("avg_pool2d", [IMAGES], dict(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
    "avg_ceil_inside": (
        "avg_pool2d",
        [IMAGES],
        dict(kernel_size=(3, 4), stride=(3, 3), padding=(1, 2), ceil_mode=True, count_include_pad=False),
    ),
    "global_avg": ("adaptive_avg_pool2d", [IMAGES], dict(output_size=1)),
    "global_max": ("adaptive_max_pool2d", [IMAGES], dict(output_size=1)),
    "adaptive_avg_even": ("adaptive_avg_pool2d", [IMAGES], dict(output_size=(7, 3))),
    "adaptive_avg": ("adaptive_avg_pool2d", [IMAGES], dict(output_size=(3, 4))),
    "adaptive_avg_larger": ("adaptive_avg_pool2d", [IMAGES], dict(output_size=(9, None))),
    "adaptive_max": ("adaptive_max_pool2d", [IMAGES], dict(output_size=(3, 4))),
    "adaptive_max_larger": ("adaptive_max_pool2d", [IMAGES], dict(output_size=(None, 8))),
    "norm": ("batch_norm", [IMAGES, (4,), (4,)], dict(training=True)),
    "norm_eval": ("batch_norm", [IMAGES, (4,), (4,)], dict(eps=1e-3)),
    "norm_plain": ("batch_norm", [IMAGES], dict(training=True, momentum=0.3)),
}


def inputs(shapes, seed=0):
    """Random arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def run(F, tensor, name, arrays, options):
    """The result, the gradient of each input for a fixed random gradient of the result, and what changed."""
    tensors = [tensor(array) for array in arrays]
    kept = []
    if name == "batch_norm":
        channels = arrays[0].shape[1]
        kept = [np.linspace(-1, 1, channels, dtype=np.float32), np.linspace(1, 2, channels, dtype=np.float32)]
        kept = [tensor(array).detach() for array in kept]
        y = F.batch_norm(tensors[0], *kept, *tensors[1:], **options)
    else:
        y = getattr(F, name)(*tensors, **options)
    gradient = np.random.default_rng(1).standard_normal(tuple(y.shape)).astype(np.float32)
    y.backward(tensor(gradient).detach())
    result = {"y": y.detach(), **{f"grad{i}": t.grad for i, t in enumerate(tensors)}}
    return {name: np.asarray(value) for name, value in result.items()} | {
        f"kept{i}": np.asarray(value) for i, value in enumerate(kept)
    }


def make():
    import torch

    def tensor(array):
        return torch.tensor(array, requires_grad=True)

    return {
        f"{case}/{key}": value
        for case, (name, shapes, options) in CASES.items()
        for key, value in run(torch.nn.functional, tensor, name, inputs(shapes), options).items()
    }
