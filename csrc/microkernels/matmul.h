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

#include <stddef.h>

typedef void tt_matmul_tile(size_t kc, const float *a, const float *b, float *c, size_t c_row_stride, size_t m,
                            size_t n, int accumulate);

typedef struct {
    tt_matmul_tile *tile;
    size_t mr, nr;     /* the tile: its accumulators fill the registers */
    size_t mc, kc, nc; /* the blocks: mc x kc of a stays in L2, kc x nr of b in L1, kc x nc of b in L3 */
} tt_matmul_kernels;

extern const tt_matmul_kernels tt_matmul_scalar, tt_matmul_avx2, tt_matmul_avx512, tt_matmul_neon;

#endif
