/* Step 0: the definition. The product of two bytes needs 16 bits, a sum of many needs 32. */
#include "lessons/lessons.h"

tt_status tt_matmul_int8_plain(size_t m, size_t n, size_t k, const uint8_t *a, const int8_t *b, int32_t *c)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
    return TT_OK;
}
