/* Step 4: blocks. Weights are stored in blocks of ROWS rows by one column, kept when any of them is not zero.
 *
 * Each vector of x that is loaded now serves ROWS products, as in a tile of a dense matmul, so the arithmetic is
 * the limit again: with half of the blocks gone, half of the time is gone. The network has to be pruned in such
 * blocks; that is the price. */
#include "lessons/sparse_matrix.h"
#include "lessons/vector/vector.h"

enum { ROWS = 4, VECTORS = 2 };

/* ROWS rows of c from column j on: `vectors` vectors, the last of them of `last` columns. */
TT_INLINE void strip(const size_t vectors, size_t last, const tt_sparse_matrix *w, size_t n, size_t block_row,
                     size_t j, const float *x, float *c)
{
    vf sum[ROWS][VECTORS];
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < vectors; v++) sum[i][v] = vf_set(0.0f);
    for (int32_t e = w->row_pointers[block_row]; e < w->row_pointers[block_row + 1]; e++) {
        const float *row = x + column_of(w, e) * n + j, *weights = w->values + (size_t)e * ROWS;
        for (size_t v = 0; v < vectors; v++) {
            vf x_vector = load(row + v * VF_N, v + 1 < vectors ? VF_N : last);
            for (size_t i = 0; i < ROWS; i++) sum[i][v] = vf_fma(vf_set(weights[i]), x_vector, sum[i][v]);
        }
    }
    size_t rows = tt_min(ROWS, w->m - block_row * ROWS);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < vectors && i < rows; v++)
            store(c + (block_row * ROWS + i) * n + j + v * VF_N, sum[i][v], v + 1 < vectors ? VF_N : last);
}

tt_status TT_FOR_LEVEL(tt_sparse_matmul_blocks)(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    size_t j = 0, block_rows = tt_div_up(w->m, ROWS);
    for (; j + VECTORS * VF_N <= n; j += VECTORS * VF_N)
        for (size_t i = 0; i < block_rows; i++) strip(VECTORS, VF_N, w, n, i, j, x, c);
    for (; j < n; j += VF_N)
        for (size_t i = 0; i < block_rows; i++) strip(1, tt_min(VF_N, n - j), w, n, i, j, x, c);
    return TT_OK;
}
