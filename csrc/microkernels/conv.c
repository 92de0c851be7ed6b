/* What convolutions do besides multiplying matrices. */
#include "microkernels/vector.h"
#include "microkernels/vec.h"

/* Called with constants where the length is common, so that the loop over vectors unrolls. */
TT_INLINE void copy_run(const size_t vectors, const float *image, const size_t *offsets, size_t kc, size_t rest,
                        size_t width, float *panel)
{
    for (size_t d = 0; d < kc; d++, panel += width) {
        const float *from = image + offsets[d];
        for (size_t v = 0; v < vectors; v++) vf_store(panel + v * VF_N, vf_load(from + v * VF_N));
        if (rest) vf_store_n(panel + vectors * VF_N, vf_load_n(from + vectors * VF_N, rest), rest);
    }
}

static void copy_runs(const float *image, const size_t *offsets, size_t kc, const tt_run *runs, size_t run_count,
                      size_t width, float *panel)
{
    for (size_t i = 0; i < run_count; i++) {
        const float *from = image + runs[i].source;
        float *to = panel + runs[i].target;
        size_t vectors = runs[i].length / VF_N, rest = runs[i].length % VF_N;
        if (vectors == 2 && rest == 0)
            copy_run(2, from, offsets, kc, 0, width, to);
        else if (vectors == 0)
            copy_run(0, from, offsets, kc, rest, width, to);
        else
            copy_run(vectors, from, offsets, kc, rest, width, to);
    }
}

/* A plane of outputs: pixels are lanes. */
typedef struct {
    const float *image;
    size_t row_stride;
    const size_t *offsets;
    const float *w;
    size_t taps;
    float start;
    size_t n; /* of a row of y */
} tt_correlation;

/* ROWS x VECTORS accumulators hide the latency of an addition; so do WIDE vectors of one row. */
enum { ROWS = 4, VECTORS = 2, WIDE = 8 };

/* Rows i and following, from column j on. `rows` and `vectors` are constants wherever this is called. The last
 * vectors of a row move back to end where it ends: some pixels are computed twice, but none needs a mask. Only
 * a row shorter than a vector has one. */
TT_INLINE void correlate_block(const size_t rows, const size_t vectors, const tt_correlation *c, size_t i,
                               size_t j, float *y)
{
    const float *image = c->image + i * c->row_stride;
    const size_t *offsets = c->offsets;
    size_t n = c->n, row_stride = c->row_stride, at[WIDE] = {0};
    vf sum[ROWS][WIDE];
    if (vectors > 1) {
        size_t last = n - VF_N;
        TT_UNROLL for (size_t v = 0; v < vectors; v++) at[v] = j + v * VF_N < last ? j + v * VF_N : last;
    }
    y += i * n;
    TT_UNROLL for (size_t r = 0; r < rows; r++)
        TT_UNROLL for (size_t v = 0; v < vectors; v++) sum[r][v] = vf_set(c->start);
    for (size_t t = 0; t < c->taps; t++) {
        const float *from = image + offsets[t];
        vf weight = vf_set(c->w[t]);
        TT_UNROLL for (size_t r = 0; r < rows; r++)
            TT_UNROLL for (size_t v = 0; v < vectors; v++) {
                const float *pixels = from + r * row_stride + at[v];
                vf x = vectors > 1 ? vf_load(pixels) : vf_load_up_to(pixels, n);
                sum[r][v] = vf_fma(weight, x, sum[r][v]);
            }
    }
    TT_UNROLL for (size_t r = 0; r < rows; r++)
        TT_UNROLL for (size_t v = 0; v < vectors; v++) vf_store_up_to(y + r * n + at[v], sum[r][v], n);
}

TT_INLINE void correlate_rows(const size_t rows, const size_t vectors, const tt_correlation *c, size_t i,
                              float *y)
{
    if (c->n <= VF_N) correlate_block(rows, 1, c, i, 0, y);
    else
        for (size_t j = 0; j < c->n; j += vectors * VF_N) correlate_block(rows, vectors, c, i, j, y);
}

static void correlate(const float *image, size_t row_stride, const size_t *offsets, const float *w, size_t taps,
                      float start, size_t rows, size_t n, float *y)
{
    tt_correlation c = {image, row_stride, offsets, w, taps, start, n};
    size_t i = 0;
    for (; i + ROWS <= rows; i += ROWS) correlate_rows(ROWS, VECTORS, &c, i, y);
    for (; i < rows; i++) correlate_rows(1, WIDE, &c, i, y);
}

/* `taps` is a constant wherever this is called: an accumulator for each, and dy is loaded once for all. */
TT_INLINE void correlate_few_taps(const size_t taps, const float *dy, size_t rows, size_t n, const float *image,
                                  size_t row_stride, const size_t *offsets, float *dw)
{
    vf sum[9];
    TT_UNROLL for (size_t t = 0; t < taps; t++) sum[t] = vf_set(0.0f);
    for (size_t i = 0; i < rows; i++, dy += n, image += row_stride) {
        size_t j = 0;
        for (; j + VF_N <= n; j += VF_N) {
            vf gradient = vf_load(dy + j);
            TT_UNROLL for (size_t t = 0; t < taps; t++)
                sum[t] = vf_fma(gradient, vf_load(image + offsets[t] + j), sum[t]);
        }
        if (j == n) continue;
        vf gradient = vf_load_n(dy + j, n - j);
        TT_UNROLL for (size_t t = 0; t < taps; t++)
            sum[t] = vf_fma(gradient, vf_load_n(image + offsets[t] + j, n - j), sum[t]);
    }
    TT_UNROLL for (size_t t = 0; t < taps; t++) dw[t] += vf_sum(sum[t]);
}

static void correlate_backward(const float *dy, size_t rows, size_t n, const float *image, size_t row_stride,
                               const size_t *offsets, size_t taps, float *dw)
{
    size_t t = 0;
    for (; t + 9 <= taps; t += 9) correlate_few_taps(9, dy, rows, n, image, row_stride, offsets + t, dw + t);
    for (; t + 3 <= taps; t += 3) correlate_few_taps(3, dy, rows, n, image, row_stride, offsets + t, dw + t);
    for (; t < taps; t++) correlate_few_taps(1, dy, rows, n, image, row_stride, offsets + t, dw + t);
}

const tt_conv_kernels TT_FOR_LEVEL(tt_conv) = {copy_runs, correlate, correlate_backward,
                                               TT_FOR_LEVEL(tt_transpose), &TT_FOR_LEVEL(tt_conv_tile)};
