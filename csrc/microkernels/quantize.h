/* Between floats and 8-bit integers, and moving bytes about: written over vec.h in quantize.c.
 *
 * Every operation is one float32 operation, so all levels yield the same integers. */
#ifndef TT_QUANTIZE_KERNELS_H
#define TT_QUANTIZE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "microkernels/int8.h"

/* How int32 sums become results; scale, bias and multiplier hold one float for each column. */
typedef struct {
    const float *scale, *bias;      /* float32: sum * scale + bias (or NULL) */
    const float *row_scale;         /* float32, or NULL: sum * scale * row_scale[i] + bias */
    const float *multiplier;        /* quantized: round(sum * multiplier) + zero_point, in [low, high] */
    float low, high;
    int zero_point, relu;
} tt_requantization;

/* One of the two terms of a sum: (q - zero_point) * multiplier. */
typedef struct {
    const uint8_t *q;
    int is_signed;
    float zero_point, multiplier;
} tt_term_int8;

typedef struct {
    /* y = round(x / scale) + zero_point in [low, high]. scale and zero_point are one value, or with step 1
     * one for each element. Returns 1 when x holds a NaN, whose y has no meaning. */
    int (*quantize)(size_t n, const float *x, const float *scale, const int32_t *zero_point, size_t step,
                    float low, float high, uint8_t *y);
    void (*dequantize)(size_t n, const uint8_t *q, int is_signed, const float *scale,
                       const int32_t *zero_point, size_t step, float *y);

    /* q = round(x / scale), scale = max|x| / 127; q is zero for a scale of 0. Returns the scale, which is NaN
     * (and q without meaning) when x is not finite; *sum is the sum of q. */
    float (*quantize_group)(size_t n, const float *x, int8_t *q, int32_t *sum);

    /* Completes what to_bytes and to_floats need, for n columns, a multiple of TT_INT8_MOST_COLUMNS:
     * scale[j] = x_scale * scale[j]; start[j] = -zero_point * start[j]; and for quantized results (out_scale
     * above 0) multiplier[j] = scale[j] / out_scale, start[j] += round(bias[j] / scale[j]).
     * Returns 0 when a scale is not a positive number, or a bias to be quantized is NaN. */
    int (*prepare)(size_t n, float x_scale, float out_scale, int zero_point, const float *bias,
                   int32_t *start, float *scale, float *multiplier);

    /* y (m, n) from sums (m * pooled, sum_stride): each row of y from the largest of `pooled` rows. Scales
     * are positive, so the largest sum becomes the largest result. Sums and the per-column arrays of `how`
     * can be read up to the next multiple of TT_INT8_MOST_COLUMNS. */
    void (*to_bytes)(size_t m, size_t n, size_t pooled, const int32_t *sums, size_t sum_stride,
                     const tt_requantization *how, uint8_t *y, size_t y_stride);
    void (*to_floats)(size_t m, size_t n, size_t pooled, const int32_t *sums, size_t sum_stride,
                      const tt_requantization *how, float *y, size_t y_stride);

    /* y = round(a + b) + zero_point in [low, high]. */
    void (*add)(size_t n, tt_term_int8 a, tt_term_int8 b, int zero_point, float low, float high, uint8_t *y);

    /* n bytes as elements of the type that a level's INT8 tile takes (microkernels/int8.h). */
    void (*convert)(size_t n, const uint8_t *x, int is_signed, tt_int8_operand type, void *y);

    /* y (columns, rows) = x (rows, columns) transposed. */
    void (*transpose)(size_t rows, size_t columns, const uint8_t *x, size_t x_stride, uint8_t *y,
                      size_t y_stride);

    /* Depthwise convolution (int8_depthwise.c) of n channels from `first` on: acc (m, n) = start (n) + the
     * sum over taps of patches[i][offsets[t] + first + j] * w[t * w_stride + first + j]. Whole vectors are
     * read and written: up to the next multiple of TT_INT8_MOST_COLUMNS beyond n. */
    void (*depthwise)(size_t m, size_t first, size_t n, const uint8_t *const *patches, const size_t *offsets,
                      size_t taps, const int8_t *w, size_t w_stride, const int32_t *start, int32_t *acc,
                      size_t acc_stride);
} tt_quantize_kernels;

extern const tt_quantize_kernels tt_quantize_scalar, tt_quantize_avx2, tt_quantize_avx512, tt_quantize_neon;

#endif
