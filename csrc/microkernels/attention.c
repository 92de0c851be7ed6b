/* The softmax of attention, and attention of one query, written once over vec.h. */
#include "microkernels/attention.h"
#include "microkernels/vec.h"

/* ---- tiles of scores: queries are lanes ---- */

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

/* ---- one query ---- */

TT_INLINE vf load_element(const void *x, size_t at, const int int8)
{
    return int8 ? vf_load_int8((const int8_t *)x + at) : vf_load((const float *)x + at);
}

/* n of them, a whole vector from VF_N on. */
TT_INLINE vf load_elements(const void *x, size_t at, size_t n, const int int8)
{
    if (n >= VF_N) return load_element(x, at, int8);
    return int8 ? vf_load_int8_n((const int8_t *)x + at, n) : vf_load_n((const float *)x + at, n);
}

/* `together` keys side by side: each has a chain of additions of its own. */
TT_INLINE void products(const size_t together, const int int8, size_t d, const void *keys, size_t first,
                        const float *q, vf *sum)
{
    size_t i = 0;
    TT_UNROLL for (size_t t = 0; t < together; t++) sum[t] = vf_set(0.0f);
    for (; i + VF_N <= d; i += VF_N) {
        vf x = vf_load(q + i);
        TT_UNROLL for (size_t t = 0; t < together; t++)
            sum[t] = vf_fma(load_element(keys, (first + t) * d + i, int8), x, sum[t]);
    }
    if (i < d) {
        vf x = vf_load_n(q + i, d - i);
        TT_UNROLL for (size_t t = 0; t < together; t++)
            sum[t] = vf_fma(load_elements(keys, (first + t) * d + i, d - i, int8), x, sum[t]);
    }
}

TT_INLINE void score_keys_of(const int int8, size_t count, size_t d, const void *keys, const float *q,
                             float *scores)
{
    vf sum[VF_N];
    size_t s = 0;
    for (; s + VF_N <= count; s += VF_N) {
        products(VF_N, int8, d, keys, s, q, sum);
        vf_store(scores + s, vf_sum_each(sum));
    }
    for (; s < count; s++) {
        products(1, int8, d, keys, s, q, sum);
        scores[s] = vf_sum(sum[0]);
    }
}

static void score_keys(size_t count, size_t d, const void *keys, int int8, const float *q, float *scores)
{
    if (int8)
        score_keys_of(1, count, d, keys, q, scores);
    else
        score_keys_of(0, count, d, keys, q, scores);
}

static float softmax_row(size_t count, float *scores)
{
    vf most = vf_set(-INFINITY), sum = vf_set(0.0f);
    float largest = -INFINITY, total = 0.0f;
    size_t j = 0;
    for (; j + VF_N <= count; j += VF_N) most = vf_max(vf_load(scores + j), most);
    largest = vf_largest(most);
    for (; j < count; j++) largest = scores[j] > largest ? scores[j] : largest;

    vf base = finite_or_zero(vf_set(largest));
    for (j = 0; j + VF_N <= count; j += VF_N) {
        vf e = vf_exp_negative(vf_sub(vf_load(scores + j), base));
        vf_store(scores + j, e);
        sum = vf_add(sum, e);
    }
    total = vf_sum(sum);
    for (; j < count; j++) {
        vf_store_n(scores + j, vf_exp_negative(vf_sub(vf_load_n(scores + j, 1), base)), 1);
        total += scores[j];
    }
    return total;
}

/* sum (nv) += weight times nv vectors of one value; the last vector has n elements, or VF_N. */
TT_INLINE void add_value(const size_t nv, const int int8, const void *values, size_t at, size_t n, float weight,
                         vf *sum)
{
    vf w = vf_set(weight);
    TT_UNROLL for (size_t v = 0; v + 1 < nv; v++)
        sum[v] = vf_fma(load_element(values, at + v * VF_N, int8), w, sum[v]);
    sum[nv - 1] = vf_fma(load_elements(values, at + (nv - 1) * VF_N, n, int8), w, sum[nv - 1]);
}

/* nv vectors of y from `column` on, the last of n elements. With few vectors each sum is split into chains, lest
 * each addition wait for the last one. */
TT_INLINE void sum_strip(const size_t nv, const int int8, size_t count, size_t d, size_t n, const void *values,
                         size_t column, const float *p, float *y)
{
    const size_t chains = 8 / nv;
    vf sum[8][8];
    TT_UNROLL for (size_t t = 0; t < chains; t++)
        TT_UNROLL for (size_t v = 0; v < nv; v++) sum[t][v] = vf_set(0.0f);
    size_t s = 0;
    for (; s + chains <= count; s += chains)
        TT_UNROLL for (size_t t = 0; t < chains; t++)
            add_value(nv, int8, values, (s + t) * d + column, n, p[s + t], sum[t]);
    for (; s < count; s++) add_value(nv, int8, values, s * d + column, n, p[s], sum[0]);
    TT_UNROLL for (size_t v = 0; v < nv; v++) {
        TT_UNROLL for (size_t t = 1; t < chains; t++) sum[0][v] = vf_add(sum[0][v], sum[t][v]);
        float *out = y + column + v * VF_N;
        size_t left = v + 1 < nv ? VF_N : n;
        vf_store_up_to(out, vf_add(vf_load_up_to(out, left), sum[0][v]), left);
    }
}

TT_INLINE void sum_values_of(const int int8, size_t count, size_t d, const void *values, const float *p,
                             float *y)
{
    for (size_t i = 0; i < d;) {
        size_t left = d - i, vectors = (left + VF_N - 1) / VF_N, taken = 1;
#define STRIP(nv)                                                                                        \
    sum_strip(nv, int8, count, d, left < nv * VF_N ? left - (nv - 1) * VF_N : VF_N, values, i, p, y);   \
    taken = nv
        if (vectors >= 8) {
            STRIP(8);
        } else if (vectors >= 4) {
            STRIP(4);
        } else if (vectors >= 2) {
            STRIP(2);
        } else {
            STRIP(1);
        }
#undef STRIP
        i += taken * VF_N;
    }
}

static void sum_values(size_t count, size_t d, const void *values, int int8, const float *p, float *y)
{
    if (int8)
        sum_values_of(1, count, d, values, p, y);
    else
        sum_values_of(0, count, d, values, p, y);
}

static float quantize_row(size_t d, const float *x, int8_t *q)
{
    vf most = vf_set(0.0f), finite = vf_set(0.0f);
    for (size_t i = 0; i < d; i += VF_N) {
        vf value = vf_load_up_to(x + i, d - i);
        most = vf_max(vf_abs(value), most);
        finite = vf_fma(value, vf_set(0.0f), finite); /* NaN once there is a NaN or Inf, else 0 */
    }
    float scale = vf_largest(most) / 127.0f + vf_sum(finite);
    vf divisor = vf_set(scale > 0.0f ? scale : 1.0f);
    for (size_t i = 0; i < d; i += VF_N) {
        float levels[VF_N];
        size_t n = d - i < VF_N ? d - i : VF_N;
        vf_store(levels, vf_round(vf_div(vf_load_up_to(x + i, n), divisor)));
        for (size_t j = 0; j < n; j++) q[i + j] = scale > 0.0f ? (int8_t)levels[j] : 0;
    }
    return scale;
}

const tt_attention_kernels TT_FOR_LEVEL(tt_attention) = {
    hide, softmax_step, scale_columns, softmax_gradient, score_keys, softmax_row, sum_values, quantize_row,
    TT_FOR_LEVEL(tt_transpose)};
