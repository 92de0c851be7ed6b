/* Out-of-place transpose, for the tables of the families that need it. */
#ifndef TT_TRANSPOSE_H
#define TT_TRANSPOSE_H

#include <stddef.h>

/* y[j][i] = x[i][j] for x (m, n); columns m ... width-1 of y are set to 0. */
typedef void tt_transpose_function(size_t m, size_t n, const float *x, size_t x_row_stride, float *y,
                                   size_t y_row_stride, size_t width);

tt_transpose_function tt_transpose_scalar, tt_transpose_avx2, tt_transpose_avx512, tt_transpose_neon;

#endif
