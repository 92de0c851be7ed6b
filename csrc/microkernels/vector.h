/* Elementwise and row-wise kernels over contiguous floats, written once over vec.h: a struct for each file
 * beside it (activation.c, conv.c ...). */
#ifndef TT_VECTOR_KERNELS_H
#define TT_VECTOR_KERNELS_H

#include "microkernels/transpose.h"

/* ---- activation.c ---- */

/* c (m, n) = activation(c + row_bias[:, None] + column_bias[None, :]); either bias may be NULL. */
typedef void tt_bias_activation(float *c, size_t row_stride, size_t m, size_t n, const float *row_bias,
                                const float *column_bias, int activation);

typedef struct {
    void (*gelu)(const float *x, size_t n, int approximate, float *y);
    void (*gelu_backward)(const float *dy, const float *x, size_t n, int approximate, float *dx);
} tt_activation_kernels;

extern tt_bias_activation tt_bias_activation_scalar, tt_bias_activation_avx2, tt_bias_activation_avx512,
    tt_bias_activation_neon;
extern const tt_activation_kernels tt_activation_scalar, tt_activation_avx2, tt_activation_avx512,
    tt_activation_neon;

/* ---- conv.c ---- */

typedef struct {
    size_t source, target, length;
} tt_run;

typedef struct {
    /* panel[d * width + target + i] = image[offsets[d] + source + i] for d < kc and each i < length of a run */
    void (*copy_runs)(const float *image, const size_t *offsets, size_t kc, const tt_run *runs, size_t run_count,
                      size_t width, float *panel);
    /* y[j] = sum over t of w[t] * image[offsets[t] + j] */
    void (*correlate)(const float *image, const size_t *offsets, const float *w, size_t taps, size_t n, float *y);
    tt_transpose_function *transpose;
} tt_conv_kernels;

extern const tt_conv_kernels tt_conv_scalar, tt_conv_avx2, tt_conv_avx512, tt_conv_neon;

/* ---- pool.c: NaN is the largest of all ---- */

typedef struct {
    /* y[j] = the maximum or the sum over i < rows of x[i * row_stride + j]; rows is at least 1 */
    void (*max_down)(const float *x, size_t row_stride, size_t rows, size_t n, float *y);
    void (*sum_down)(const float *x, size_t row_stride, size_t rows, size_t n, float *y);
    /* y[j] = the maximum, or the sum over the divisor, of x[j * stride + s] for s < window */
    void (*max_along)(const float *x, size_t window, size_t stride, size_t n, float *y);
    void (*mean_along)(const float *x, size_t window, size_t stride, size_t n, float divisor, float *y);
    /* dx[j * stride + s] += dy[j] / divisor for s < window */
    void (*spread_along)(const float *dy, size_t window, size_t stride, size_t n, float divisor, float *dx);
    /* 2 x 2 windows side by side: dy goes to the first maximum of each, the other three get 0. Returns how many
     * of the n windows it did. */
    size_t (*max_pairs_backward)(const float *dy, const float *top, const float *bottom, size_t n, float *dtop,
                                 float *dbottom);
} tt_pool_kernels;

extern const tt_pool_kernels tt_pool_scalar, tt_pool_avx2, tt_pool_avx512, tt_pool_neon;

/* ---- vector.c ---- */

typedef struct {
    tt_bias_activation *bias_activation;
    double (*run_fma)(size_t iterations);
    float (*run_read)(const float *x, size_t n);
    float (*sum)(const float *x, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);
    void (*add)(float *y, const float *x, size_t n); /* y += x */
    const tt_activation_kernels *activation;
    const tt_conv_kernels *conv;
    const tt_pool_kernels *pool;
} tt_vector_kernels;

extern const tt_vector_kernels tt_vector_scalar, tt_vector_avx2, tt_vector_avx512, tt_vector_neon;

#endif
