/* Normalisation: sums over a row or a channel's plane, and what is done with them. */
#include "microkernels/loops.h"
#include "microkernels/vector.h"

TT_INLINE vf add_centred_square(vf sum, vf a, vf b, vf mean)
{
    (void)b;
    vf d = vf_sub(a, mean);
    return vf_fma(d, d, sum);
}

static float centred_squares(const float *x, size_t n, float mean)
{
    return sum_of(add_centred_square, x, NULL, n, mean, mean);
}

static void normalize(const float *x, size_t n, float mean, float scale, float shift, float *y)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf d = vf_sub(vf_load_up_to(x + j, n - j), vf_set(mean));
        vf_store_up_to(y + j, vf_fma(d, vf_set(scale), vf_set(shift)), n - j);
    }
}

static void centred_sums(const float *dy, const float *x, size_t n, float mean, float sums[2])
{
    vf plain[CHAINS], along[CHAINS];
    TT_UNROLL for (int i = 0; i < CHAINS; i++) plain[i] = along[i] = vf_set(0.0f);
    size_t j = 0;
    for (; j + CHAINS * VF_N <= n; j += CHAINS * VF_N)
        TT_UNROLL for (int i = 0; i < CHAINS; i++) {
            vf gradient = vf_load(dy + j + i * VF_N);
            plain[i] = vf_add(plain[i], gradient);
            along[i] = vf_fma(gradient, vf_sub(vf_load(x + j + i * VF_N), vf_set(mean)), along[i]);
        }
    for (; j < n; j += VF_N) {
        vf gradient = vf_load_up_to(dy + j, n - j);
        plain[0] = vf_add(plain[0], gradient);
        along[0] = vf_fma(gradient, vf_sub(vf_load_or(x + j, n - j, mean), vf_set(mean)), along[0]);
    }
    sums[0] = vf_sum(total_of(plain));
    sums[1] = vf_sum(total_of(along));
}

static void normalize_backward(const float *dy, const float *x, size_t n, float mean, const float factors[3],
                               float *dx)
{
    vf of_dy = vf_set(factors[0]), of_x = vf_set(factors[1]), constant = vf_set(factors[2]);
    for (size_t j = 0; j < n; j += VF_N) {
        vf d = vf_sub(vf_load_up_to(x + j, n - j), vf_set(mean));
        vf sum = vf_fma(of_x, d, constant);
        vf_store_up_to(dx + j, vf_fma(of_dy, vf_load_up_to(dy + j, n - j), sum), n - j);
    }
}

static void normalize_row(const float *x, size_t n, float mean, float inverse, const float *weight,
                          const float *bias, float *y)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf value = vf_mul(vf_sub(vf_load_up_to(x + j, n - j), vf_set(mean)), vf_set(inverse));
        if (weight) value = vf_mul(value, vf_load_up_to(weight + j, n - j));
        if (bias) value = vf_add(value, vf_load_up_to(bias + j, n - j));
        vf_store_up_to(y + j, value, n - j);
    }
}

/* The gradient of the normalised row is dy, times the weight where there is one. */
TT_INLINE vf row_gradient(const float *dy, const float *weight, size_t left)
{
    vf gradient = vf_load_up_to(dy, left);
    return weight ? vf_mul(gradient, vf_load_up_to(weight, left)) : gradient;
}

TT_INLINE void accumulate(float *total, vf value, size_t left)
{
    vf_store_up_to(total, vf_add(vf_load_up_to(total, left), value), left);
}

static void row_sums(const float *dy, const float *x, size_t n, float mean, float inverse, const float *weight,
                     float *dweight, float *dbias, float sums[2])
{
    vf plain = vf_set(0.0f), along = vf_set(0.0f);
    for (size_t j = 0; j < n; j += VF_N) {
        vf normal = vf_mul(vf_sub(vf_load_or(x + j, n - j, mean), vf_set(mean)), vf_set(inverse));
        vf gradient = row_gradient(dy + j, weight ? weight + j : NULL, n - j);
        plain = vf_add(plain, gradient);
        along = vf_fma(gradient, normal, along);
        if (dweight) accumulate(dweight + j, vf_mul(vf_load_up_to(dy + j, n - j), normal), n - j);
        if (dbias) accumulate(dbias + j, vf_load_up_to(dy + j, n - j), n - j);
    }
    sums[0] = vf_sum(plain);
    sums[1] = vf_sum(along);
}

static void row_backward(const float *dy, const float *x, size_t n, float mean, float inverse, const float *weight,
                         const float means[2], float *dx)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf normal = vf_mul(vf_sub(vf_load_up_to(x + j, n - j), vf_set(mean)), vf_set(inverse));
        vf gradient = vf_sub(row_gradient(dy + j, weight ? weight + j : NULL, n - j), vf_set(means[0]));
        gradient = vf_sub(gradient, vf_mul(normal, vf_set(means[1])));
        vf_store_up_to(dx + j, vf_mul(gradient, vf_set(inverse)), n - j);
    }
}

const tt_norm_kernels TT_FOR_LEVEL(tt_norm) = {centred_squares, normalize, centred_sums, normalize_backward,
                                               normalize_row,   row_sums,  row_backward};
