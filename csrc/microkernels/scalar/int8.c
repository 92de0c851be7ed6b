/* INT8 in plain C: the loops that the other levels unroll into registers. */
#include <string.h>

#include "microkernels/int8.h"

enum { MR = 4, NR = 16, INTERLEAVE = 1 };

#include "microkernels/int8_pack.h"

static void tile(size_t m, const char *const *rows, const size_t *offsets, size_t segments, size_t groups,
                 const int8_t *b, size_t width, const int32_t *start, int32_t *acc, size_t acc_stride)
{
    for (size_t i = 0; i < m; i++) {
        const int8_t *row = b;
        int32_t sum[NR];
        memcpy(sum, start, sizeof sum);
        for (size_t s = 0; s < segments; s++) {
            const int16_t *a = (const int16_t *)(const void *)(rows[i] + offsets[s]);
            for (size_t k = 0; k < 4 * groups; k++, row += width)
                for (size_t j = 0; j < NR; j++) sum[j] += a[k] * row[j];
        }
        memcpy(acc + i * acc_stride, sum, sizeof sum);
    }
}

const tt_int8_kernels tt_int8_scalar = {tile, pack_panel, MR, NR, TT_A_INT16, INTERLEAVE};
