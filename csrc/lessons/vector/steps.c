/* The vector steps of one CPU level. */
#include "lessons/vector/vector.h"

const tt_lesson_kernels TT_FOR_LEVEL(tt_lesson) = {
    .matmul_vectorised = TT_FOR_LEVEL(tt_matmul_vectorised),
    .matmul_packed = TT_FOR_LEVEL(tt_matmul_packed),
    .matmul_threaded = TT_FOR_LEVEL(tt_matmul_threaded),
    .sparse_matmul_vectorised = TT_FOR_LEVEL(tt_sparse_matmul_vectorised),
    .sparse_matmul_blocks = TT_FOR_LEVEL(tt_sparse_matmul_blocks),
    .conv2d_vectorised = TT_FOR_LEVEL(tt_conv2d_vectorised),
    .conv2d_in_place = TT_FOR_LEVEL(tt_conv2d_in_place),
    .attention_vectorised = TT_FOR_LEVEL(tt_attention_vectorised),
    .flags = TT_LESSON_FLAGS,
};
