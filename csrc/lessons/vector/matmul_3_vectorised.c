/* Step 3: vectors. The tile of step 2, with a vector of VF_N columns where it had single floats.
 *
 * One instruction now multiplies and adds VF_N pairs. The loops are those of step 2; only the width changed. */
#include "lessons/vector/vector.h"

#include <string.h>

enum { ROWS = 4, DEPTH = 64 };

/* c += a @ b for one tile of up to ROWS rows by `columns` <= VF_N columns. */
TT_INLINE void tile(size_t rows, size_t columns, size_t depth, const float *a, size_t a_stride, const float *b,
                    float *c, size_t stride)
{
    vf sum[ROWS];
    for (size_t i = 0; i < rows; i++) sum[i] = load(c + i * stride, columns);
    for (size_t p = 0; p < depth; p++) {
        vf row = load(b + p * stride, columns);
        for (size_t i = 0; i < rows; i++) sum[i] = vf_fma(vf_set(a[i * a_stride + p]), row, sum[i]);
    }
    for (size_t i = 0; i < rows; i++) store(c + i * stride, sum[i], columns);
}

tt_status TT_FOR_LEVEL(tt_matmul_vectorised)(size_t m, size_t n, size_t k, const float *a, const float *b,
                                             float *c)
{
    memset(c, 0, m * n * sizeof *c);
    for (size_t p = 0; p < k; p += DEPTH)
        for (size_t i = 0; i < m; i += ROWS)
            for (size_t j = 0; j < n; j += VF_N) {
                size_t rows = tt_min(ROWS, m - i), columns = tt_min(VF_N, n - j), depth = tt_min(DEPTH, k - p);
                const float *a_tile = a + i * k + p, *b_tile = b + p * n + j;
                if (rows == ROWS && columns == VF_N)
                    tile(ROWS, VF_N, depth, a_tile, k, b_tile, c + i * n + j, n);
                else
                    tile(rows, columns, depth, a_tile, k, b_tile, c + i * n + j, n);
            }
    return TT_OK;
}
