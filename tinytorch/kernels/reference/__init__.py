"""Every kernel in a few lines of NumPy: what the fast kernels have to agree with.

These functions are generic over the dtype and do not check their arguments; the functions of
``tinytorch.kernels`` do. They serve three purposes: they compute float64 inputs (which
gradient checks need), they stand in for a fused kernel while the primitive it is made of is
replaced (``kernels.use(matmul=mine)``), and they are the oracle of the tests.

A composite takes its primitive as the keyword ``matmul`` (or ``matmul_int8``), which multiplies
stacks of matrices as ``np.matmul`` does. Where the public function takes packed weights, the
reference takes the weights themselves. ``__all__`` names every kernel that can be replaced.
"""

from .activation import (
    gelu,
    gelu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from .attention import attention, attention_backward, attention_decode, decode_blocks
from .conv import conv2d, conv2d_backward
from .loss import cross_entropy, cross_entropy_backward
from .matmul import linear, matmul
from .norm import (
    batch_norm2d,
    batch_norm2d_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from .optimizer import adam_step, adamw_step, sgd_step
from .pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from .quantize import (
    add_int8,
    conv2d_int8,
    dequantize,
    linear_int4,
    linear_int8,
    linear_int8_dynamic,
    matmul_int8,
    quantize,
)
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from .sparse import sparse_conv2d, sparse_linear, sparse_matmul

__all__ = [
    "adam_step",
    "adamw_step",
    "add_int8",
    "attention",
    "attention_backward",
    "attention_decode",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm2d",
    "batch_norm2d_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_int8",
    "cross_entropy",
    "cross_entropy_backward",
    "decode_blocks",
    "dequantize",
    "gelu",
    "gelu_backward",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_int4",
    "linear_int8",
    "linear_int8_dynamic",
    "log_softmax",
    "log_softmax_backward",
    "matmul",
    "matmul_int8",
    "max_pool2d",
    "max_pool2d_backward",
    "quantize",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "sgd_step",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "sparse_conv2d",
    "sparse_linear",
    "sparse_matmul",
    "tanh",
    "tanh_backward",
]
