/* Activations and their derivatives: one function of a vector for each, and loops that apply it. */
#include "microkernels/loops.h"
#include "microkernels/vector.h"
#include "tinytorch.h"

/* The approximations of gelu have the form x * sigmoid(slope(x) * x): 0.5 (1 + tanh(u)) is sigmoid(2u), with
 * 2u = 2 sqrt(2 / pi) (x + 0.044715 x^3). */
#define TANH_1 1.59576912f
#define TANH_3 0.0713548162f
#define SIGMOID_1 1.702f
#define ROOT_HALF 0.707106781f

TT_INLINE vf tanh_argument(vf x) { return vf_mul(x, vf_fma(vf_mul(x, x), vf_set(TANH_3), vf_set(TANH_1))); }

TT_INLINE vf tanh_slope(vf x) { return vf_fma(vf_mul(x, x), vf_set(3 * TANH_3), vf_set(TANH_1)); }

/* The derivative of x * sigmoid(u(x)), where du is u's. */
TT_INLINE vf sigmoid_gelu_slope(vf x, vf u, vf du)
{
    vf s = vf_sigmoid(u);
    return vf_fma(vf_mul(vf_mul(x, du), vf_sub(vf_set(1.0f), s)), s, s);
}

/* ---- functions ---- */

TT_INLINE vf relu_of(vf x) { return vf_max(vf_set(0.0f), x); } /* x where it is NaN */

/* x / 2 (1 + erf(x / sqrt 2)), in the two steps of erf */
TT_INLINE vf gelu_exponent(vf x) { return vf_erf_exponent(vf_mul(x, vf_set(ROOT_HALF))); }

TT_INLINE vf gelu_erf_of(vf x, vf exponent)
{
    vf half = vf_mul(vf_set(0.5f), x);
    return vf_fma(half, vf_erf_of_exponent(x, exponent), half);
}

TT_INLINE vf gelu_tanh_of(vf x) { return vf_mul(x, vf_sigmoid(tanh_argument(x))); }

TT_INLINE vf gelu_sigmoid_of(vf x) { return vf_mul(x, vf_sigmoid(vf_mul(vf_set(SIGMOID_1), x))); }

/* ---- gradients, from the function's argument or its result ---- */

TT_INLINE vf relu_gradient(vf dy, vf x) { return vf_where(vf_less(vf_set(0.0f), x), dy, vf_set(0.0f)); }

TT_INLINE vf sigmoid_gradient(vf dy, vf y) { return vf_mul(dy, vf_mul(y, vf_sub(vf_set(1.0f), y))); }

TT_INLINE vf tanh_gradient(vf dy, vf y) { return vf_mul(dy, vf_fma(vf_sub(vf_set(0.0f), y), y, vf_set(1.0f))); }

/* Flat far from 0, where x^2 times 0 would be no number. */
TT_INLINE vf bounded(vf x) { return vf_min(vf_set(60.0f), vf_max(vf_set(-60.0f), x)); }

TT_INLINE vf gelu_erf_slope(vf x, vf exponent)
{
    x = bounded(x);
    vf cdf = vf_fma(vf_set(0.5f), vf_erf_of_exponent(x, exponent), vf_set(0.5f));
    vf bell_exponent = vf_max(vf_set(-126.0f), vf_mul(vf_mul(x, x), vf_set(-0.5f * 1.44269504f)));
    vf bell = vf_add(vf_set(1.0f), tt_exp2_minus_1(bell_exponent)); /* e^(-x^2 / 2) */
    return vf_fma(vf_mul(x, vf_set(0.398942280f)), bell, cdf); /* 1 / sqrt(2 pi) */
}

TT_INLINE vf gelu_tanh_gradient(vf dy, vf x)
{
    x = bounded(x);
    return vf_mul(dy, sigmoid_gelu_slope(x, tanh_argument(x), tanh_slope(x)));
}

TT_INLINE vf gelu_sigmoid_gradient(vf dy, vf x)
{
    x = bounded(x);
    return vf_mul(dy, sigmoid_gelu_slope(x, vf_mul(vf_set(SIGMOID_1), x), vf_set(SIGMOID_1)));
}

/* ---- over arrays ---- */

static void exp_each(const float *x, size_t n, float *y) { map_one(vf_exp, x, n, y); }

/* Piece by piece, so that what one step hands to the next stays in L1. In one step, the chain of operations that
 * wait for each other would be longer than a core looks ahead, and elements would not overlap enough. */
enum { PIECE = 512 };

static void erf_each(const float *x, size_t n, float *y)
{
    float exponent[PIECE];
    for (size_t i = 0, m; i < n; i += m) {
        m = n - i < PIECE ? n - i : PIECE;
        map_one(vf_erf_exponent, x + i, m, exponent);
        map_two(vf_erf_of_exponent, x + i, exponent, m, y + i);
    }
}

static void gelu_erf(const float *x, size_t n, float *y)
{
    float exponent[PIECE];
    for (size_t i = 0, m; i < n; i += m) {
        m = n - i < PIECE ? n - i : PIECE;
        map_one(gelu_exponent, x + i, m, exponent);
        map_two(gelu_erf_of, x + i, exponent, m, y + i);
    }
}

static void gelu_erf_backward(const float *dy, const float *x, size_t n, float *dx)
{
    float slope[PIECE];
    for (size_t i = 0, m; i < n; i += m) {
        m = n - i < PIECE ? n - i : PIECE;
        map_one(gelu_exponent, x + i, m, slope);
        map_two(gelu_erf_slope, x + i, slope, m, slope);
        map_two(vf_mul, dy + i, slope, m, dx + i);
    }
}

static void relu(const float *x, size_t n, float *y) { map_one(relu_of, x, n, y); }
static void sigmoid(const float *x, size_t n, float *y) { map_one(vf_sigmoid, x, n, y); }
static void tanh_each(const float *x, size_t n, float *y) { map_one(vf_tanh, x, n, y); }
static void gelu_tanh(const float *x, size_t n, float *y) { map_one(gelu_tanh_of, x, n, y); }
static void gelu_sigmoid(const float *x, size_t n, float *y) { map_one(gelu_sigmoid_of, x, n, y); }

static void relu_backward(const float *dy, const float *x, size_t n, float *dx)
{
    map_two(relu_gradient, dy, x, n, dx);
}

static void sigmoid_backward(const float *dy, const float *y, size_t n, float *dx)
{
    map_two(sigmoid_gradient, dy, y, n, dx);
}

static void tanh_backward(const float *dy, const float *y, size_t n, float *dx)
{
    map_two(tanh_gradient, dy, y, n, dx);
}

static void gelu_tanh_backward(const float *dy, const float *x, size_t n, float *dx)
{
    map_two(gelu_tanh_gradient, dy, x, n, dx);
}

static void gelu_sigmoid_backward(const float *dy, const float *x, size_t n, float *dx)
{
    map_two(gelu_sigmoid_gradient, dy, x, n, dx);
}

/* ---- what ends a matmul or a convolution ---- */

TT_INLINE vf activate(vf x, int activation)
{
    if (activation == TT_RELU) return relu_of(x);
    if (activation == TT_GELU) return gelu_erf_of(x, gelu_exponent(x));
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

const tt_activation_kernels TT_FOR_LEVEL(tt_activation) = {
    .exp = exp_each,
    .erf = erf_each,
    .relu = relu,
    .sigmoid = sigmoid,
    .tanh = tanh_each,
    .gelu = {gelu_erf, gelu_tanh, gelu_sigmoid},
    .relu_backward = relu_backward,
    .sigmoid_backward = sigmoid_backward,
    .tanh_backward = tanh_backward,
    .gelu_backward = {gelu_erf_backward, gelu_tanh_backward, gelu_sigmoid_backward},
};
