/* Elementwise and row-wise kernels over contiguous floats, written once over vec.h: a struct for each file
 * beside it (activation.c, conv.c ...). */
#ifndef TT_VECTOR_KERNELS_H
#define TT_VECTOR_KERNELS_H

#include "microkernels/transpose.h"

#include <stdint.h>

/* ---- activation.c ---- */

/* c (m, n) = activation(c + row_bias[:, None] + column_bias[None, :]); either bias may be NULL. */
typedef void tt_bias_activation(float *c, size_t row_stride, size_t m, size_t n, const float *row_bias,
                                const float *column_bias, int activation);

/* y = f(x); y may be x */
typedef void tt_map(const float *x, size_t n, float *y);
/* dx = dy * f'(x), from what f was given or from its result, whichever is simpler; dx may be either */
typedef void tt_map_backward(const float *dy, const float *saved, size_t n, float *dx);

typedef struct {
    tt_map *exp, *erf; /* what the others are made of, and the tests measure */
    tt_map *relu, *sigmoid, *tanh, *gelu[3];
    tt_map_backward *relu_backward, *sigmoid_backward, *tanh_backward, *gelu_backward[3];
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
    /* y[i][j] = start + sum over t of w[t] * image[offsets[t] + i * row_stride + j], for (rows, n) */
    void (*correlate)(const float *image, size_t row_stride, const size_t *offsets, const float *w, size_t taps,
                      float start, size_t rows, size_t n, float *y);
    /* dw[t] += sum over (rows, n) of dy[i][j] * image[offsets[t] + i * row_stride + j] */
    void (*correlate_backward)(const float *dy, size_t rows, size_t n, const float *image, size_t row_stride,
                               const size_t *offsets, size_t taps, float *dw);
    tt_transpose_function *transpose;
    const struct tt_conv_tile *tile;
} tt_conv_kernels;

/* conv_tile.c */
enum { TT_CONV_WIDEST = 64 }; /* no level has longer rows */

typedef struct tt_conv_tile {
    /* c[i][j] = c[i][j] + sum over d < depth of image[across[i] + down[d]] * w[d][j], for i < count and j < n.
     * c, w and start have rows of nr floats. With `start`, each row of c begins as that one. */
    void (*multiply)(size_t count, size_t n, size_t depth, const float *image, const size_t *down,
                     const size_t *across, const float *w, const float *start, float *c);
    size_t nr, depth; /* the rows' floats; how deep w still stays in L1 */
} tt_conv_tile;

extern const tt_conv_tile tt_conv_tile_scalar, tt_conv_tile_avx2, tt_conv_tile_avx512, tt_conv_tile_neon;
extern const tt_conv_kernels tt_conv_scalar, tt_conv_avx2, tt_conv_avx512, tt_conv_neon;

/* ---- pool.c: NaN is the largest of all ---- */

enum { TT_POOL_MARGIN = 32 }; /* floats beyond a row that the kernels along it may touch */

typedef struct {
    /* y[j] = the maximum or the sum over i < rows of x[i * row_stride + j]; rows is at least 1 */
    void (*max_down)(const float *x, size_t row_stride, size_t rows, size_t n, float *y);
    void (*sum_down)(const float *x, size_t row_stride, size_t rows, size_t n, float *y);
    /* y[j] = the maximum, or the sum over the divisor, of x[j * stride + s] for s < window */
    void (*max_along)(const float *x, size_t window, size_t stride, size_t n, float *y);
    void (*mean_along)(const float *x, size_t window, size_t stride, size_t n, float divisor, float *y);
    /* dx[j * stride + s] += dy[j] / divisor for s < window */
    void (*spread_along)(const float *dy, size_t window, size_t stride, size_t n, float divisor, float *dx);
    /* Maxima with their places, which are numbers of floats from the window's first element on in x. Down, the first
     * row is at place `first`; along, `above` are the places down the columns, infinite where there is padding. */
    void (*place_down)(const float *x, size_t row_stride, size_t rows, size_t n, size_t first, float *y,
                       float *places);
    void (*place_along)(const float *x, const float *above, size_t window, size_t stride, size_t n, float *y,
                        float *places);
    void (*narrow_places)(const float *places, size_t n, uint16_t *narrow);
    void (*widen_places)(const uint16_t *narrow, size_t n, float *places);
    /* Whether all are of a window of rows x columns in an x of so many columns. */
    int (*places_fit)(const uint16_t *narrow, size_t n, size_t width, size_t rows, size_t columns);
    /* dx[first + places[j] + j * stride] += dy[j], but nothing from `size` on; `first` may be negative, modulo 2^N. */
    void (*scatter)(const float *dy, const float *places, size_t stride, size_t n, size_t first, size_t size,
                    float *dx);
    /* For 2 x 2 windows side by side: the two rows of dx are written, zeros included. */
    void (*scatter_pairs)(const float *dy, const float *places, size_t n, size_t width, float *dx);
} tt_pool_kernels;

extern const tt_pool_kernels tt_pool_scalar, tt_pool_avx2, tt_pool_avx512, tt_pool_neon;

/* ---- norm.c ---- */

/* A row of x, normalised as z = (x - mean) * inverse and scaled by a weight where there is one */
typedef struct {
    const float *x, *weight;
    size_t n;
    float mean, inverse;
} tt_norm_row;

typedef struct {
    float (*centred_squares)(const float *x, size_t n, float mean); /* sum of (x - mean)^2 */
    /* y = z * weight + bias, which may be NULL too */
    void (*normalize)(const tt_norm_row *row, const float *bias, float *y);
    /* With g = dy * weight: the sums of g, g * (x - mean) and (x - mean)^2; `inverse` is not yet known. */
    void (*gradient_sums)(const float *dy, const tt_norm_row *row, float sums[3]);
    /* dx = inverse * (g - means[0] - z * means[1]); dweight += dy * z and dbias += dy, where they are not NULL */
    void (*backward)(const float *dy, const tt_norm_row *row, const float means[2], float *dx, float *dweight,
                     float *dbias);
} tt_norm_kernels;

extern const tt_norm_kernels tt_norm_scalar, tt_norm_avx2, tt_norm_avx512, tt_norm_neon;

/* ---- batch_norm.c ---- */

/* A channel: planes of n floats, each `stride` floats after the one before */
typedef struct {
    size_t count, stride, n;
} tt_planes;

typedef struct {
    float (*sum)(const tt_planes *planes, const float *x);
    float (*centred_squares)(const tt_planes *planes, const float *x, float mean); /* sum of (x - mean)^2 */
    /* the sums of dy, dy * (x - mean) and (x - mean)^2 */
    void (*gradient_sums)(const tt_planes *planes, const float *dy, const float *x, float mean, float sums[3]);
    /* y = (x - mean) * scale + shift */
    void (*normalize)(const tt_planes *planes, const float *x, float mean, float scale, float shift, float *y);
    /* dx = factors[0] * dy + factors[1] * (x - mean) + factors[2] */
    void (*normalize_backward)(const tt_planes *planes, const float *dy, const float *x, float mean,
                               const float factors[3], float *dx);
} tt_batch_norm_kernels;

extern const tt_batch_norm_kernels tt_batch_norm_scalar, tt_batch_norm_avx2, tt_batch_norm_avx512, tt_batch_norm_neon;

/* ---- softmax.c ---- */

typedef struct {
    float (*largest)(const float *x, size_t n); /* -inf for no x; of no use when there is a NaN */
    float (*sum_exponentials)(const float *x, size_t n, float top); /* of e^(x - top) */
    float (*sum_below)(const float *x, size_t n, float top);        /* of top - x */
    void (*softmax)(const float *x, size_t n, float scale, float shift, float *y); /* times scale, plus shift */
    void (*softmax_backward)(const float *dy, const float *y, size_t n, float *dx);
    void (*log_softmax)(const float *x, size_t n, float *y);
    void (*log_softmax_backward)(const float *dy, const float *y, size_t n, float *dx);
} tt_softmax_kernels;

extern const tt_softmax_kernels tt_softmax_scalar, tt_softmax_avx2, tt_softmax_avx512, tt_softmax_neon;

/* ---- optimizer.c ---- */

typedef struct {
    float lr, momentum, weight_decay;
    int nesterov;
} tt_sgd_factors;

typedef struct {
    float keep, weight_decay;            /* decay of the parameter itself, and through its gradient */
    float beta1, new1, beta2, new2;      /* what is kept of a mean, and what comes in */
    float step_size, root_correction, eps;
} tt_adam_factors;

typedef struct {
    void (*sgd)(float *param, const float *grad, float *buffer, size_t n, const tt_sgd_factors *factors);
    void (*adam)(float *param, const float *grad, float *m, float *v, size_t n, const tt_adam_factors *factors);
} tt_optimizer_kernels;

extern const tt_optimizer_kernels tt_optimizer_scalar, tt_optimizer_avx2, tt_optimizer_avx512, tt_optimizer_neon;

/* ---- vector.c ---- */

typedef struct {
    tt_bias_activation *bias_activation;
    double (*run_fma)(size_t iterations);
    float (*run_read)(const float *x, size_t n);
    float (*sum)(const float *x, size_t n);
    void (*add)(float *y, const float *x, size_t n); /* y += x */
    const tt_activation_kernels *activation;
    const tt_conv_kernels *conv;
    const tt_pool_kernels *pool;
    const tt_norm_kernels *norm;
    const tt_batch_norm_kernels *batch_norm;
    const tt_softmax_kernels *softmax;
    const tt_optimizer_kernels *optimizer;
} tt_vector_kernels;

extern const tt_vector_kernels tt_vector_scalar, tt_vector_avx2, tt_vector_avx512, tt_vector_neon;

#endif
