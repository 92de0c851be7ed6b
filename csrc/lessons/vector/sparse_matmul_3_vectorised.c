/* Step 3: vectors. One weight is multiplied with a vector of columns at a time.
 *
 * And the loops change places: a strip of VECTORS vectors of one row of c stays in registers while all the
 * weights of that row pass by, so c is written once and never loaded. What limits this now is reading x: each
 * weight needs another row of it, for one product each. */
#include "lessons/sparse_matrix.h"
#include "lessons/vector/vector.h"

enum { VECTORS = 4 };

/* Row i of c from column j on: `vectors` vectors, the last of them of `last` columns. */
TT_INLINE void strip(const size_t vectors, size_t last, const tt_sparse_matrix *w, size_t n, size_t i, size_t j,
                     const float *x, float *c)
{
    vf sum[VECTORS];
    for (size_t v = 0; v < vectors; v++) sum[v] = vf_set(0.0f);
    for (int32_t e = w->row_pointers[i]; e < w->row_pointers[i + 1]; e++) {
        const float *row = x + column_of(w, e) * n + j;
        vf weight = vf_set(w->values[e]);
        for (size_t v = 0; v < vectors; v++)
            sum[v] = vf_fma(weight, load(row + v * VF_N, v + 1 < vectors ? VF_N : last), sum[v]);
    }
    for (size_t v = 0; v < vectors; v++)
        store(c + i * n + j + v * VF_N, sum[v], v + 1 < vectors ? VF_N : last);
}

tt_status TT_FOR_LEVEL(tt_sparse_matmul_vectorised)(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    size_t j = 0;
    for (; j + VECTORS * VF_N <= n; j += VECTORS * VF_N)
        for (size_t i = 0; i < w->m; i++) strip(VECTORS, VF_N, w, n, i, j, x, c);
    for (; j < n; j += VF_N)
        for (size_t i = 0; i < w->m; i++) strip(1, tt_min(VF_N, n - j), w, n, i, j, x, c);
    return TT_OK;
}
