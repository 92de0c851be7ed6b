#ifndef TT_INT8_KERNELS_H
#define TT_INT8_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int placeholder;
} tt_int8_kernels;

extern const tt_int8_kernels tt_int8_scalar, tt_int8_avx2, tt_int8_avx512, tt_int8_vnni, tt_int8_neon, tt_int8_neondot;

#endif
