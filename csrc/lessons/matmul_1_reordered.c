/* Step 1: the same products in another order. Row i of c is a sum of rows of b, weighted by row i of a.
 *
 * The inner loop now runs along rows, so every byte of a cache line is used, the prefetcher can run ahead, and
 * the additions no longer wait for one another. The price: c is loaded and stored k times. */
#include "lessons/lessons.h"

#include <string.h>

tt_status tt_matmul_reordered(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    memset(c, 0, m * n * sizeof *c);
    for (size_t i = 0; i < m; i++)
        for (size_t p = 0; p < k; p++) {
            float weight = a[i * k + p];
            for (size_t j = 0; j < n; j++) c[i * n + j] += weight * b[p * n + j];
        }
    return TT_OK;
}
