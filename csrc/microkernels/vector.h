/* Elementwise and row-wise kernels over contiguous floats, written over vec.h in vector.c and its siblings. */
#ifndef TT_VECTOR_KERNELS_H
#define TT_VECTOR_KERNELS_H

#include <stddef.h>

typedef struct {
    /* c (m, n) = activation(c + row_bias[:, None] + column_bias[None, :]); either bias may be NULL. */
    void (*bias_activation)(float *c, size_t row_stride, size_t m, size_t n, const float *row_bias,
                            const float *column_bias, int activation);
    double (*run_fma)(size_t iterations);
    float (*run_read)(const float *x, size_t n);
} tt_vector_kernels;

extern const tt_vector_kernels tt_vector_scalar, tt_vector_avx2, tt_vector_avx512, tt_vector_neon;

#endif
