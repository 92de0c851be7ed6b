#ifndef TT_ATTENTION_KERNELS_H
#define TT_ATTENTION_KERNELS_H

#include "microkernels/transpose.h"

typedef struct {
    tt_transpose_function *transpose;
} tt_attention_kernels;

extern const tt_attention_kernels tt_attention_scalar, tt_attention_avx2, tt_attention_avx512, tt_attention_neon;

#endif
