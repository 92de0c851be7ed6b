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

/* sparse -------------------------------------------------------------------------------------- */

/* w (m, k) in compressed rows of blocks of r rows by 1 column, r in 1, 2, 4, 8, 16. Block row i holds rows
 * i r ... i r + r-1 (zeros beyond m); its blocks are row_pointers[i] ... row_pointers[i + 1] - 1, their columns
 * ascending in indices (blocks), their elements in values (blocks, r). */
typedef struct {
    size_t m, k, r;
    const float *values;
    const void *indices; /* uint16_t, or int32_t when wide_indices */
    int wide_indices;
    const int32_t *row_pointers; /* (ceil(m / r) + 1) */
} tt_sparse_matrix;

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
 * (batch, kv_heads, capacity) are not NULL. lengths (batch) counts the positions stored, below capacity. */
typedef struct {
    size_t batch, kv_heads, capacity, d;
    void *keys, *values;
    float *key_scales, *value_scales;
    const int64_t *lengths;
} tt_kv_cache;

/* Stores k, v (batch, kv_heads, 1, d) at lengths[b], then y (batch, heads, 1, d) = attention of
 * q (batch, heads, 1, d) over positions 0 ... lengths[b]. */
tt_status tt_attention_decode(const tt_kv_cache *cache, size_t heads, const float *q, const float *k,
                              const float *v, float scale, float *y);

#endif
