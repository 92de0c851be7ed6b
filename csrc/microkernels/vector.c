/* Elementwise kernels, written once over vec.h. */
#include "microkernels/vector.h"
#include "microkernels/vec.h"
#include "tinytorch.h"

TT_INLINE vf activate(vf x, int activation)
{
    if (activation == TT_RELU) return vf_max(vf_set(0.0f), x);
    return x;
}

static void bias_activation(float *c, size_t row_stride, size_t m, size_t n, const float *row_bias,
                            const float *column_bias, int activation)
{
    for (size_t i = 0; i < m; i++) {
        float *row = c + i * row_stride;
        vf bias = vf_set(row_bias ? row_bias[i] : 0.0f);
        size_t j = 0;
        for (; j + VF_N <= n; j += VF_N) {
            vf x = vf_add(vf_load(row + j), bias);
            if (column_bias) x = vf_add(x, vf_load(column_bias + j));
            vf_store(row + j, activate(x, activation));
        }
        if (j < n) {
            vf x = vf_add(vf_load_n(row + j, n - j), bias);
            if (column_bias) x = vf_add(x, vf_load_n(column_bias + j, n - j));
            vf_store_n(row + j, activate(x, activation), n - j);
        }
    }
}

/* The machine's peak, measured: enough independent accumulators to hide the latency of each addition. */
static double run_fma(size_t iterations)
{
    enum { CHAINS = 10 };
    vf sum[CHAINS];
    volatile float one = 1.0f, tiny = 1e-30f; /* read at run time, so that nothing is folded away */
    vf x = vf_set(one), y = vf_set(tiny);
    TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_set((float)i);
    for (size_t t = 0; t < iterations; t++)
        TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_fma(sum[i], x, y);
    vf total = sum[0];
    for (int i = 1; i < CHAINS; i++) total = vf_add(total, sum[i]);
    volatile float sink = vf_sum(total);
    (void)sink;
    return 2.0 * CHAINS * VF_N * (double)iterations;
}

static float run_read(const float *x, size_t n)
{
    enum { CHAINS = 8 };
    vf sum[CHAINS];
    TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_set(0.0f);
    size_t j = 0;
    for (; j + CHAINS * VF_N <= n; j += CHAINS * VF_N)
        TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_add(sum[i], vf_load(x + j + i * VF_N));
    for (; j < n; j++) sum[0] = vf_add(sum[0], vf_load_n(x + j, 1));
    vf total = sum[0];
    for (int i = 1; i < CHAINS; i++) total = vf_add(total, sum[i]);
    return vf_sum(total);
}

const tt_vector_kernels TT_FOR_LEVEL(tt_vector) = {bias_activation, run_fma, run_read};
