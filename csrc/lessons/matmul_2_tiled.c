/* Step 2: tiles. A small square of c is computed at a time.
 *
 * Its sums stay in registers while the loop runs down the depth: each element loaded from a serves COLUMNS
 * products, each from b ROWS of them, and c is loaded and stored once for each DEPTH steps instead of at every
 * one. DEPTH rows of b are few enough to stay in the cache until the next row of tiles needs them again. */
#include "lessons/lessons.h"
#include "microkernels/vec.h"
#include "runtime/runtime.h"

enum { ROWS = 4, COLUMNS = 4, DEPTH = 64 };

/* c += a @ b for one tile. Inlined, so that a full tile has constant bounds and its sums become registers. */
TT_INLINE void tile(size_t rows, size_t columns, size_t depth, const float *a, size_t a_stride, const float *b,
                    float *c, size_t stride)
{
    float sum[ROWS][COLUMNS];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) sum[i][j] = c[i * stride + j];
    for (size_t p = 0; p < depth; p++)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++) sum[i][j] += a[i * a_stride + p] * b[p * stride + j];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) c[i * stride + j] = sum[i][j];
}

tt_status tt_matmul_tiled(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    memset(c, 0, m * n * sizeof *c);
    for (size_t p = 0; p < k; p += DEPTH)
        for (size_t i = 0; i < m; i += ROWS)
            for (size_t j = 0; j < n; j += COLUMNS) {
                size_t rows = tt_min(ROWS, m - i), columns = tt_min(COLUMNS, n - j), depth = tt_min(DEPTH, k - p);
                const float *a_tile = a + i * k + p, *b_tile = b + p * n + j;
                if (rows == ROWS && columns == COLUMNS)
                    tile(ROWS, COLUMNS, depth, a_tile, k, b_tile, c + i * n + j, n);
                else
                    tile(rows, columns, depth, a_tile, k, b_tile, c + i * n + j, n);
            }
    return TT_OK;
}
