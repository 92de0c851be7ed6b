/* Few rows times a matrix: c (m, n) = a (m, k) @ b (k, n). Each element of b is used so rarely that what counts is
 * how fast b comes. A few whole rows of it at a time are one long stream, which is fetched ahead; strips of columns,
 * as in matmul_direct.c, would be many short ones. The price is that c passes by once for each few rows, in L1. */
#include "microkernels/matmul.h"
#include "microkernels/vec.h"

enum {
    DEPTH = 4,      /* rows of b: enough that c costs little, few enough that their lines, if 4 KiB apart, do not
                       push each other out of an 8-way L1 */
    COLUMNS = 1024, /* at a time: with them, DEPTH rows of b and a few of c fill L1 */
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

void TT_FOR_LEVEL(tt_matmul_few_rows)(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride,
                                      size_t a_column_stride, const float *b, size_t b_row_stride, float *c,
                                      size_t c_row_stride, int accumulate)
{
    for (size_t i = 0; i < m && !accumulate; i++) memset(c + i * c_row_stride, 0, n * sizeof *c);
    for (size_t j = 0, columns; j < n; j += columns) {
        columns = n - j < COLUMNS ? n - j : COLUMNS;
        for (size_t p = 0, depth; p < k; p += depth) {
            depth = k - p < DEPTH ? 1 : DEPTH;
            for (size_t i = 0; i < m; i++) { /* the rows of b are in L1 after the first of a */
                const float *element = a + i * a_row_stride + p * a_column_stride;
                const float *rows = b + p * b_row_stride + j;
                float *sum = c + i * c_row_stride + j;
                if (depth == DEPTH)
                    add_rows(DEPTH, columns, element, a_column_stride, rows, b_row_stride, sum);
                else
                    add_rows(1, columns, element, a_column_stride, rows, b_row_stride, sum);
            }
        }
    }
}
