"""The door to the kernels: a typed function for each, on NumPy arrays.

Arrays are row-major and float32 unless a function says otherwise; integers and booleans become
float32, and float64 is computed by NumPy. ``use`` puts a function of your own in the place of
any kernel, and everything that is made of that kernel runs on it.
"""

from . import lessons, reference
from ._registry import use
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
from .attention import attention, attention_backward, attention_cached, attention_decode
from .cache import KVCache
from .conv import conv2d, conv2d_backward
from .decoder import DecoderBlock, decode_blocks
from .dynamic_int8 import linear_int8_dynamic
from .int4 import PackedInt4, linear_int4, pack_int4
from .int8 import PackedInt8, conv2d_int8, linear_int8, matmul_int8, pack_int8
from .loss import cross_entropy, cross_entropy_backward
from .matmul import PackedMatrix, linear, matmul, pack
from .norm import (
    batch_norm2d,
    batch_norm2d_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from .optimizer import adam_step, adamw_step, sgd_step
from .pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_with_places,
)
from .quantize import dequantize, quantize
from .runtime import cpu_info, empty, get_num_threads, run_fma, run_read, set_num_threads
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from .sparse import SparseMatrix, sparse_conv2d, sparse_linear, sparse_matmul
from .sum_int8 import add_int8

__all__ = [
    "DecoderBlock",
    "KVCache",
    "PackedInt4",
    "PackedInt8",
    "PackedMatrix",
    "SparseMatrix",
    "adam_step",
    "adamw_step",
    "add_int8",
    "attention",
    "attention_backward",
    "attention_cached",
    "attention_decode",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm2d",
    "batch_norm2d_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_int8",
    "cpu_info",
    "cross_entropy",
    "cross_entropy_backward",
    "decode_blocks",
    "dequantize",
    "empty",
    "gelu",
    "gelu_backward",
    "get_num_threads",
    "layer_norm",
    "layer_norm_backward",
    "lessons",
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
    "max_pool2d_with_places",
    "pack",
    "pack_int4",
    "pack_int8",
    "quantize",
    "reference",
    "relu",
    "relu_backward",
    "rms_norm",
    "rms_norm_backward",
    "run_fma",
    "run_read",
    "set_num_threads",
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
    "use",
]
