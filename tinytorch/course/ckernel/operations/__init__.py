"""The operations that a cell of C can implement, a file for each."""

from .attention_decode import ATTENTION_DECODE
from .conv2d import CONV2D
from .matmul import MATMUL
from .matmul_int8 import MATMUL_INT8
from .operation import Arguments, Case, Operation
from .sparse_matmul import SPARSE_MATMUL

OPERATIONS = {
    operation.name: operation for operation in (MATMUL, CONV2D, MATMUL_INT8, SPARSE_MATMUL, ATTENTION_DECODE)
}

__all__ = ["OPERATIONS", "Arguments", "Case", "Operation"]
