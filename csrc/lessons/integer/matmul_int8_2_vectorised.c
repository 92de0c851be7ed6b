/* Step 2: vectors. The sums of LANES columns stay in a register, and one instruction multiplies LANES bytes
 * of a row of b, widened to int32 first, with one element of a.
 *
 * Bytes are four to a lane, yet only one of them is multiplied: this is about as fast as float32, not
 * faster. */
#include "lessons/integer/integer.h"

enum { ROWS = 4 };

/* c (rows, columns) of one tile, columns <= LANES. */
TT_INLINE void tile(size_t rows, size_t columns, size_t n, size_t k, const uint8_t *a, const int8_t *b,
                    int32_t *c)
{
    vi sum[ROWS];
    for (size_t i = 0; i < rows; i++) sum[i] = vi_zero();
    for (size_t p = 0; p < k; p++) {
        int8_t edge[LANES] = {0};
        const int8_t *row = b + p * n;
        if (columns < LANES) row = memcpy(edge, row, columns);
        for (size_t i = 0; i < rows; i++) sum[i] = vi_add_product(sum[i], a[i * k + p], row);
    }
    for (size_t i = 0; i < rows; i++) {
        int32_t lanes[LANES];
        vi_store(lanes, sum[i]);
        memcpy(c + i * n, lanes, columns * sizeof *c);
    }
}

tt_status TT_FOR_LEVEL(tt_matmul_int8_vectorised)(size_t m, size_t n, size_t k, const uint8_t *a,
                                                  const int8_t *b, int32_t *c)
{
    for (size_t i = 0; i < m; i += ROWS)
        for (size_t j = 0; j < n; j += LANES) {
            size_t rows = tt_min(ROWS, m - i), columns = tt_min(LANES, n - j);
            if (rows == ROWS && columns == LANES)
                tile(ROWS, LANES, n, k, a + i * k, b + j, c + i * n + j);
            else
                tile(rows, columns, n, k, a + i * k, b + j, c + i * n + j);
        }
    return TT_OK;
}
