/* What attention does between its two matrix products.
 *
 * A tile of scores is (keys, width): the queries are lanes, so the softmax over the keys of each query runs down
 * a column and needs no sum across a vector. `width` is a multiple of VF_N; per query means (width). */
#ifndef TT_ATTENTION_KERNELS_H
#define TT_ATTENTION_KERNELS_H

#include "microkernels/transpose.h"

#include <stdint.h>

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

    /* One query. scores (count) = keys (count, d) @ q (d); keys are int8_t when `int8`, else float. */
    void (*score_keys)(size_t count, size_t d, const void *keys, int int8, const float *q, float *scores);
    /* scores become e^(score - their maximum); returns their sum. */
    float (*softmax_row)(size_t count, float *scores);
    /* y (d) += p (count) @ values (count, d) */
    void (*sum_values)(size_t count, size_t d, const void *values, int int8, const float *p, float *y);

    /* q (d) = x / scale, rounded half to even; returns scale = max|x| / 127, NaN when x holds a NaN or Inf. */
    float (*quantize_row)(size_t d, const float *x, int8_t *q);

    tt_transpose_function *transpose;
} tt_attention_kernels;

extern const tt_attention_kernels tt_attention_scalar, tt_attention_avx2, tt_attention_avx512, tt_attention_neon;

#endif
