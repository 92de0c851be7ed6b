/* Softmax of a row: its maximum, the exponentials below it and their sum, the quotient.
 *
 * A NaN anywhere makes the sum NaN, and with it the whole row. */
#include "microkernels/loops.h"
#include "microkernels/vector.h"

static float largest(const float *x, size_t n)
{
    vf best[CHAINS];
    TT_UNROLL for (int i = 0; i < CHAINS; i++) best[i] = vf_set(-INFINITY);
    size_t j = 0;
    for (; j + CHAINS * VF_N <= n; j += CHAINS * VF_N)
        TT_UNROLL for (int i = 0; i < CHAINS; i++) best[i] = vf_max(best[i], vf_load(x + j + i * VF_N));
    for (; j < n; j += VF_N) best[0] = vf_max(best[0], vf_load_or(x + j, n - j, -INFINITY));
    return vf_largest(vf_max(vf_max(best[0], best[1]), vf_max(best[2], best[3])));
}

/* y may be NULL. The lanes beyond the row hold -inf, whose exponential is 0. While these are computed, memory has
 * little to do: time to fetch the row that follows. */
TT_INLINE float exponentials(const float *x, size_t n, float top, float *y)
{
    vf sum[2] = {vf_set(0.0f), vf_set(0.0f)};
    size_t j = 0;
    for (; j + 2 * VF_N <= n; j += 2 * VF_N)
        TT_UNROLL for (int i = 0; i < 2; i++) {
            TT_PREFETCH(x + n + j + i * VF_N);
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

TT_INLINE vf add_distance(vf sum, vf a, vf b, vf c)
{
    (void)b;
    return vf_add(sum, vf_sub(c, a));
}

static float sum_below(const float *x, size_t n, float top) { return sum_of(add_distance, x, NULL, n, top, top); }

TT_INLINE vf scaled(vf e, vf b, const vf *k)
{
    (void)b;
    return vf_fma(e, k[0], k[1]);
}

static void softmax(const float *x, size_t n, float scale, float shift, float *y)
{
    if (n <= VF_N) { /* a row that never leaves its register */
        vf row = vf_load_or(x, n, -INFINITY), e = vf_exp(vf_sub(row, vf_set(vf_largest(row))));
        vf_store_up_to(y, vf_fma(e, vf_set(scale / vf_sum(e)), vf_set(shift)), n);
        return;
    }
    float sum = exponentials(x, n, largest(x, n), y);
    map_with(scaled, y, NULL, n, n, (vf[]){vf_set(scale / sum), vf_set(shift)}, y);
}

TT_INLINE vf below(vf x, vf b, const vf *k)
{
    (void)b;
    return vf_sub(vf_sub(x, k[0]), k[1]);
}

static void log_softmax(const float *x, size_t n, float *y)
{
    float top = largest(x, n), log_sum = logf(sum_exponentials(x, n, top));
    map_with(below, x, NULL, n, n, (vf[]){vf_set(top), vf_set(log_sum)}, y);
}

TT_INLINE vf softmax_gradient(vf dy, vf y, const vf *along) { return vf_mul(y, vf_sub(dy, *along)); }

static void softmax_backward(const float *dy, const float *y, size_t n, float *dx)
{
    vf along = vf_set(sum_of(add_product, dy, y, n, 0.0f, 0.0f));
    map_with(softmax_gradient, dy, y, n, n, &along, dx);
}

TT_INLINE vf log_softmax_gradient(vf dy, vf y, const vf *total) { return vf_sub(dy, vf_mul(vf_exp(y), *total)); }

static void log_softmax_backward(const float *dy, const float *y, size_t n, float *dx)
{
    vf total = vf_set(sum_of(add_element, dy, NULL, n, 0.0f, 0.0f));
    map_with(log_softmax_gradient, dy, y, n, n, &total, dx);
}

const tt_softmax_kernels TT_FOR_LEVEL(tt_softmax) = {
    largest, sum_exponentials, sum_below, softmax, softmax_backward, log_softmax, log_softmax_backward,
};
