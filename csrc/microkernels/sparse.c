/* Blocks of a sparse matrix times dense panels, written once; each level fills its own registers with accumulators. */
#include "microkernels/sparse.h"
#include "microkernels/vec.h"

/* How many vectors of columns are summed at once, for blocks of 2 and 4 rows (taller blocks are taken four
 * rows at a time). Too few accumulators and each addition waits for the last one; too many and they spill. */
#if defined(TT_LEVEL_AVX2)
enum { STRIP_2 = 4, STRIP_4 = 2 };
#else
enum { STRIP_2 = 4, STRIP_4 = 4 };
#endif

TT_INLINE size_t index_at(const void *indices, const int wide, size_t i)
{
    return wide ? (size_t)((const int32_t *)indices)[i] : ((const uint16_t *)indices)[i];
}

/* sum (rows, nv) += one block's elements times its row of x. */
TT_INLINE void add_block(const size_t rows, const size_t nv, const float *values, const float *row, vf sum[4][4])
{
    TT_UNROLL for (size_t i = 0; i < rows; i++) {
        vf element = vf_set(values[i]);
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = vf_fma(element, vf_load(row + v * VF_N), sum[i][v]);
    }
}

/* `rows` rows of the result, of which `stored` exist, by `nv` vectors of columns, n of them to be stored.
 * `rows`, `nv` and `wide` are constants wherever this is called, so the sums live in registers. A narrow strip
 * splits each sum into `chains`, lest each addition wait for the last one. */
TT_INLINE void multiply_strip(const size_t rows, const size_t nv, const int wide, size_t r, const float *values,
                              const void *indices, size_t first, size_t last, const float *x,
                              size_t x_row_stride, size_t stored, size_t n, float *c, size_t c_row_stride)
{
    const size_t chains = rows * nv >= 4 ? 1 : 4 / (rows * nv);
    vf sum[4][4][4];
    TT_UNROLL for (size_t t = 0; t < chains; t++)
        TT_UNROLL for (size_t i = 0; i < rows; i++)
            TT_UNROLL for (size_t v = 0; v < nv; v++) sum[t][i][v] = vf_set(0.0f);

    size_t b = first;
    for (; b + chains <= last; b += chains)
        TT_UNROLL for (size_t t = 0; t < chains; t++)
            add_block(rows, nv, values + (b + t) * r, x + index_at(indices, wide, b + t) * x_row_stride, sum[t]);
    for (; b < last; b++)
        add_block(rows, nv, values + b * r, x + index_at(indices, wide, b) * x_row_stride, sum[0]);

    TT_UNROLL for (size_t t = 1; t < chains; t++)
        TT_UNROLL for (size_t i = 0; i < rows; i++)
            TT_UNROLL for (size_t v = 0; v < nv; v++) sum[0][i][v] = vf_add(sum[0][i][v], sum[t][i][v]);
    if (stored == rows && n >= nv * VF_N) {
        TT_UNROLL for (size_t i = 0; i < rows; i++)
            TT_UNROLL for (size_t v = 0; v < nv; v++) vf_store(c + i * c_row_stride + v * VF_N, sum[0][i][v]);
        return;
    }
    TT_UNROLL for (size_t i = 0; i < rows; i++)
        if (i < stored)
            TT_UNROLL for (size_t v = 0; v < nv; v++)
                vf_store_up_to(c + i * c_row_stride + v * VF_N, sum[0][i][v], n - v * VF_N);
}

/* One block row (or four rows of it), strip after strip; the last columns take narrower strips. */
TT_INLINE void multiply_block_row(const size_t rows, const size_t strip, const int wide, size_t r,
                                  const float *values, const void *indices, size_t first, size_t last,
                                  const float *x, size_t x_row_stride, size_t stored, size_t n, float *c,
                                  size_t c_row_stride)
{
    for (size_t j = 0; j < n;) {
        size_t vectors = (n - j + VF_N - 1) / VF_N, taken = 1;
#define STRIP(nv)                                                                                            \
    multiply_strip(rows, nv, wide, r, values, indices, first, last, x + j, x_row_stride, stored, n - j, c + j, \
                   c_row_stride);                                                                            \
    taken = nv
        if (strip >= 4 && vectors >= 4) {
            STRIP(4);
        } else if (vectors >= 2) {
            STRIP(2);
        } else {
            STRIP(1);
        }
#undef STRIP
        j += taken * VF_N;
    }
}

TT_INLINE void multiply_rows(const size_t rows, const size_t strip, const int wide, const tt_block_rows *w,
                             const float *x, size_t x_row_stride, size_t n, float *c, size_t c_row_stride)
{
    const size_t r = rows < 4 ? rows : w->r;
    for (size_t i = 0, row = 0; row < w->m; i++) {
        size_t first = (size_t)w->first[i], last = (size_t)w->last[i];
        for (size_t inside = 0; inside < r && row < w->m; inside += rows, row += rows)
            multiply_block_row(rows, strip, wide, r, w->values + inside, w->indices, first, last, x, x_row_stride,
                               w->m - row < rows ? w->m - row : rows, n, c + row * c_row_stride, c_row_stride);
    }
}

static void multiply(const tt_block_rows *w, const float *x, size_t x_row_stride, size_t n, float *c,
                     size_t c_row_stride)
{
#define ROWS(rows, strip)                                                     \
    if (w->wide)                                                              \
        multiply_rows(rows, strip, 1, w, x, x_row_stride, n, c, c_row_stride); \
    else                                                                      \
        multiply_rows(rows, strip, 0, w, x, x_row_stride, n, c, c_row_stride)
    if (w->r == 2) {
        ROWS(2, STRIP_2);
    } else {
        ROWS(4, STRIP_4);
    }
#undef ROWS
}

/* ---- one column ---- */

/* sum (nv) += one block of r elements times its element of x. */
TT_INLINE void add_lanes(const size_t nv, const size_t lanes, const float *values, float x, vf *sum)
{
    TT_UNROLL for (size_t v = 0; v < nv; v++)
        sum[v] = vf_fma(vf_load_up_to(values + v * VF_N, lanes), vf_set(x), sum[v]);
}

/* The rows of a block are lanes, so no sum runs across a vector. */
TT_INLINE void dot_blocks(const size_t r, const int wide, const tt_block_rows *w, const float *x, float *y)
{
    enum { CHAINS = 4, MOST = 16 };
    const size_t nv = r > VF_N ? r / VF_N : 1, lanes = r > VF_N ? VF_N : r;
    for (size_t i = 0; i * r < w->m; i++) {
        size_t b = (size_t)w->first[i], last = (size_t)w->last[i], left = w->m - i * r;
        vf sum[CHAINS][MOST];
        TT_UNROLL for (size_t t = 0; t < CHAINS; t++)
            TT_UNROLL for (size_t v = 0; v < nv; v++) sum[t][v] = vf_set(0.0f);
        for (; b + CHAINS <= last; b += CHAINS)
            TT_UNROLL for (size_t t = 0; t < CHAINS; t++)
                add_lanes(nv, lanes, w->values + (b + t) * r, x[index_at(w->indices, wide, b + t)], sum[t]);
        for (; b < last; b++) add_lanes(nv, lanes, w->values + b * r, x[index_at(w->indices, wide, b)], sum[0]);
        TT_UNROLL for (size_t v = 0; v < nv; v++) {
            vf total = vf_add(vf_add(sum[0][v], sum[1][v]), vf_add(sum[2][v], sum[3][v]));
            size_t begin = v * VF_N, count = left < begin + lanes ? left - begin : lanes;
            if (begin < left) vf_store_up_to(y + i * r + begin, total, count);
        }
    }
}

static void multiply_vector(const tt_block_rows *w, const float *x, float *y)
{
#define BLOCKS(r) \
    case r: w->wide ? dot_blocks(r, 1, w, x, y) : dot_blocks(r, 0, w, x, y); break
    switch (w->r) {
        BLOCKS(2); BLOCKS(4); BLOCKS(8); BLOCKS(16);
    }
#undef BLOCKS
}

const tt_sparse_kernels TT_FOR_LEVEL(tt_sparse) = {multiply, multiply_vector, &TT_FOR_LEVEL(tt_sparse_slices),
                                                           TT_FOR_LEVEL(tt_transpose)};
