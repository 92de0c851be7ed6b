/* Step 1: weights that are zero are skipped. That saves their products, not the reading of them, and the CPU
 * guesses wrong about many of them: with few columns, looking costs as much as multiplying.
 *
 * From here on a zero is no longer multiplied, so a NaN or Inf opposite to it does not reach the result. */
#include "lessons/lessons.h"

#include <string.h>

tt_status tt_sparse_matmul_skipping(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    memset(c, 0, w->m * n * sizeof *c);
    for (size_t i = 0; i < w->m; i++)
        for (size_t p = 0; p < w->k; p++) {
            float weight = w->values[i * w->k + p];
            if (weight == 0.0f) continue;
            for (size_t j = 0; j < n; j++) c[i * n + j] += weight * x[p * n + j];
        }
    return TT_OK;
}
