/* Few rows times a matrix: c (m, n) = a (m, k) @ b (k, n). Each element of b is used so rarely that what counts is
 * how fast b comes. A few long stretches of its rows at a time are what the CPU prefetches best; strips of columns, as
 * in matmul_direct.c, would be many short ones. The price is that c passes by once for each few rows, in L1. */
#include "microkernels/matmul.h"
#include "microkernels/vec.h"

enum {
    DEPTH = 4,       /* rows of b: enough that c costs little, few enough that their lines, if 4 KiB apart, do not
                        push each other out of an 8-way L1 */
    ROWS = 2,        /* rows of a: DEPTH elements of each stay in registers, beside a line of c for each */
    IN_L1 = 6144,    /* floats of c and of b that are at hand together, with room for what comes next */
    COLUMNS = 1024,  /* at a time, at most */
    LONG = 512,      /* a stretch of b that the CPU fetches ahead by itself; at the ends of shorter ones it pauses */
    MOST_ROWS = 16,  /* with more, the stretches of b would be short */
    LINE = 16 / VF_N /* vectors in a cache line */
};

/* Row i of c (m, n) += sum of element[i][d] * row d of b; `m` and `depth` are constants wherever this is called. */
TT_INLINE void add_rows(const size_t m, const size_t depth, const int fetch, size_t n, const float *a, size_t a_row_stride,
                        size_t a_column_stride, const float *b, size_t b_row_stride, float *c, size_t c_row_stride)
{
    vf element[ROWS][DEPTH];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t d = 0; d < depth; d++) element[i][d] = vf_set(a[i * a_row_stride + d * a_column_stride]);
    size_t j = 0;
    for (; j + LINE * VF_N <= n; j += LINE * VF_N) {
        vf sum[ROWS][LINE];
        TT_UNROLL for (size_t i = 0; i < m; i++)
            TT_UNROLL for (size_t v = 0; v < LINE; v++) sum[i][v] = vf_load(c + i * c_row_stride + j + v * VF_N);
        TT_UNROLL for (size_t d = 0; d < depth; d++) {
            const float *row = b + d * b_row_stride + j;
            if (fetch) TT_PREFETCH(row + depth * b_row_stride);
            TT_UNROLL for (size_t v = 0; v < LINE; v++) {
                vf part = vf_load(row + v * VF_N);
                TT_UNROLL for (size_t i = 0; i < m; i++) sum[i][v] = vf_fma(element[i][d], part, sum[i][v]);
            }
        }
        TT_UNROLL for (size_t i = 0; i < m; i++)
            TT_UNROLL for (size_t v = 0; v < LINE; v++) vf_store(c + i * c_row_stride + j + v * VF_N, sum[i][v]);
    }
    for (; j < n; j += VF_N)
        TT_UNROLL for (size_t i = 0; i < m; i++) {
            float *out = c + i * c_row_stride + j;
            vf sum = vf_load_up_to(out, n - j);
            TT_UNROLL for (size_t d = 0; d < depth; d++)
                sum = vf_fma(element[i][d], vf_load_up_to(b + d * b_row_stride + j, n - j), sum);
            vf_store_up_to(out, sum, n - j);
        }
}

/* All rows of c (m, n) += `depth` columns of a times `depth` rows of b, which are in L1 after the first rows of a. */
TT_INLINE void add_depth(const size_t depth, int fetch, size_t m, size_t n, const float *a, size_t a_row_stride,
                         size_t a_column_stride, const float *b, size_t b_row_stride, float *c, size_t c_row_stride)
{
#define ADD(rows, fetch) \
    add_rows(rows, depth, fetch, n, a, a_row_stride, a_column_stride, b, b_row_stride, c, c_row_stride)
    for (; m; fetch = 0, a += ROWS * a_row_stride, c += ROWS * c_row_stride) {
        size_t rows = m < ROWS ? m : ROWS;
        if (rows == ROWS) {
            if (fetch) ADD(ROWS, 1); else ADD(ROWS, 0);
        } else {
            if (fetch) ADD(1, 1); else ADD(1, 0);
        }
        m -= rows;
    }
#undef ADD
}

/* c (m, n) += a @ b, for at most MOST_ROWS. The sums grow side by side in a place of their own: rows of c that are a
 * power of two apart would share a few sets of L1. */
static void multiply(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride, size_t a_column_stride,
                     const float *b, size_t b_row_stride, float *c, size_t c_row_stride, int accumulate)
{
    float sums[IN_L1];
    size_t most = IN_L1 / (m + DEPTH) / 16 * 16;
    if (most > COLUMNS) most = COLUMNS;
    for (size_t j = 0, columns; j < n; j += columns) {
        columns = n - j < most ? n - j : most;
        int fetch = columns < LONG;
        for (size_t i = 0; i < m; i++) {
            if (accumulate)
                memcpy(sums + i * most, c + i * c_row_stride + j, columns * sizeof *sums);
            else
                memset(sums + i * most, 0, columns * sizeof *sums);
        }
        for (size_t p = 0, depth; p < k; p += depth) {
            const float *elements = a + p * a_column_stride, *rows = b + p * b_row_stride + j;
            depth = k - p < DEPTH ? 1 : DEPTH;
            if (depth == DEPTH)
                add_depth(DEPTH, fetch, m, columns, elements, a_row_stride, a_column_stride, rows, b_row_stride, sums, most);
            else
                add_depth(1, fetch, m, columns, elements, a_row_stride, a_column_stride, rows, b_row_stride, sums, most);
        }
        for (size_t i = 0; i < m; i++) memcpy(c + i * c_row_stride + j, sums + i * most, columns * sizeof *sums);
    }
}

void TT_FOR_LEVEL(tt_matmul_few_rows)(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride,
                                      size_t a_column_stride, const float *b, size_t b_row_stride, float *c,
                                      size_t c_row_stride, int accumulate)
{
    for (size_t i = 0; i < m; i += MOST_ROWS)
        multiply(m - i < MOST_ROWS ? m - i : MOST_ROWS, n, k, a + i * a_row_stride, a_row_stride, a_column_stride, b,
                 b_row_stride, c + i * c_row_stride, c_row_stride, accumulate);
}
