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

/* The exact gelu and its approximations by tanh and by x * sigmoid(1.702 x). */
typedef enum { TT_GELU_ERF = 0, TT_GELU_TANH = 1, TT_GELU_SIGMOID = 2 } tt_gelu_form;

/* runtime ------------------------------------------------------------------------------------- */

/* Chooses the CPU level: NULL for the best there is, or the name of one this machine has. */
tt_status tt_select_level(const char *name);
const char *tt_level_name(void);
/* The levels that were built in and that this CPU can run, best first from index 0; NULL beyond the last. */
const char *tt_available_level(int index);

int tt_get_num_threads(void);
void tt_set_num_threads(int count); /* at least 1; the caller counts as one */

/* Runs `iterations` rounds of independent fused multiply-adds in registers; returns the FLOPs done. */
double tt_run_fma(size_t iterations);
/* Reads n floats `passes` times, as fast as one thread can; returns a sum so that nothing is optimised away. */
float tt_run_read(const float *x, size_t n, size_t passes);

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

/* sparse -------------------------------------------------------------------------------------- */

/* w (m, k) in compressed rows of blocks of r rows by 1 column, r in 1, 2, 4, 8, 16. Block row i holds rows
 * i r ... i r + r-1 (zeros beyond m); its blocks are row_pointers[i] ... row_pointers[i + 1] - 1, their columns
 * ascending in indices (blocks), their elements in values (blocks, r).
 *
 * Single elements (r = 1) are multiplied in another order, made once by tt_slice_sparse: products read `slices`
 * and none of the arrays. */
typedef struct {
    size_t m, k, r;
    const float *values;
    const void *indices; /* uint16_t, or int32_t when wide_indices */
    int wide_indices;
    const int32_t *row_pointers; /* (ceil(m / r) + 1) */
    const void *slices;          /* when r = 1; aligned to 8 bytes */
} tt_sparse_matrix;

/* How many bytes the slices of w (r = 1) take, and the slices. */
tt_status tt_sparse_slices_size(const tt_sparse_matrix *w, size_t *bytes);
tt_status tt_slice_sparse(const tt_sparse_matrix *w, void *slices);
/* Whether so many bytes are as long as slices of a matrix (m, k) say they are. */
int tt_are_sparse_slices(const void *slices, size_t bytes, size_t m, size_t k);
size_t tt_sparse_slices_elements(const void *slices);
/* Back to the arrays: values and indices (elements), row_pointers (m + 1). */
void tt_unslice_sparse(const void *slices, float *values, int32_t *indices, int32_t *row_pointers);

/* c (m, n) = w @ x (k, n) */
tt_status tt_sparse_matmul_f32(const tt_sparse_matrix *w, size_t n, const float *x, float *c);

/* y (batch, m) = activation(x (batch, k) @ w.T + bias (m)); bias may be NULL. */
tt_status tt_sparse_linear_f32(const tt_sparse_matrix *w, size_t batch, const float *x, const float *bias,
                               tt_activation activation, float *y);

/* attention ----------------------------------------------------------------------------------- */

/* q (batch, heads, t, d), k (batch, kv_heads, s, d), v (batch, kv_heads, s, e); kv_heads divides heads, and head h
 * reads head h / (heads / kv_heads) of k and v. Element (b, h, i, j) of the mask lies at
 * b mask_steps[0] + h mask_steps[1] + i mask_steps[2] + j: a step of 0 broadcasts. */
typedef struct {
    size_t batch, heads, kv_heads, t, s, d, e;
    const float *q, *k, *v;
    int causal;       /* position i sees j <= i */
    const void *mask; /* NULL, unsigned char (other than 0 keeps) when mask_is_bool, or float (added to the scores) */
    int mask_is_bool;
    size_t mask_steps[3];
    float scale;
} tt_attention;

/* y (batch, heads, t, e) = softmax(scale q k^T + mask) v, and lse (batch, heads, t), the logarithm of each row's
 * sum of exponentials, or NULL. A row that sees nothing gives 0 and -inf. */
tt_status tt_attention_f32(const tt_attention *attention, float *y, float *lse);

/* dq, dk, dv like q, k, v; dy and y (batch, heads, t, e), lse from the forward call. */
tt_status tt_attention_backward_f32(const tt_attention *attention, const float *dy, const float *y,
                                    const float *lse, float *dq, float *dk, float *dv);

/* One layer of a cache: keys and values (batch, kv_heads, capacity, d), float, or int8_t where the scales
 * (batch, kv_heads, capacity) are not NULL. lengths (batch) counts the positions so far, each from 0 on. Position p
 * lies in slot p % capacity: a longer sequence overwrites its oldest positions, and sees the last `capacity`. */
typedef struct {
    size_t batch, kv_heads, capacity, d;
    void *keys, *values;
    float *key_scales, *value_scales;
    const int64_t *lengths;
} tt_kv_cache;

/* Stores k, v (batch, kv_heads, 1, d) as position lengths[b], then y (batch, heads, 1, d) = attention of
 * q (batch, heads, 1, d) over the positions up to it. TT_BAD_VALUE, and nothing stored, for a length below 0. */
tt_status tt_attention_decode(const tt_kv_cache *cache, size_t heads, const float *q, const float *k,
                              const float *v, float scale, float *y);

/* A weight and its bias: (in, out) and (out) of a product, (width) and (width) of a norm. The bias may be NULL.
 * A product's weight may instead be one that tt_pack_int8 packed, with its scales (out): tt_linear_int8_dynamic. */
typedef struct {
    const float *weight, *bias;
    const uint8_t *packed;
    const float *scale;
} tt_affine;

/* A block of a transformer: x += out(attention(q, k, v of norm1(x))), then x += contract(gelu(expand(norm2(x)))). */
typedef struct {
    size_t hidden; /* between expand and contract */
    tt_affine norm1, q, k, v, out, norm2, expand, contract;
    float eps1, eps2;
} tt_decoder_block;

/* Takes x (batch, width), one new position of each sequence, through all blocks in place. Block i reads and appends to
 * caches[i]; the caches have one shape and the same lengths. TT_BAD_VALUE for a length below 0, when nothing is written,
 * and for a scale that is not a positive float32, when the steps before are. */
tt_status tt_decode_blocks(size_t count, const tt_decoder_block *blocks, const tt_kv_cache *caches, size_t heads,
                           size_t width, float *x);

/* convolution --------------------------------------------------------------------------------- */

/* x (batch, channels, height, width), w (outputs, channels / groups, kernel_h, kernel_w),
 * y (batch, outputs, out_h, out_w). Kernels, strides, dilations and groups are at least 1. */
typedef struct {
    size_t batch, channels, height, width;
    size_t outputs, kernel_h, kernel_w, out_h, out_w;
    size_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} tt_conv2d_shape;

/* y = activation(x convolved with w + bias (outputs)); exactly one of w and packed is not NULL. */
tt_status tt_conv2d_f32(const tt_conv2d_shape *shape, const float *x, const float *w, const float *packed,
                        const float *bias, tt_activation activation, float *y);

/* dy like y; dx like x, dw like w and db (outputs) may each be NULL, and are then not computed. */
tt_status tt_conv2d_backward_f32(const tt_conv2d_shape *shape, const float *dy, const float *x, const float *w,
                                 float *dx, float *dw, float *db);

/* Weights packed once. taps = channels / groups * kernel_h * kernel_w, what one output reads. */
size_t tt_conv2d_packed_size_f32(size_t outputs, size_t taps, size_t groups); /* in floats */
void tt_conv2d_pack_f32(size_t outputs, size_t taps, size_t groups, const float *w, float *packed);
void tt_conv2d_unpack_f32(size_t outputs, size_t taps, size_t groups, const float *packed, float *w);

/* The same with sparse weights, w (outputs, channels * kernel_h * kernel_w); one group. */
tt_status tt_sparse_conv2d_f32(const tt_sparse_matrix *w, const tt_conv2d_shape *shape, const float *x,
                               const float *bias, tt_activation activation, float *y);

/* pooling ------------------------------------------------------------------------------------- */

/* x (planes, height, width), y (planes, out_h, out_w); the padding is at most half of the kernel. */
typedef struct {
    size_t planes, height, width, out_h, out_w;
    size_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
} tt_pool2d_shape;

/* places (planes, out_h, out_w), or NULL: where the first maximum of each window lies, as a number of floats from the
 * window's first element on in x. */
tt_status tt_max_pool2d_f32(const tt_pool2d_shape *shape, const float *x, float *y, uint16_t *places);
int tt_pool2d_has_places(const tt_pool2d_shape *shape); /* whether 16 bits hold them */
/* The same for integers; height and width must not be 0. */
tt_status tt_max_pool2d_int8(const tt_pool2d_shape *shape, const uint8_t *x, int is_signed, uint8_t *y);
/* From places, or where these are NULL from x. TT_BAD_VALUE when a window of x spans more than 2^24 floats, or a place
 * lies outside its window. */
tt_status tt_max_pool2d_backward_f32(const tt_pool2d_shape *shape, const float *dy, const float *x,
                                     const uint16_t *places, float *dx);
tt_status tt_avg_pool2d_f32(const tt_pool2d_shape *shape, const float *x, float *y);
tt_status tt_avg_pool2d_backward_f32(const tt_pool2d_shape *shape, const float *dy, float *dx);

/* activation ---------------------------------------------------------------------------------- */

/* y may be x, and dx either of its inputs. Each gradient is computed from what is named: the argument x of the
 * forward call, or its result y. */

void tt_relu_f32(size_t n, const float *x, float *y);
void tt_relu_backward_f32(size_t n, const float *dy, const float *x, float *dx);
void tt_sigmoid_f32(size_t n, const float *x, float *y);
void tt_sigmoid_backward_f32(size_t n, const float *dy, const float *y, float *dx);
void tt_tanh_f32(size_t n, const float *x, float *y);
void tt_tanh_backward_f32(size_t n, const float *dy, const float *y, float *dx);
void tt_gelu_f32(size_t n, const float *x, tt_gelu_form form, float *y);
void tt_gelu_backward_f32(size_t n, const float *dy, const float *x, tt_gelu_form form, float *dx);

/* softmax: x, y, dy, dx (rows, n), over each row ------------------------------------------------ */

void tt_softmax_f32(size_t rows, size_t n, const float *x, float *y);
void tt_softmax_backward_f32(size_t rows, size_t n, const float *dy, const float *y, float *dx);
void tt_log_softmax_f32(size_t rows, size_t n, const float *x, float *y);
void tt_log_softmax_backward_f32(size_t rows, size_t n, const float *dy, const float *y, float *dx);

/* normalisation ------------------------------------------------------------------------------- */

/* x, y, dy, dx (rows, n); weight, bias and their gradients (n), each of which may be NULL. */
void tt_layer_norm_f32(size_t rows, size_t n, const float *x, const float *weight, const float *bias, float eps,
                       float *y);
tt_status tt_layer_norm_backward_f32(size_t rows, size_t n, const float *dy, const float *x, const float *weight,
                                     float eps, float *dx, float *dweight, float *dbias);
void tt_rms_norm_f32(size_t rows, size_t n, const float *x, const float *weight, float eps, float *y);
tt_status tt_rms_norm_backward_f32(size_t rows, size_t n, const float *dy, const float *x, const float *weight,
                                   float eps, float *dx, float *dweight);

/* x, y, dy, dx (batch, channels, pixels), the others (channels). Training normalises by the batch's statistics,
 * needs at least two values for each channel, and going forward updates the running ones. */
typedef struct {
    size_t batch, channels, pixels;
    const float *weight, *bias;
    float *running_mean, *running_var;
    int training;
    double momentum, eps;
} tt_batch_norm2d;

tt_status tt_batch_norm2d_f32(const tt_batch_norm2d *norm, const float *x, float *y);
tt_status tt_batch_norm2d_backward_f32(const tt_batch_norm2d *norm, const float *dy, const float *x, float *dx,
                                       float *dweight, float *dbias);

/* loss ---------------------------------------------------------------------------------------- */

typedef struct {
    size_t rows, classes;
    const float *logits;    /* (rows, classes) */
    const int64_t *targets; /* (rows), each below classes or ignore_index */
    int64_t ignore_index;
    double label_smoothing;
} tt_cross_entropy;

/* The first row whose target is out of range; `rows` when there is none. */
size_t tt_first_bad_target(const tt_cross_entropy *entropy);
tt_status tt_cross_entropy_f32(const tt_cross_entropy *entropy, double *loss);
void tt_cross_entropy_backward_f32(const tt_cross_entropy *entropy, double dy, float *dlogits);

/* optimizers ---------------------------------------------------------------------------------- */

/* A parameter of n elements, its gradient, and what the optimizer remembers of it: SGD its momentum (or NULL), Adam
 * the running means of the gradient (m) and of its square (v). */
typedef struct {
    size_t n;
    float *param;
    const float *grad;
    float *state[2];
} tt_parameter;

tt_status tt_sgd_step_f32(size_t count, const tt_parameter *parameters, double lr, double momentum,
                          double weight_decay, int nesterov);
tt_status tt_adam_step_f32(size_t count, const tt_parameter *parameters, size_t step, double lr, double beta1,
                           double beta2, double eps, double weight_decay, int decoupled);

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

/* The same for float x, each row of which is quantized on the way: round(x / s), s = max|x| / 127. y (m, n) = sums *
 * w_scale * s + bias; a row that holds NaN or infinity gives NaN. */
tt_status tt_linear_int8_dynamic(size_t m, size_t n, size_t k, const float *x, const uint8_t *packed,
                                 const float *w_scale, const float *bias, tt_activation activation, float *y);

/* result = activation(a + b), element by element; result.type is TT_UINT8 or TT_INT8. TT_BAD_VALUE when a scale over
 * result.scale is not a positive float32. */
tt_status tt_add_int8(size_t n, tt_quantized a, tt_quantized b, tt_result result);

/* The same for a convolution; packing reads outputs, channels, kernel_h, kernel_w and groups of the shape. */
size_t tt_conv2d_packed_bytes_int8(const tt_conv2d_shape *shape);
tt_status tt_conv2d_pack_int8(const tt_conv2d_shape *shape, const int8_t *w, uint8_t *packed);
tt_status tt_conv2d_unpack_int8(const tt_conv2d_shape *shape, const uint8_t *packed, int8_t *w);

/* How images lie in memory: TT_NCHW (batch, channels, height, width), TT_NHWC (batch, height, width, channels);
 * and of which results each window of pool_h x pool_w, side by side, keeps only the largest. */
typedef enum { TT_NCHW = 0, TT_NHWC = 1 } tt_layout;
enum { TT_MOST_POOLED = 16 }; /* pool_h * pool_w at most; at least 1 */
typedef struct {
    tt_layout x_layout, y_layout;
    size_t pool_h, pool_w;
} tt_conv2d_form;

/* y (batch, outputs, out_h / pool_h, out_w / pool_w) or as its layout says; padding holds x.zero_point. */
tt_status tt_conv2d_int8(const tt_conv2d_shape *shape, const tt_conv2d_form *form, tt_quantized x,
                         const uint8_t *packed, const float *w_scale, const float *bias, tt_result result);

/* INT4 weights, packed once: groups of group_size (a multiple of 32) consecutive k of one column share a scale,
 * float16(max|w| / 7). TT_BAD_VALUE when w is not finite or a scale is beyond float16. */
size_t tt_packed_bytes_int4(size_t k, size_t n, size_t group_size);
tt_status tt_pack_int4(size_t k, size_t n, size_t group_size, const float *w, uint8_t *packed);
void tt_unpack_int4(size_t k, size_t n, size_t group_size, const uint8_t *packed, float *w);

/* y (m, n) = x (m, k) @ w (k, n) + bias (n). With quantize_x finite rows of x are brought to int8 on the way,
 * each group by its own scale: faster, and every x is off by up to max|x| / 254 of its group. */
tt_status tt_linear_int4(size_t m, size_t n, size_t k, size_t group_size, const float *x, int quantize_x,
                         const uint8_t *packed, const float *bias, float *y);

#endif
