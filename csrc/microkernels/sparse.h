/* Kernels for sparse matrices.
 *
 * Blocks: compressed rows of r x 1 blocks. r neighbouring rows share their columns, so what is loaded of x
 * serves r rows of the result.
 *
 *      values (blocks, r)            block row i holds rows i r ... i r + r-1 of w;
 *      indices (blocks)              its blocks are first[i] ... last[i]-1, each with one column index
 *
 * Slices: single elements, four rows at a time, an element of each in turn. One loop serves the four, and one
 * word holds their four columns.
 *
 *      columns (groups)              16 bits for each of the four: a row of x
 *      values (groups, 4)            slice i is the groups slices[i].first ... slices[i + 1].first - 1 */
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

enum { TT_SLICE_ROWS = 4, TT_NO_ROW = UINT16_MAX };

typedef struct {
    uint16_t rows[TT_SLICE_ROWS]; /* of the result, TT_NO_ROW where there is none */
    int32_t first;
} tt_slice;

typedef struct {
    const uint64_t *columns;
    const float *values;
    const tt_slice *slices;
    size_t count;
} tt_slices;

typedef struct {
    /* c = start + w @ x for the rows of the slices, where NULL starts from 0 and start may be c; n columns. Rows of
     * x and of start can be read up to n rounded up to whole vectors. */
    void (*multiply)(const tt_slices *w, const float *x, size_t x_row_stride, size_t n, const float *start,
                     size_t start_row_stride, float *c, size_t c_row_stride);
    /* y = w @ x for the rows of the slices, or += when `accumulate` */
    void (*multiply_vector)(const tt_slices *w, const float *x, float *y, int accumulate);
} tt_slice_kernels;

typedef struct {
    /* c (m, n) = w @ x for blocks. Rows of x can be read up to n rounded up to whole vectors. */
    void (*multiply)(const tt_block_rows *w, const float *x, size_t x_row_stride, size_t n, float *c,
                     size_t c_row_stride);
    /* y (m) = w @ x (k) */
    void (*multiply_vector)(const tt_block_rows *w, const float *x, float *y);
    const tt_slice_kernels *slices;
    tt_transpose_function *transpose;
} tt_sparse_kernels;

extern const tt_slice_kernels tt_sparse_slices_scalar, tt_sparse_slices_avx2, tt_sparse_slices_avx512,
    tt_sparse_slices_neon;
extern const tt_sparse_kernels tt_sparse_scalar, tt_sparse_avx2, tt_sparse_avx512, tt_sparse_neon;

#endif
