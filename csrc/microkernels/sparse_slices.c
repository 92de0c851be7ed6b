/* Slices of a sparse matrix times dense panels, written once; each level fills its own registers with accumulators. */
#include "microkernels/sparse.h"
#include "microkernels/vec.h"

/* How many of a slice's rows are summed together, by how many vectors of columns. Loading is the limit: each
 * product loads its vector of x, so what else there is to load (an element and its column) should serve many. */
#if defined(TT_LEVEL_AVX512) /* 32 registers: 4 x 4 + 4 */
enum { TOGETHER = 4, STRIP = 4 };
#elif defined(TT_LEVEL_AVX2) /* 16 registers: 1 x 8 + 1 */
enum { TOGETHER = 1, STRIP = 8 };
#elif defined(TT_LEVEL_NEON) /* 32 registers: 2 x 8 + 2 */
enum { TOGETHER = 2, STRIP = 8 };
#else
enum { TOGETHER = 1, STRIP = 8 };
#endif

/* Rows `row` ... `row` + TOGETHER-1 of a slice by `nv` vectors of columns, n of them to be stored. `nv` and
 * `x_row_stride` are constants where that pays, so the sums live in registers. */
TT_INLINE void multiply_strip(const size_t nv, const tt_slices *w, const tt_slice *slice, size_t row, const float *x,
                              const size_t x_row_stride, size_t n, const float *start, size_t start_row_stride,
                              float *c, size_t c_row_stride)
{
    const uint16_t *rows = slice->rows + row;
    vf sum[TOGETHER][STRIP];
    TT_UNROLL for (size_t i = 0; i < TOGETHER; i++) {
        const float *from = start && rows[i] != TT_NO_ROW ? start + rows[i] * start_row_stride : NULL;
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = from ? vf_load(from + v * VF_N) : vf_set(0.0f);
    }

    const float *values = w->values + (size_t)slice->first * TT_SLICE_ROWS + row;
    for (int32_t group = slice->first; group < slice[1].first; group++, values += TT_SLICE_ROWS) {
        uint64_t columns = w->columns[group] >> 16 * row;
        TT_UNROLL for (size_t i = 0; i < TOGETHER; i++) {
            const float *from = x + (columns >> 16 * i & 0xffff) * x_row_stride;
            vf element = vf_set(values[i]);
            TT_UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = vf_fma(element, vf_load(from + v * VF_N), sum[i][v]);
        }
    }

    TT_UNROLL for (size_t i = 0; i < TOGETHER; i++) {
        if (rows[i] == TT_NO_ROW) continue;
        float *to = c + rows[i] * c_row_stride;
        if (n >= nv * VF_N)
            TT_UNROLL for (size_t v = 0; v < nv; v++) vf_store(to + v * VF_N, sum[i][v]);
        else
            TT_UNROLL for (size_t v = 0; v < nv; v++) vf_store_up_to(to + v * VF_N, sum[i][v], n - v * VF_N);
    }
}

/* All columns of a slice, strip after strip; the last ones take narrower strips. */
TT_INLINE void multiply_slice(const tt_slices *w, const tt_slice *slice, const float *x, const size_t x_row_stride,
                              size_t n, const float *start, size_t start_row_stride, float *c, size_t c_row_stride)
{
    for (size_t row = 0; row < TT_SLICE_ROWS; row += TOGETHER)
        for (size_t j = 0; j < n;) {
            size_t vectors = (n - j + VF_N - 1) / VF_N, taken = 1;
#define VECTORS(nv)                                                                                              \
    multiply_strip(nv, w, slice, row, x + j, x_row_stride, n - j, start ? start + j : NULL, start_row_stride, c + j, \
                   c_row_stride);                                                                                \
    taken = nv
            if (vectors >= STRIP) {
                VECTORS(STRIP);
            } else if (STRIP > 4 && vectors >= 4) {
                VECTORS(4);
            } else if (vectors >= 2) {
                VECTORS(2);
            } else {
                VECTORS(1);
            }
#undef VECTORS
            j += taken * VF_N;
        }
}

static void multiply(const tt_slices *w, const float *x, size_t x_row_stride, size_t n, const float *start,
                     size_t start_row_stride, float *c, size_t c_row_stride)
{
    const tt_slice *slice = w->slices, *end = slice + w->count;
    if (x_row_stride == 64) /* a full panel: rows are found by a shift instead of a product */
        for (; slice < end; slice++) multiply_slice(w, slice, x, 64, n, start, start_row_stride, c, c_row_stride);
    else
        for (; slice < end; slice++)
            multiply_slice(w, slice, x, x_row_stride, n, start, start_row_stride, c, c_row_stride);
}

/* ---- one column ---- */

/* The sums of a slice's four rows, side by side, and what a group adds to them. The gather instructions of today's
 * CPUs are slower than four loads. */
#if defined(TT_LEVEL_AVX512) || defined(TT_LEVEL_AVX2)
typedef __m128 four;
TT_INLINE four four_zeros(void) { return _mm_setzero_ps(); }
TT_INLINE four add_group(four sum, uint64_t columns, const float *values, const float *x)
{
    __m128 met = _mm_set_ps(x[columns >> 48], x[columns >> 32 & 0xffff], x[columns >> 16 & 0xffff], x[columns & 0xffff]);
    return _mm_fmadd_ps(_mm_loadu_ps(values), met, sum);
}
TT_INLINE void store_four(float *p, four a, four b) { _mm_storeu_ps(p, _mm_add_ps(a, b)); }
#else
typedef struct {
    float row[TT_SLICE_ROWS];
} four;
TT_INLINE four four_zeros(void) { return (four){{0, 0, 0, 0}}; }
TT_INLINE four add_group(four sum, uint64_t columns, const float *values, const float *x)
{
    TT_UNROLL for (size_t i = 0; i < TT_SLICE_ROWS; i++) sum.row[i] += values[i] * x[columns >> 16 * i & 0xffff];
    return sum;
}
TT_INLINE void store_four(float *p, four a, four b)
{
    TT_UNROLL for (size_t i = 0; i < TT_SLICE_ROWS; i++) p[i] = a.row[i] + b.row[i];
}
#endif

static void multiply_vector(const tt_slices *w, const float *x, float *y, int accumulate)
{
    for (const tt_slice *slice = w->slices, *end = slice + w->count; slice < end; slice++) {
        const uint64_t *columns = w->columns;
        const float *values = w->values;
        four even = four_zeros(), odd = four_zeros(); /* two, lest each addition wait for the last one */
        size_t group = (size_t)slice->first, last = (size_t)slice[1].first;
        for (; group + 1 < last; group += 2) {
            even = add_group(even, columns[group], values + group * TT_SLICE_ROWS, x);
            odd = add_group(odd, columns[group + 1], values + (group + 1) * TT_SLICE_ROWS, x);
        }
        if (group < last) even = add_group(even, columns[group], values + group * TT_SLICE_ROWS, x);
        float sum[TT_SLICE_ROWS];
        store_four(sum, even, odd);
        for (size_t i = 0; i < TT_SLICE_ROWS; i++) {
            if (slice->rows[i] == TT_NO_ROW) continue;
            float *to = y + slice->rows[i];
            *to = accumulate ? *to + sum[i] : sum[i];
        }
    }
}

const tt_slice_kernels TT_FOR_LEVEL(tt_sparse_slices) = {multiply, multiply_vector};
