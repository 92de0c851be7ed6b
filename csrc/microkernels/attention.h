/* What attention does between its two matrix products.
 *
 * A tile of scores is (keys, width): the queries are lanes, so the softmax over the keys of each query runs down
 * a column and needs no sum across a vector. `width` is a multiple of VF_N; per query means (width). */
#ifndef TT_ATTENTION_KERNELS_H
#define TT_ATTENTION_KERNELS_H

#include "microkernels/transpose.h"

#include <stdint.h>

/* For decoding from a cache (attention_decode.c). */
typedef struct {
    /* y (queries, d) = softmax(scale q keys^T) values, for 1, 2 or 4 queries up to `most_queries`; keys and values
     * are (count, d), int8_t where they have scales (count), else float. `scores` is scratch of count queries
     * floats, the count rounded up to a multiple of 16. */
    void (*attend)(size_t queries, size_t count, size_t d, const void *keys, const float *key_scales,
                   const void *values, const float *value_scales, const float *q, float scale, float *scores,
                   float *y);
    /* q (d) = x / scale, rounded half to even; returns scale = max|x| / 127, NaN when x holds a NaN or Inf. */
    float (*quantize_row)(size_t d, const float *x, int8_t *q);
    size_t most_queries;
} tt_attention_decode_kernels;

extern const tt_attention_decode_kernels tt_attention_decode_scalar, tt_attention_decode_avx2,
    tt_attention_decode_avx512, tt_attention_decode_neon;

typedef struct {
    /* scores += bias (keys, width), or NULL; -inf hides a score whatever it was. Then key j is hidden from the
     * queries i < j + first_key, which is the causal mask when first_key is relative to the first query. */
    void (*hide)(size_t keys, size_t width, float *scores, const float *bias, ptrdiff_t first_key);

    /* One step of the online softmax (Milakov and Gimelshein, 2018). largest and total, per query, stand for
     * the keys seen before; scores become e^(score - largest), and what was summed with the former largest
     * is to be multiplied by `correction`. */
    void (*softmax_step)(size_t keys, size_t width, float *scores, float *largest, float *total,
                         float *correction);
    /* x (rows, width) *= factor per query; a factor of 0 gives 0 whatever x held. */
    void (*scale_columns)(size_t rows, size_t width, float *x, const float *factor);

    /* Backward: scores become p = e^(score - lse), and dp becomes ds = p (dp - delta); lse, delta per query. */
    void (*softmax_gradient)(size_t keys, size_t width, float *scores, float *dp, const float *lse,
                             const float *delta);

    tt_transpose_function *transpose;
    const tt_attention_decode_kernels *decode;
} tt_attention_kernels;

extern const tt_attention_kernels tt_attention_scalar, tt_attention_avx2, tt_attention_avx512, tt_attention_neon;

#endif
