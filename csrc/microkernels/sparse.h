/* Kernels for a sparse matrix in compressed rows of r x 1 blocks: r neighbouring rows share their columns,
 * so what is loaded of x serves r rows of the result.
 *
 *      values (blocks, r)            block row i holds rows i r ... i r + r-1 of w;
 *      indices (blocks)              its blocks are first[i] ... last[i]-1, each with one column index */
#ifndef TT_SPARSE_KERNELS_H
#define TT_SPARSE_KERNELS_H

#include "microkernels/transpose.h"

#include <stdint.h>

typedef struct {
    size_t r, m; /* rows of a block; rows to compute, from the first row of block row 0 on */
    const float *values;
    const void *indices; /* uint16_t, or int32_t when `wide` */
    int wide;
    const int32_t *first, *last;
} tt_block_rows;

typedef struct {
    /* c (m, n) = start + w @ x, where NULL starts from 0 and start may be c. Rows of x can be read up to n
     * rounded up to whole vectors. */
    void (*multiply)(const tt_block_rows *w, const float *x, size_t x_row_stride, size_t n, const float *start,
                     size_t start_row_stride, float *c, size_t c_row_stride);
    /* y (m) = w @ x (k) */
    void (*multiply_vector)(const tt_block_rows *w, const float *x, float *y);
    tt_transpose_function *transpose;
} tt_sparse_kernels;

extern const tt_sparse_kernels tt_sparse_scalar, tt_sparse_avx2, tt_sparse_avx512, tt_sparse_neon;

#endif
