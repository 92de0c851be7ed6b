/* Small and thin products: a and b are read where they lie. Packing would cost more than it saves when each
 * element is used only a few times. Tails are masked, and the fewer rows there are, the wider the strip of
 * columns, so that there are always enough sums in flight to hide the latency of an addition. */
#include "microkernels/matmul.h"
#include "microkernels/vec.h"

/* The rows taken at once, and the vectors of columns that fit beside so many rows in the registers. */
#if defined(TT_LEVEL_AVX512)
enum { MR = 12, DOT_ROWS = 4 };
#define WIDTH(rows) ((rows) <= 2 ? 8 : (rows) <= 4 ? 6 : (rows) <= 6 ? 4 : (rows) <= 8 ? 3 : 2)
#elif defined(TT_LEVEL_AVX2)
enum { MR = 6, DOT_ROWS = 2 };
#define WIDTH(rows) ((rows) == 1 ? 8 : (rows) == 2 ? 4 : (rows) == 3 ? 3 : 2)
#elif defined(TT_LEVEL_NEON)
enum { MR = 8, DOT_ROWS = 4 };
#define WIDTH(rows) ((rows) <= 2 ? 8 : (rows) <= 6 ? 4 : 3)
#else
enum { MR = 4, DOT_ROWS = 2 };
#define WIDTH(rows) ((rows) <= 2 ? 8 : 4)
#endif

/* One strip: m rows by nv vectors of columns, the last of them with `tail` columns (VF_N when it is whole).
 * m, nv and `whole` are constants wherever this is called. */
TT_INLINE void strip(const size_t m, const size_t nv, const int whole, size_t tail, size_t k, const float *a,
                     size_t a_row_stride, size_t a_column_stride, const float *b, size_t b_row_stride, float *c,
                     size_t c_row_stride, int accumulate)
{
    vf sum[MR][8];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = vf_set(0.0f);

    /* Three rows share a pointer: an address holds one register and a stride times 1, 2, 4 or 8. */
    const float *rows[(MR + 2) / 3];
    TT_UNROLL for (size_t i = 0; i < m; i += 3) rows[i / 3] = a + i * a_row_stride;

    for (size_t p = 0; p < k; p++, b += b_row_stride) {
        vf row[8];
        TT_UNROLL for (size_t v = 0; v + 1 < nv; v++) row[v] = vf_load(b + v * VF_N);
        row[nv - 1] = whole ? vf_load(b + (nv - 1) * VF_N) : vf_load_n(b + (nv - 1) * VF_N, tail);
        TT_UNROLL for (size_t i = 0; i < m; i++) {
            vf element = vf_set(rows[i / 3][i % 3 * a_row_stride]);
            TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = vf_fma(element, row[v], sum[i][v]);
        }
        TT_UNROLL for (size_t i = 0; i < m; i += 3) rows[i / 3] += a_column_stride;
    }

    TT_UNROLL for (size_t i = 0; i < m; i++) {
        TT_UNROLL for (size_t v = 0; v < nv; v++) {
            float *out = c + i * c_row_stride + v * VF_N;
            if (whole || v + 1 < nv)
                vf_store(out, accumulate ? vf_add(vf_load(out), sum[i][v]) : sum[i][v]);
            else
                vf_store_n(out, accumulate ? vf_add(vf_load_n(out, tail), sum[i][v]) : sum[i][v], tail);
        }
    }
}

/* All columns of m rows, in strips of nv vectors, then of two, then of one. */
TT_INLINE void strips(const size_t m, const size_t nv, size_t n, size_t k, const float *a, size_t a_row_stride,
                      size_t a_column_stride, const float *b, size_t b_row_stride, float *c,
                      size_t c_row_stride, int accumulate)
{
    size_t j = 0;
#define STRIP(vectors, whole, tail)                                                                          \
    strip(m, vectors, whole, tail, k, a, a_row_stride, a_column_stride, b + j, b_row_stride, c + j, c_row_stride, \
          accumulate)
    for (; j + nv * VF_N <= n; j += nv * VF_N) STRIP(nv, 1, VF_N);
    if (nv > 2)
        for (; j + 2 * VF_N <= n; j += 2 * VF_N) STRIP(2, 1, VF_N);
    size_t left = n - j;
    if (left > VF_N)
        STRIP(2, 0, left - VF_N);
    else if (left == VF_N)
        STRIP(1, 1, VF_N);
    else if (left)
        STRIP(1, 0, left);
#undef STRIP
}

static void direct(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride, size_t a_column_stride,
                   const float *b, size_t b_row_stride, float *c, size_t c_row_stride, int accumulate)
{
    size_t blocks = (m + MR - 1) / MR;
    for (size_t i = 0; blocks; blocks--) {
        size_t rows = (m - i + blocks - 1) / blocks; /* even blocks: 16 rows are 8 and 8, not 12 and 4 */
#define ROWS(count)                                                                                           \
    case count:                                                                                               \
        strips(count, WIDTH(count), n, k, a + i * a_row_stride, a_row_stride, a_column_stride, b, b_row_stride, \
               c + i * c_row_stride, c_row_stride, accumulate);                                               \
        break
        switch (rows) {
            ROWS(1); ROWS(2); ROWS(3); ROWS(4);
#if defined(TT_LEVEL_AVX512) || defined(TT_LEVEL_AVX2) || defined(TT_LEVEL_NEON)
            ROWS(5); ROWS(6);
#endif
#if defined(TT_LEVEL_AVX512) || defined(TT_LEVEL_NEON)
            ROWS(7); ROWS(8);
#endif
#if defined(TT_LEVEL_AVX512)
            ROWS(9); ROWS(10); ROWS(11); ROWS(12);
#endif
        }
#undef ROWS
        i += rows;
    }
}

/* ---- b stored by columns ---- */

/* m rows of a times four columns of b, both contiguous along the depth: vectors run along it. */
TT_INLINE void dots_of(const size_t m, const size_t columns, size_t k, const float *a, size_t a_row_stride,
                       const float *b, size_t b_column_stride, float *c, size_t c_row_stride)
{
    vf sum[DOT_ROWS][4];
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t j = 0; j < columns; j++) sum[i][j] = vf_set(0.0f);
    size_t p = 0;
    for (; p + VF_N <= k; p += VF_N)
        TT_UNROLL for (size_t j = 0; j < columns; j++) {
            vf column = vf_load(b + j * b_column_stride + p);
            TT_UNROLL for (size_t i = 0; i < m; i++)
                sum[i][j] = vf_fma(vf_load(a + i * a_row_stride + p), column, sum[i][j]);
        }
    if (p < k)
        TT_UNROLL for (size_t j = 0; j < columns; j++) {
            vf column = vf_load_n(b + j * b_column_stride + p, k - p);
            TT_UNROLL for (size_t i = 0; i < m; i++)
                sum[i][j] = vf_fma(vf_load_n(a + i * a_row_stride + p, k - p), column, sum[i][j]);
        }
    TT_UNROLL for (size_t i = 0; i < m; i++)
        TT_UNROLL for (size_t j = 0; j < columns; j++) c[i * c_row_stride + j] = vf_sum(sum[i][j]);
}

static void dots(size_t m, size_t n, size_t k, const float *a, size_t a_row_stride, const float *b,
                 size_t b_column_stride, float *c, size_t c_row_stride)
{
    for (size_t j = 0; j < n;) {
        const float *columns = b + j * b_column_stride;
        size_t taken = n - j >= 4 ? 4 : 1;
        for (size_t i = 0; i < m;) {
            const float *rows = a + i * a_row_stride;
            float *out = c + i * c_row_stride + j;
#define DOTS(count, width) dots_of(count, width, k, rows, a_row_stride, columns, b_column_stride, out, c_row_stride)
            size_t count = m - i >= DOT_ROWS ? DOT_ROWS : 1;
            if (taken == 4) {
                if (count == DOT_ROWS) DOTS(DOT_ROWS, 4); else DOTS(1, 4);
            } else {
                if (count == DOT_ROWS) DOTS(DOT_ROWS, 1); else DOTS(1, 1);
            }
#undef DOTS
            i += count;
        }
        j += taken;
    }
}

const tt_matmul_direct_kernels TT_FOR_LEVEL(tt_matmul_direct) = {direct, dots, TT_FOR_LEVEL(tt_matmul_row)};
