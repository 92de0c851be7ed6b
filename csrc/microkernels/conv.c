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

/* Four accumulators hide the latency of the additions. */
static void correlate(const float *image, const size_t *offsets, const float *w, size_t taps, size_t n, float *y)
{
    enum { CHAINS = 4 };
    size_t j = 0;
    for (; j + CHAINS * VF_N <= n; j += CHAINS * VF_N) {
        vf sum[CHAINS];
        TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_set(0.0f);
        for (size_t t = 0; t < taps; t++) {
            const float *from = image + offsets[t] + j;
            vf weight = vf_set(w[t]);
            TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_fma(weight, vf_load(from + i * VF_N), sum[i]);
        }
        TT_UNROLL for (int i = 0; i < CHAINS; i++) vf_store(y + j + i * VF_N, sum[i]);
    }
    for (; j < n; j += VF_N) {
        vf sum = vf_set(0.0f);
        for (size_t t = 0; t < taps; t++)
            sum = vf_fma(vf_set(w[t]), vf_load_up_to(image + offsets[t] + j, n - j), sum);
        vf_store_up_to(y + j, sum, n - j);
    }
}

const tt_conv_kernels TT_FOR_LEVEL(tt_conv) = {copy_runs, correlate, TT_FOR_LEVEL(tt_transpose)};
