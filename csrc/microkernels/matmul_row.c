/* A vector times a matrix: c (n) = a (k) @ b (k, n). Each element of b is used once, so all that counts is how
 * fast b comes. A few whole rows at a time are one long stream, which the CPU fetches ahead by itself; strips of
 * columns, as in matmul_direct.c, would be many short ones. The price is that c passes by once for each few rows,
 * in L1. */
#include "microkernels/matmul.h"
#include "microkernels/vec.h"

enum {
    DEPTH = 4,      /* rows of b: enough that c costs little, few enough that their lines, if 4 KiB apart, do not
                       push each other out of an 8-way L1 */
    COLUMNS = 2048, /* of c at a time: 8 KiB stay in L1 beside what streams through it */
    LINE = 16 / VF_N /* vectors in a cache line */
};

/* c (n) += sum of element[d] * row d of b; `depth` is a constant wherever this is called. The rows that follow are
 * fetched meanwhile: the CPU's own prefetching would pause at each row's end. */
TT_INLINE void add_rows(const size_t depth, size_t n, const float *a, size_t a_stride, const float *b,
                        size_t b_row_stride, float *c)
{
    vf element[DEPTH];
    TT_UNROLL for (size_t d = 0; d < depth; d++) element[d] = vf_set(a[d * a_stride]);
    size_t j = 0;
    for (; j + LINE * VF_N <= n; j += LINE * VF_N) {
        vf sum[LINE];
        TT_UNROLL for (size_t v = 0; v < LINE; v++) sum[v] = vf_load(c + j + v * VF_N);
        TT_UNROLL for (size_t d = 0; d < depth; d++) {
            const float *row = b + d * b_row_stride + j;
            TT_PREFETCH(row + depth * b_row_stride);
            TT_UNROLL for (size_t v = 0; v < LINE; v++) sum[v] = vf_fma(element[d], vf_load(row + v * VF_N), sum[v]);
        }
        TT_UNROLL for (size_t v = 0; v < LINE; v++) vf_store(c + j + v * VF_N, sum[v]);
    }
    for (; j < n; j += VF_N) {
        vf sum = vf_load_up_to(c + j, n - j);
        TT_UNROLL for (size_t d = 0; d < depth; d++)
            sum = vf_fma(element[d], vf_load_up_to(b + d * b_row_stride + j, n - j), sum);
        vf_store_up_to(c + j, sum, n - j);
    }
}

void TT_FOR_LEVEL(tt_matmul_row)(size_t n, size_t k, const float *a, size_t a_stride, const float *b,
                                 size_t b_row_stride, float *c, int accumulate)
{
    if (!accumulate) memset(c, 0, n * sizeof *c);
    for (size_t j = 0; j < n; j += COLUMNS) {
        size_t columns = n - j < COLUMNS ? n - j : COLUMNS, p = 0;
        for (; p + DEPTH <= k; p += DEPTH)
            add_rows(DEPTH, columns, a + p * a_stride, a_stride, b + p * b_row_stride + j, b_row_stride, c + j);
        for (; p < k; p++)
            add_rows(1, columns, a + p * a_stride, a_stride, b + p * b_row_stride + j, b_row_stride, c + j);
    }
}
