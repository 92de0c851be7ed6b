/* Sums, the machine's limits, and the table of every kernel written over vec.h. */
#include "microkernels/loops.h"
#include "microkernels/vector.h"

static float sum(const float *x, size_t n) { return sum_of(add_element, x, NULL, n, 0.0f, 0.0f); }

static void add(float *y, const float *x, size_t n) { map_two(vf_add, y, x, n, y); }

/* The machine's peak, measured: enough independent accumulators to hide the latency of each addition. */
static double run_fma(size_t iterations)
{
    enum { SUMS = 10 };
    vf sum[SUMS];
    volatile float one = 1.0f, tiny = 1e-30f; /* read at run time, so that nothing is folded away */
    vf x = vf_set(one), y = vf_set(tiny);
    TT_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = vf_set((float)i);
    for (size_t t = 0; t < iterations; t++)
        TT_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = vf_fma(sum[i], x, y);
    vf total = sum[0];
    for (int i = 1; i < SUMS; i++) total = vf_add(total, sum[i]);
    volatile float sink = vf_sum(total);
    (void)sink;
    return 2.0 * SUMS * VF_N * (double)iterations;
}

static float run_read(const float *x, size_t n)
{
    enum { SUMS = 8 };
    vf sum[SUMS];
    TT_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = vf_set(0.0f);
    size_t j = 0;
    for (; j + SUMS * VF_N <= n; j += SUMS * VF_N)
        TT_UNROLL for (int i = 0; i < SUMS; i++) sum[i] = vf_add(sum[i], vf_load(x + j + i * VF_N));
    for (; j < n; j++) sum[0] = vf_add(sum[0], vf_load_n(x + j, 1));
    vf total = sum[0];
    for (int i = 1; i < SUMS; i++) total = vf_add(total, sum[i]);
    return vf_sum(total);
}

const tt_vector_kernels TT_FOR_LEVEL(tt_vector) = {
    .bias_activation = TT_FOR_LEVEL(tt_bias_activation),
    .run_fma = run_fma,
    .run_read = run_read,
    .sum = sum,
    .add = add,
    .activation = &TT_FOR_LEVEL(tt_activation),
    .conv = &TT_FOR_LEVEL(tt_conv),
    .pool = &TT_FOR_LEVEL(tt_pool),
    .norm = &TT_FOR_LEVEL(tt_norm),
    .batch_norm = &TT_FOR_LEVEL(tt_batch_norm),
    .softmax = &TT_FOR_LEVEL(tt_softmax),
    .optimizer = &TT_FOR_LEVEL(tt_optimizer),
};
