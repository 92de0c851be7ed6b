/* One new position of each sequence through all blocks of a transformer: what a language model does for each token
 * it writes. A step is too short to be called one by one from Python, and each weight is read once. */
#include "ops/matmul.h"

#include <math.h>

enum { FEW_ROWS = 8 }; /* sequences up to which reading the weights takes longer than multiplying, on a Zen 3 core */

typedef struct {
    size_t batch, width, heads, queries, keys; /* the last two: width of q, and of k and v */
    float *x, *normal, *q, *k, *v, *attended, *hidden, *product;
} decoding;

/* y (rows, n) = x (rows, k) @ w + bias, or += */
static tt_status project_floats(size_t rows, size_t n, size_t k, const float *x, tt_affine w, float *y,
                                int accumulate)
{
    tt_matrix a = {x, k, 1}, b = {w.weight, n, 1};
    tt_output out = {.c = y, .row_stride = n, .accumulate = accumulate, .column_bias = w.bias};
    if (rows > FEW_ROWS) return tt_matmul_matrices(rows, n, k, a, b, out);
    tt_matmul_streamed(rows, n, k, a, b, out);
    return TT_OK;
}

/* y (rows, n) = x (rows, k) @ w + bias */
static tt_status project(size_t rows, size_t n, size_t k, const float *x, tt_affine w, float *y)
{
    if (w.packed) return tt_linear_int8_dynamic(rows, n, k, x, w.packed, w.scale, w.bias, TT_NONE, y);
    return project_floats(rows, n, k, x, w, y, 0);
}

/* The residual connection: at->x += x (batch, k) @ w + bias */
static tt_status add_projection(const decoding *at, size_t k, const float *x, tt_affine w)
{
    if (!w.packed) return project_floats(at->batch, at->width, k, x, w, at->x, 1);
    tt_status status = project(at->batch, at->width, k, x, w, at->product);
    for (size_t i = 0; status == TT_OK && i < at->batch * at->width; i++) at->x[i] += at->product[i];
    return status;
}

static tt_status attend(const decoding *at, const tt_decoder_block *block, const tt_kv_cache *cache)
{
    tt_layer_norm_f32(at->batch, at->width, at->x, block->norm1.weight, block->norm1.bias, block->eps1, at->normal);
    tt_status status = project(at->batch, at->queries, at->width, at->normal, block->q, at->q);
    if (status == TT_OK) status = project(at->batch, at->keys, at->width, at->normal, block->k, at->k);
    if (status == TT_OK) status = project(at->batch, at->keys, at->width, at->normal, block->v, at->v);
    float scale = (float)(1.0 / sqrt((double)cache->d)); /* rounded once, as where attention is a call of its own */
    if (status == TT_OK) status = tt_attention_decode(cache, at->heads, at->q, at->k, at->v, scale, at->attended);
    if (status != TT_OK) return status;
    return add_projection(at, at->queries, at->attended, block->out);
}

static tt_status feed_forward(const decoding *at, const tt_decoder_block *block)
{
    size_t hidden = block->hidden;
    tt_layer_norm_f32(at->batch, at->width, at->x, block->norm2.weight, block->norm2.bias, block->eps2, at->normal);
    tt_status status = project(at->batch, hidden, at->width, at->normal, block->expand, at->hidden);
    if (status != TT_OK) return status;
    tt_gelu_f32(at->batch * hidden, at->hidden, TT_GELU_ERF, at->hidden);
    return add_projection(at, hidden, at->hidden, block->contract);
}

/* Cuts the scratch into the results of the steps; returns how many floats they take, of which `memory` may be NULL. */
static size_t lay_out(decoding *at, size_t hidden, float *memory)
{
    struct { float **start; size_t columns; } parts[] = {
        {&at->normal, at->width}, {&at->q, at->queries}, {&at->k, at->keys},
        {&at->v, at->keys},       {&at->attended, at->queries}, {&at->hidden, hidden},
        {&at->product, at->width},
    };
    size_t floats = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (memory) *parts[i].start = memory + floats;
        floats += tt_round_up(at->batch * parts[i].columns, 16); /* each begins with a cache line */
    }
    return floats;
}

tt_status tt_decode_blocks(size_t count, const tt_decoder_block *blocks, const tt_kv_cache *caches, size_t heads,
                           size_t width, float *x)
{
    if (count == 0 || caches->batch == 0) return TT_OK;
    decoding at = {.batch = caches->batch, .width = width, .heads = heads, .queries = heads * caches->d,
                   .keys = caches->kv_heads * caches->d, .x = x};
    size_t hidden = 0;
    for (size_t i = 0; i < count; i++) hidden = tt_max(hidden, blocks[i].hidden);
    float *scratch = tt_scratch_acquire(lay_out(&at, hidden, NULL) * sizeof *scratch);
    if (!scratch) return TT_OUT_OF_MEMORY;
    lay_out(&at, hidden, scratch);
    tt_status status = TT_OK;
    for (size_t i = 0; i < count && status == TT_OK; i++) {
        status = attend(&at, &blocks[i], &caches[i]);
        if (status == TT_OK) status = feed_forward(&at, &blocks[i]);
    }
    tt_scratch_release(scratch);
    return status;
}
