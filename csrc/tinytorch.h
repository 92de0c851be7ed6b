/* The C API of TinyTorch: one prototype for each operation, shapes in the comment above it.
 *
 * Arrays are float32, row-major and contiguous unless said otherwise. Functions return TT_OK or a
 * status; they never print, exit or touch Python, and may be called from several threads at once. */
#ifndef TINYTORCH_H
#define TINYTORCH_H

#include <stddef.h>
#include <stdint.h>

typedef enum { TT_OK = 0, TT_OUT_OF_MEMORY = 1, TT_BAD_VALUE = 2 } tt_status;

typedef enum { TT_NONE = 0, TT_RELU = 1, TT_GELU = 2 } tt_activation;

/* runtime ------------------------------------------------------------------------------------- */

/* Chooses the CPU level: NULL for the best there is, or the name of one this machine has. */
tt_status tt_select_level(const char *name);
const char *tt_level_name(void);
/* The levels built in that this CPU can run, best first; NULL ends the list. */
const char *const *tt_available_levels(void);

int tt_get_num_threads(void);
void tt_set_num_threads(int count); /* at least 1; the caller counts as one */

/* Runs `iterations` rounds of independent fused multiply-adds in registers; returns the FLOPs done. */
double tt_run_fma(size_t iterations);
/* Reads n floats once, as fast as one thread can; returns their sum so that nothing is optimised away. */
float tt_run_read(const float *x, size_t n);

/* matmul -------------------------------------------------------------------------------------- */

/* A matrix in memory: element (i, j) is data[i * row_stride + j * column_stride]. A transpose swaps strides. */
typedef struct {
    const float *data;
    size_t row_stride, column_stride;
} tt_matrix;

/* c (batch, m, n) = a (batch, m, k) @ b (batch, k, n); a batch step of 0 uses one matrix for the whole batch. */
tt_status tt_matmul_f32(size_t batch, size_t m, size_t n, size_t k, tt_matrix a, size_t a_batch_step,
                        tt_matrix b, size_t b_batch_step, float *c);

/* Weights packed once: the panels that the micro-kernel reads, for use as b. */
size_t tt_packed_size_f32(size_t k, size_t n); /* in floats */
void tt_pack_f32(size_t k, size_t n, tt_matrix b, float *packed);
void tt_unpack_f32(size_t k, size_t n, const float *packed, float *b);

/* y (m, n) = activation(x (m, k) @ w (k, n) + bias (n)); exactly one of w.data and packed is not NULL. */
tt_status tt_linear_f32(size_t m, size_t n, size_t k, const float *x, tt_matrix w, const float *packed,
                        const float *bias, tt_activation activation, float *y);

/* convolution --------------------------------------------------------------------------------- */

/* x (batch, channels, height, width), w (outputs, channels / groups, kernel_h, kernel_w),
 * y (batch, outputs, out_h, out_w). Kernels, strides, dilations and groups are at least 1. */
typedef struct {
    size_t batch, channels, height, width;
    size_t outputs, kernel_h, kernel_w, out_h, out_w;
    size_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} tt_conv2d_shape;

/* quantization -------------------------------------------------------------------------------- */

/* Eight-bit integers that stand for (data - zero_point) * scale. */
typedef struct {
    const uint8_t *data;
    int is_signed; /* int8, else uint8 */
    float scale;
    int zero_point;
} tt_quantized;

/* What an INT8 layer yields: y = sums * x.scale * w_scale + bias, or that quantized anew. */
typedef enum { TT_FLOAT32 = 0, TT_UINT8 = 1, TT_INT8 = 2 } tt_result_type;
typedef struct {
    tt_result_type type;
    tt_activation activation; /* TT_NONE or TT_RELU */
    float scale;              /* these two for TT_UINT8 and TT_INT8 */
    int zero_point;
    void *y;
} tt_result;

/* q = round(x / scale) + zero_point, half to even, clamped. x (outer, axis, inner), scale and zero_point (axis).
 * TT_BAD_VALUE when x holds NaN. */
tt_status tt_quantize_f32(size_t outer, size_t axis, size_t inner, const float *x, const float *scale,
                          const int32_t *zero_point, int is_signed, uint8_t *q);
void tt_dequantize_f32(size_t outer, size_t axis, size_t inner, const uint8_t *q, int is_signed,
                       const float *scale, const int32_t *zero_point, float *x);

/* c (m, n) = a (m, k) @ b (k, n); k at most TT_MOST_PRODUCTS, so that no sum overflows. */
enum { TT_MOST_PRODUCTS = 65536 };
tt_status tt_matmul_int8(size_t m, size_t n, size_t k, const uint8_t *a, int a_is_signed, const int8_t *b,
                         int32_t *c);

/* INT8 weights packed once, w (k, n); k at most half of TT_MOST_PRODUCTS for what follows. */
size_t tt_packed_bytes_int8(size_t k, size_t n);
void tt_pack_int8(size_t k, size_t n, const int8_t *w, uint8_t *packed);
void tt_unpack_int8(size_t k, size_t n, const uint8_t *packed, int8_t *w);

/* y (m, n) = activation(x (m, k) @ w (k, n) + bias (n)); w_scale (n), bias may be NULL. TT_BAD_VALUE when
 * x.scale * w_scale[j] (or that over result.scale) is not a positive float32, or a bias to be quantized is NaN. */
tt_status tt_linear_int8(size_t m, size_t n, size_t k, tt_quantized x, const uint8_t *packed,
                         const float *w_scale, const float *bias, tt_result result);

/* The same for a convolution; packing reads outputs, channels, kernel_h, kernel_w and groups of the shape. */
size_t tt_conv2d_packed_bytes_int8(const tt_conv2d_shape *shape);
tt_status tt_conv2d_pack_int8(const tt_conv2d_shape *shape, const int8_t *w, uint8_t *packed);
tt_status tt_conv2d_unpack_int8(const tt_conv2d_shape *shape, const uint8_t *packed, int8_t *w);

/* y (batch, outputs, out_h, out_w); padding holds x.zero_point. */
tt_status tt_conv2d_int8(const tt_conv2d_shape *shape, tt_quantized x, const uint8_t *packed, const float *w_scale,
                         const float *bias, tt_result result);

/* INT4 weights, packed once: groups of group_size (a multiple of 32) consecutive k of one column share a scale,
 * float16(max|w| / 7). TT_BAD_VALUE when w is not finite or a scale is beyond float16. */
size_t tt_packed_bytes_int4(size_t k, size_t n, size_t group_size);
tt_status tt_pack_int4(size_t k, size_t n, size_t group_size, const float *w, uint8_t *packed);
void tt_unpack_int4(size_t k, size_t n, size_t group_size, const uint8_t *packed, float *w);

/* y (m, n) = x (m, k) @ w (k, n) + bias (n). x is quantized on the way, each row and group by its own scale. */
tt_status tt_linear_int4(size_t m, size_t n, size_t k, size_t group_size, const float *x, const uint8_t *packed,
                         const float *bias, float *y);

#endif
