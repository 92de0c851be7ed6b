/* Softmax of a row: its maximum, the exponentials below it and their sum, the quotient.
 *
 * A NaN anywhere makes the sum NaN, and with it the whole row. */
#include "microkernels/vector.h"
#include "microkernels/vec.h"

static float largest(const float *x, size_t n)
{
    vf best = vf_set(-INFINITY);
    for (size_t j = 0; j < n; j += VF_N) best = vf_max(best, vf_load_or(x + j, n - j, -INFINITY));
    return vf_largest(best);
}

/* y may be NULL. The lanes beyond the row hold -inf, whose exponential is 0. */
TT_INLINE float exponentials(const float *x, size_t n, float top, float *y)
{
    vf sum[2] = {vf_set(0.0f), vf_set(0.0f)};
    size_t j = 0;
    for (; j + 2 * VF_N <= n; j += 2 * VF_N)
        TT_UNROLL for (int i = 0; i < 2; i++) {
            vf e = vf_exp(vf_sub(vf_load(x + j + i * VF_N), vf_set(top)));
            if (y) vf_store(y + j + i * VF_N, e);
            sum[i] = vf_add(sum[i], e);
        }
    for (; j < n; j += VF_N) {
        vf e = vf_exp(vf_sub(vf_load_or(x + j, n - j, -INFINITY), vf_set(top)));
        if (y) vf_store_up_to(y + j, e, n - j);
        sum[0] = vf_add(sum[0], e);
    }
    return vf_sum(vf_add(sum[0], sum[1]));
}

static float sum_exponentials(const float *x, size_t n, float top) { return exponentials(x, n, top, NULL); }

static float sum_below(const float *x, size_t n, float top)
{
    vf sum = vf_set(0.0f);
    for (size_t j = 0; j < n; j += VF_N) sum = vf_add(sum, vf_sub(vf_set(top), vf_load_or(x + j, n - j, top)));
    return vf_sum(sum);
}

static void softmax(const float *x, size_t n, float *y)
{
    if (n <= VF_N) { /* a row that never leaves its register */
        vf row = vf_load_or(x, n, -INFINITY), e = vf_exp(vf_sub(row, vf_set(vf_largest(row))));
        vf_store_up_to(y, vf_mul(e, vf_set(1.0f / vf_sum(e))), n);
        return;
    }
    vf scale = vf_set(1.0f / exponentials(x, n, largest(x, n), y));
    for (size_t j = 0; j < n; j += VF_N) vf_store_up_to(y + j, vf_mul(scale, vf_load_up_to(y + j, n - j)), n - j);
}

static void log_softmax(const float *x, size_t n, float *y)
{
    float top = largest(x, n);
    vf log_sum = vf_set(logf(sum_exponentials(x, n, top)));
    for (size_t j = 0; j < n; j += VF_N)
        vf_store_up_to(y + j, vf_sub(vf_sub(vf_load_up_to(x + j, n - j), vf_set(top)), log_sum), n - j);
}

static void softmax_backward(const float *dy, const float *y, size_t n, float *dx)
{
    vf sum = vf_set(0.0f);
    for (size_t j = 0; j < n; j += VF_N)
        sum = vf_fma(vf_load_up_to(dy + j, n - j), vf_load_up_to(y + j, n - j), sum);
    vf along = vf_set(vf_sum(sum));
    for (size_t j = 0; j < n; j += VF_N) {
        vf gradient = vf_sub(vf_load_up_to(dy + j, n - j), along);
        vf_store_up_to(dx + j, vf_mul(vf_load_up_to(y + j, n - j), gradient), n - j);
    }
}

static void log_softmax_backward(const float *dy, const float *y, size_t n, float *dx)
{
    vf sum = vf_set(0.0f);
    for (size_t j = 0; j < n; j += VF_N) sum = vf_add(sum, vf_load_up_to(dy + j, n - j));
    vf total = vf_set(vf_sum(sum));
    for (size_t j = 0; j < n; j += VF_N) {
        vf share = vf_mul(vf_exp(vf_load_up_to(y + j, n - j)), total);
        vf_store_up_to(dx + j, vf_sub(vf_load_up_to(dy + j, n - j), share), n - j);
    }
}

const tt_softmax_kernels TT_FOR_LEVEL(tt_softmax) = {
    largest, sum_exponentials, sum_below, softmax, softmax_backward, log_softmax, log_softmax_backward,
};
