/* Step 0: a dense product, step 1 of the matmul ladder. It does not know that most weights are zero. */
#include "lessons/lessons.h"

#include <string.h>

tt_status tt_sparse_matmul_dense(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    memset(c, 0, w->m * n * sizeof *c);
    for (size_t i = 0; i < w->m; i++)
        for (size_t p = 0; p < w->k; p++) {
            float weight = w->values[i * w->k + p];
            for (size_t j = 0; j < n; j++) c[i * n + j] += weight * x[p * n + j];
        }
    return TT_OK;
}
