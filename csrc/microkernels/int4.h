/* The INT4 micro-kernels: y (m, 16) = x @ w, for x as it is, or quantized to int8 in the groups of w.
 *
 * w comes as a panel of `width` <= 16 columns. Columns are lanes, so no sum crosses lanes. A panel is its
 * groups one after the other; a group of `group_size` steps of depth (the last one may be shorter) is
 *
 *      width scales (float16), then for every eight steps of depth 4 * width bytes:
 *      q00|q40  q10|q50  q20|q60  q30|q70   q01|q41 ..     low nibble | high nibble
 *
 * with q + 8 in a nibble, 0 ... 15. The sum of q * x is that of (q + 8) * x less 8 times the sum of x, which
 * is the same for every column and comes with x. Reading goes up to TT_INT4_SLACK bytes beyond a panel. */
#ifndef TT_INT4_KERNELS_H
#define TT_INT4_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { TT_INT4_SLACK = 64, TT_INT4_COLUMNS = 16, TT_INT4_MOST_ROWS = 8, TT_INT4_FLOAT_ROWS = 4 };

/* Rows of x, quantized: x[k] is q[k] * scale[group]. */
typedef struct {
    const int8_t *q;      /* (rows, depth), zero beyond the end of x */
    const float *scale;   /* (rows, groups) */
    const int32_t *start; /* (rows, groups): -8 times the sum of q */
    size_t depth, groups; /* depth: a multiple of 8 */
} tt_int4_rows;

/* y (m, 16) for m <= mr; what lies beyond the panel's width has no meaning. */
typedef void tt_int4_tile(size_t m, tt_int4_rows x, size_t group_size, const uint8_t *panel, size_t width,
                          float *y);

/* The same for m <= TT_INT4_FLOAT_ROWS rows of floats (m, k). */
typedef void tt_int4_float_tile(size_t m, const float *x, size_t k, size_t group_size, const uint8_t *panel,
                                size_t width, float *y);

typedef struct {
    tt_int4_tile *tile;
    size_t mr;
    tt_int4_float_tile *float_tile;
} tt_int4_kernels;

extern const tt_int4_kernels tt_int4_scalar, tt_int4_avx2, tt_int4_avx512, tt_int4_vnni, tt_int4_neon,
    tt_int4_neondot;

#endif
