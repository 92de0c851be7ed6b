/* Step 2: compressed rows. Row i holds only its weights that are not zero, and where they stand:
 *
 *     row_pointers  0   2   3       rows begin in the two lists at 0, 2, 3 ..
 *     indices       1 4 0 ..        columns
 *     values        a b c ..        weights
 *
 * Nothing is looked at in vain any more. What remains: c is loaded and stored for every weight. */
#include "lessons/sparse_matrix.h"

#include <string.h>

tt_status tt_sparse_matmul_compressed(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    memset(c, 0, w->m * n * sizeof *c);
    for (size_t i = 0; i < w->m; i++)
        for (int32_t e = w->row_pointers[i]; e < w->row_pointers[i + 1]; e++) {
            float weight = w->values[e];
            const float *row = x + column_of(w, e) * n;
            for (size_t j = 0; j < n; j++) c[i * n + j] += weight * row[j];
        }
    return TT_OK;
}
