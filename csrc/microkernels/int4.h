#ifndef TT_INT4_KERNELS_H
#define TT_INT4_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int placeholder;
} tt_int4_kernels;

extern const tt_int4_kernels tt_int4_scalar, tt_int4_avx2, tt_int4_avx512, tt_int4_neon;

#endif
