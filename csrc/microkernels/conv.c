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

/* One vector of outputs, of which n may be fewer than VF_N, or several whole ones: their accumulators hide the
 * latency of an addition. */
TT_INLINE void correlate_few(const int vectors, const float *image, const size_t *offsets, const float *w,
                             size_t taps, size_t n, float *y)
{
    vf sum[4];
    TT_UNROLL for (int i = 0; i < vectors; i++) sum[i] = vf_set(0.0f);
    for (size_t t = 0; t < taps; t++) {
        const float *from = image + offsets[t];
        vf weight = vf_set(w[t]);
        TT_UNROLL for (int i = 0; i < vectors; i++) {
            vf pixels = vectors > 1 ? vf_load(from + i * VF_N) : vf_load_up_to(from, n);
            sum[i] = vf_fma(weight, pixels, sum[i]);
        }
    }
    TT_UNROLL for (int i = 0; i < vectors; i++) {
        if (vectors > 1) vf_store(y + i * VF_N, sum[i]);
        else vf_store_up_to(y, sum[i], n);
    }
}

static void correlate(const float *image, const size_t *offsets, const float *w, size_t taps, size_t n, float *y)
{
    size_t j = 0;
    for (; j + 4 * VF_N <= n; j += 4 * VF_N) correlate_few(4, image + j, offsets, w, taps, n - j, y + j);
    for (; j + 2 * VF_N <= n; j += 2 * VF_N) correlate_few(2, image + j, offsets, w, taps, n - j, y + j);
    for (; j < n; j += VF_N) correlate_few(1, image + j, offsets, w, taps, n - j, y + j);
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
