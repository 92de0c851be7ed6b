/* Activations and their derivatives. */
#include "microkernels/vector.h"
#include "microkernels/vec.h"
#include "tinytorch.h"

/* The normal distribution's cdf(x) and e^(-x^2 / 2), with a relative error below 1e-6 on both sides
 * (4e-6 in the far tail on the scalar level, which has no fused multiply-add).
 *
 * For a = |x| the lower tail is cdf(-a) = e^(-a^2 / 2) M(a), where M is smooth: a polynomial in
 * t = 1 / (1 + 0.35 a), fitted to the smallest relative error on [0, 15]; beyond, the tail is zero in float32.
 * The part of a^2 that rounding drops matters in the tail, so it is multiplied back. */
TT_INLINE vf normal_cdf(vf x, vf *bell)
{
    vf a = vf_min(vf_set(15.0f), vf_abs(x));
    vf square = vf_mul(a, a), dropped = vf_fma(a, a, vf_sub(vf_set(0.0f), square));
    *bell = vf_exp(vf_mul(vf_set(-0.5f), square));
    *bell = vf_fma(vf_mul(vf_set(-0.5f), dropped), *bell, *bell);
    vf t = vf_div(vf_set(1.0f), vf_fma(vf_set(0.35f), a, vf_set(1.0f)));
    static const float coefficients[] = {-0.0291641001f, 0.14406161f, -0.255903482f, 0.159394681f, -0.023265006f,
                                         0.105575278f,   0.119815379f, 0.139864353f, 0.139621258f};
    vf m = vf_set(coefficients[0]);
    TT_UNROLL for (int i = 1; i < 9; i++) m = vf_fma(m, t, vf_set(coefficients[i]));
    vf tail = vf_mul(vf_mul(m, t), *bell);
    return vf_where(vf_less(x, vf_set(0.0f)), tail, vf_sub(vf_set(1.0f), tail));
}

/* The approximations have the form x * sigmoid(slope(x) * x): 0.5 (1 + tanh(u)) is sigmoid(2u), with
 * 2u = 2 sqrt(2 / pi) (x + 0.044715 x^3). */
#define TANH_1 1.59576912f
#define TANH_3 0.0713548162f
#define SIGMOID_1 1.702f

TT_INLINE vf sigmoid_argument(vf x, int approximate)
{
    if (approximate == TT_GELU_SIGMOID) return vf_mul(vf_set(SIGMOID_1), x);
    return vf_mul(x, vf_fma(vf_mul(x, x), vf_set(TANH_3), vf_set(TANH_1)));
}

TT_INLINE vf gelu_of(vf x, int approximate)
{
    if (approximate == TT_GELU_ERF) {
        vf bell;
        return vf_mul(x, normal_cdf(x, &bell));
    }
    vf e = vf_exp(vf_sub(vf_set(0.0f), sigmoid_argument(x, approximate)));
    return vf_div(x, vf_add(vf_set(1.0f), e));
}

TT_INLINE vf gelu_slope(vf x, int approximate)
{
    if (approximate == TT_GELU_ERF) {
        vf bell, cdf = normal_cdf(x, &bell);
        return vf_fma(vf_mul(x, vf_set(0.398942280f)), bell, cdf); /* 1 / sqrt(2 pi) */
    }
    x = vf_min(vf_set(60.0f), vf_max(vf_set(-60.0f), x)); /* flat beyond, where x^2 times 0 would be no number */
    vf e = vf_exp(vf_sub(vf_set(0.0f), sigmoid_argument(x, approximate)));
    vf s = vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), e));
    vf inner = approximate == TT_GELU_SIGMOID ? vf_set(SIGMOID_1)
                                              : vf_fma(vf_mul(x, x), vf_set(3 * TANH_3), vf_set(TANH_1));
    vf rest = vf_sub(vf_set(1.0f), s);
    return vf_fma(vf_mul(vf_mul(x, inner), rest), s, s);
}

/* One loop for each form: the compiler then drops what that form does not need. */
TT_INLINE void map_gelu(const float *x, const float *dy, size_t n, float *out, const int approximate)
{
    for (size_t i = 0; i < n; i += VF_N) {
        vf value = vf_load_up_to(x + i, n - i);
        vf result = dy ? vf_mul(vf_load_up_to(dy + i, n - i), gelu_slope(value, approximate))
                       : gelu_of(value, approximate);
        vf_store_up_to(out + i, result, n - i);
    }
}

static void gelu(const float *x, size_t n, int approximate, float *y)
{
    if (approximate == TT_GELU_ERF) map_gelu(x, NULL, n, y, TT_GELU_ERF);
    if (approximate == TT_GELU_TANH) map_gelu(x, NULL, n, y, TT_GELU_TANH);
    if (approximate == TT_GELU_SIGMOID) map_gelu(x, NULL, n, y, TT_GELU_SIGMOID);
}

static void gelu_backward(const float *dy, const float *x, size_t n, int approximate, float *dx)
{
    if (approximate == TT_GELU_ERF) map_gelu(x, dy, n, dx, TT_GELU_ERF);
    if (approximate == TT_GELU_TANH) map_gelu(x, dy, n, dx, TT_GELU_TANH);
    if (approximate == TT_GELU_SIGMOID) map_gelu(x, dy, n, dx, TT_GELU_SIGMOID);
}

TT_INLINE vf activate(vf x, int activation)
{
    if (activation == TT_RELU) return vf_max(vf_set(0.0f), x);
    if (activation == TT_GELU) return gelu_of(x, TT_GELU_ERF);
    return x;
}

TT_INLINE void finish(float *c, size_t row_stride, size_t m, size_t n, const float *row_bias,
                      const float *column_bias, const int activation)
{
    for (size_t i = 0; i < m; i++) {
        float *row = c + i * row_stride;
        vf bias = vf_set(row_bias ? row_bias[i] : 0.0f);
        for (size_t j = 0; j < n; j += VF_N) {
            vf x = vf_add(vf_load_up_to(row + j, n - j), bias);
            if (column_bias) x = vf_add(x, vf_load_up_to(column_bias + j, n - j));
            vf_store_up_to(row + j, activate(x, activation), n - j);
        }
    }
}

void TT_FOR_LEVEL(tt_bias_activation)(float *c, size_t row_stride, size_t m, size_t n, const float *row_bias,
                                      const float *column_bias, int activation)
{
    if (activation == TT_NONE) finish(c, row_stride, m, n, row_bias, column_bias, TT_NONE);
    if (activation == TT_RELU) finish(c, row_stride, m, n, row_bias, column_bias, TT_RELU);
    if (activation == TT_GELU) finish(c, row_stride, m, n, row_bias, column_bias, TT_GELU);
}

const tt_activation_kernels TT_FOR_LEVEL(tt_activation) = {gelu, gelu_backward};
