#ifndef TT_SPARSE_KERNELS_H
#define TT_SPARSE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int placeholder;
} tt_sparse_kernels;

extern const tt_sparse_kernels tt_sparse_scalar, tt_sparse_avx2, tt_sparse_avx512, tt_sparse_neon;

#endif
