/* The float32 matmul micro-kernel and its blocking.
 *
 * c (m, n) = a @ b, or c += a @ b when `accumulate`, for one tile with m <= mr and n <= nr. Both operands
 * come packed, padded with zeros to full panels, so the inner loop has no edges:
 *
 *      a panel: kc columns of mr            b panel: kc rows of nr
 *      a00 a10 a20 ..  a01 a11 a21 ..       b00 b01 b02 ..  b10 b11 b12 ..
 *
 * Only c[0..m)[0..n) is read or written. Without `accumulate` c is overwritten, whatever it held. */
#ifndef TT_MATMUL_KERNELS_H
#define TT_MATMUL_KERNELS_H

#include "microkernels/transpose.h"

#include <stddef.h>

/* c (m, n) = a @ b, or += when `accumulate`; a (m, k) has any strides, the rows of b (k, n) are contiguous. */
typedef void tt_matmul_rows(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride, size_t a_column_stride,
                            const float *b, size_t b_row_stride, float *c, size_t c_row_stride, int accumulate);

extern tt_matmul_rows tt_matmul_few_rows_scalar, tt_matmul_few_rows_avx2, tt_matmul_few_rows_avx512,
    tt_matmul_few_rows_neon;

/* Products of operands that are not packed, for any m, n and k (matmul_direct.c, matmul_few_rows.c). */
typedef struct {
    tt_matmul_rows *rows, *few_rows; /* the latter where reading b is what takes time */
    /* c (m, n) = a @ b; the rows of a and the columns of b are contiguous. For few rows. */
    void (*columns)(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride, const float *b,
                    size_t b_column_stride, float *c, size_t c_row_stride);
} tt_matmul_direct_kernels;

extern const tt_matmul_direct_kernels tt_matmul_direct_scalar, tt_matmul_direct_avx2, tt_matmul_direct_avx512,
    tt_matmul_direct_neon;

typedef void tt_matmul_tile(size_t kc, const float *a, const float *b, float *c, size_t c_row_stride, size_t m,
                            size_t n, int accumulate);

/* Copies kc rows of n floats of b, a stride apart, into panels. */
typedef void tt_matmul_pack_rows(size_t kc, size_t n, const float *b, size_t b_row_stride, float *packed);

typedef struct {
    tt_matmul_tile *tile;
    tt_matmul_pack_rows *pack_rows;
    const tt_matmul_direct_kernels *direct;
    tt_transpose_function *transpose; /* for packing an operand whose panels run across its memory */
    size_t mr, nr;     /* the tile: its accumulators fill the registers */
    size_t mc, kc, nc; /* the blocks: mc x kc of a at a time, against kc x nc of b */
    size_t small_b, few_rows; /* a b of so many floats, or used by so few rows, is not worth packing */
    size_t streamed_rows;     /* so few rows are multiplied by `direct->few_rows` */
} tt_matmul_kernels;

extern const tt_matmul_kernels tt_matmul_scalar, tt_matmul_avx2, tt_matmul_avx512, tt_matmul_neon;

#endif
