/* Step 0: the definition. Each element of c is a row of a times a column of b.
 *
 * b is walked down its columns, a jump of n floats from one element to the next: every load touches another
 * cache line and uses 4 of its 64 bytes. And each addition waits for the one before. */
#include "lessons/lessons.h"

tt_status tt_matmul_plain(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float sum = 0.0f;
            for (size_t p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
    return TT_OK;
}
