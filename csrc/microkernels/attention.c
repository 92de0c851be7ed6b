/* The softmax of attention and its gradient, written once over vec.h. */
#include "microkernels/attention.h"
#include "microkernels/vec.h"

static const float lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void hide(size_t keys, size_t width, float *scores, const float *bias, ptrdiff_t first_key)
{
    vf hidden = vf_set(-INFINITY);
    for (size_t i = 0; i < width; i += VF_N) {
        vf query = vf_add(vf_load(lane_numbers), vf_set((float)i));
        for (size_t j = 0; j < keys; j++) {
            float *p = scores + j * width + i;
            vf score = vf_load(p);
            if (bias) {
                vf b = vf_load(bias + j * width + i);
                score = vf_where(vf_less(b, vf_set(-FLT_MAX)), hidden, vf_add(score, b));
            }
            vf key = vf_set((float)((ptrdiff_t)j + first_key));
            vf_store(p, vf_where(vf_less(query, key), hidden, score));
        }
    }
}

/* The maximum, or 0 where everything is hidden: a score of -inf less that is -inf, not NaN. */
TT_INLINE vf finite_or_zero(vf largest)
{
    return vf_where(vf_less(largest, vf_set(-FLT_MAX)), vf_set(0.0f), largest);
}

static void softmax_step(size_t keys, size_t width, float *scores, float *largest, float *total,
                         float *correction)
{
    for (size_t i = 0; i < width; i += VF_N) {
        vf before = vf_load(largest + i), most[4] = {before, before, before, before}, sum[2];
        size_t j = 0;
        for (; j + 4 <= keys; j += 4)
            TT_UNROLL for (size_t t = 0; t < 4; t++)
                most[t] = vf_max(vf_load(scores + (j + t) * width + i), most[t]);
        for (; j < keys; j++) most[0] = vf_max(vf_load(scores + j * width + i), most[0]);
        vf now = vf_max(vf_max(most[0], most[1]), vf_max(most[2], most[3])), base = finite_or_zero(now);

        sum[0] = sum[1] = vf_set(0.0f);
        for (j = 0; j + 2 <= keys; j += 2)
            TT_UNROLL for (size_t t = 0; t < 2; t++) {
                float *p = scores + (j + t) * width + i;
                vf e = vf_exp_negative(vf_sub(vf_load(p), base));
                vf_store(p, e);
                sum[t] = vf_add(sum[t], e);
            }
        for (; j < keys; j++) {
            float *p = scores + j * width + i;
            vf e = vf_exp_negative(vf_sub(vf_load(p), base));
            vf_store(p, e);
            sum[0] = vf_add(sum[0], e);
        }
        vf factor = vf_exp_negative(vf_sub(before, base));
        vf_store(correction + i, factor);
        vf_store(largest + i, now);
        vf_store(total + i, vf_fma(vf_load(total + i), factor, vf_add(sum[0], sum[1])));
    }
}

static void scale_columns(size_t rows, size_t width, float *x, const float *factor)
{
    for (size_t i = 0; i < width; i += VF_N) {
        vf f = vf_load(factor + i), zero = vf_set(0.0f);
        vmask positive = vf_less(zero, f);
        for (size_t j = 0; j < rows; j++) {
            float *p = x + j * width + i;
            vf_store(p, vf_where(positive, vf_mul(vf_load(p), f), f)); /* f is 0 or NaN there */
        }
    }
}

static void softmax_gradient(size_t keys, size_t width, float *scores, float *dp, const float *lse,
                             const float *delta)
{
    for (size_t i = 0; i < width; i += VF_N) {
        vf base = vf_load(lse + i), mean = vf_load(delta + i);
        for (size_t j = 0; j < keys; j++) {
            size_t at = j * width + i;
            vf p = vf_exp(vf_sub(vf_load(scores + at), base));
            vf_store(scores + at, p);
            vf_store(dp + at, vf_mul(p, vf_sub(vf_load(dp + at), mean)));
        }
    }
}

const tt_attention_kernels TT_FOR_LEVEL(tt_attention) = {
    hide, softmax_step, scale_columns, softmax_gradient, TT_FOR_LEVEL(tt_transpose),
    &TT_FOR_LEVEL(tt_attention_decode)};
