/* Attention of a few queries that look at the same keys and values, written once over vec.h. Two passes: the
 * scores and their maximum, then the exponentials and the sum of values, so that the one stream of keys and the
 * one of values never wait for long. */
#include "microkernels/attention.h"
#include "microkernels/vec.h"

/* So many sums fill the registers, with room for what is added to them. */
#if defined(TT_LEVEL_AVX2)
enum { SUMS = 8 };
#else
enum { SUMS = 16 };
#endif
enum {
    MOST_QUERIES = VF_N < 4 ? VF_N : 4,
    KEYS = 64,   /* whose values are summed at a time: their scores are in L1, y is read and written rarely */
    AHEAD = 8192 /* bytes: several queries read too slowly for the CPU to look ahead far enough by itself */
};

typedef struct {
    size_t count, d;
    const void *rows;    /* (count, d) keys or values: int8_t with scales (count), float without */
    const float *scales;
} cached_rows;

TT_INLINE vf load_element(const void *x, size_t at, const int int8)
{
    return int8 ? vf_load_int8((const int8_t *)x + at) : vf_load((const float *)x + at);
}

/* The first n of them, for n < VF_N. */
TT_INLINE vf load_elements(const void *x, size_t at, size_t n, const int int8)
{
    return int8 ? vf_load_int8_n((const int8_t *)x + at, n) : vf_load_n((const float *)x + at, n);
}

/* The same for what several queries share. */
TT_INLINE vf load_ahead(const size_t queries, const void *x, size_t at, const int int8)
{
    size_t bytes = at * (int8 ? 1 : sizeof(float)) + AHEAD;
    if (queries > 1) vf_prefetch((const float *)((uintptr_t)x + bytes)); /* a pointer would leave its array */
    return load_element(x, at, int8);
}

/* ---- vectors of scores hold `together` = VF_N / queries keys for each query: lane h * together + t ---- */

/* A number for each of n keys, repeated for each query. Lanes of other keys hold anything. */
TT_INLINE vf repeat_keys(const size_t queries, const float *x, size_t n)
{
    const size_t together = VF_N / queries;
    return vf_repeat(vf_load_up_to(x, n < together ? n : together), together);
}

/* A number for each query, repeated for each key. */
TT_INLINE vf repeat_queries(const size_t queries, const float *x)
{
    float lanes[VF_N];
    for (size_t i = 0; i < VF_N; i++) lanes[i] = x[i / (VF_N / queries)];
    return vf_load(lanes);
}

/* ---- scores ---- */

/* sum[h * together + t] += the products of query h and key t, for features i ... i + n. Each has a chain of
 * additions of its own. Keys from `count` on are not there; the last one takes their place. */
TT_INLINE void add_products(const size_t queries, const int int8, const cached_rows *keys, size_t first,
                            size_t count, const float *q, size_t i, size_t n, vf *sum)
{
    const size_t together = VF_N / queries;
    vf x[MOST_QUERIES];
    TT_UNROLL for (size_t h = 0; h < queries; h++) x[h] = vf_load_up_to(q + h * keys->d + i, n);
    TT_UNROLL for (size_t t = 0; t < together; t++) {
        size_t at = (first + (t < count ? t : count - 1)) * keys->d + i;
        vf key = n == VF_N ? load_ahead(queries, keys->rows, at, int8) : load_elements(keys->rows, at, n, int8);
        TT_UNROLL for (size_t h = 0; h < queries; h++)
            sum[h * together + t] = vf_fma(key, x[h], sum[h * together + t]);
    }
}

TT_INLINE vf score_block(const size_t queries, const int int8, const cached_rows *keys, size_t first,
                         size_t count, const float *q, float scale)
{
    vf sum[VF_N];
    size_t d = keys->d, i = 0;
    TT_UNROLL for (size_t j = 0; j < VF_N; j++) sum[j] = vf_set(0.0f);
    for (; i + VF_N <= d; i += VF_N) add_products(queries, int8, keys, first, count, q, i, VF_N, sum);
    if (i < d) add_products(queries, int8, keys, first, count, q, i, d % VF_N, sum);
    vf scores = vf_mul(vf_sum_each(sum), vf_set(scale));
    return int8 ? vf_mul(scores, repeat_keys(queries, keys->scales + first, count)) : scores;
}

/* Fills whole vectors of scores; those of keys beyond the last are -inf. Gives the largest of each query. */
TT_INLINE void score_keys(const size_t queries, const int int8, const cached_rows *keys, const float *q,
                          float scale, float *scores, float *largest)
{
    const size_t together = VF_N / queries;
    float lanes[VF_N];
    vf most = vf_set(-FLT_MAX); /* not -inf: a score of -inf less that would be NaN */
    size_t s = 0, count = keys->count;
    for (; s + together <= count; s += together) {
        vf block = score_block(queries, int8, keys, s, together, q, scale);
        vf_store(scores + s * queries, block);
        most = vf_max(block, most);
    }
    if (s < count) {
        vf_store(lanes, score_block(queries, int8, keys, s, count - s, q, scale));
        for (size_t i = 0; i < VF_N; i++)
            if (i % together >= count - s) lanes[i] = -INFINITY;
        vf_store(scores + s * queries, vf_load(lanes));
        most = vf_max(vf_load(lanes), most);
    }
    vf_store(lanes, most);
    for (size_t h = 0; h < queries; h++) {
        largest[h] = lanes[h * together];
        for (size_t t = 1; t < together; t++)
            largest[h] = lanes[h * together + t] > largest[h] ? lanes[h * together + t] : largest[h];
    }
}

/* ---- values ---- */

/* sum (queries, nv) += the weight of each query, `together` apart, times nv vectors of one value; of one only
 * the first n elements where n < VF_N. */
TT_INLINE void add_value(const size_t queries, const size_t nv, const int int8, const cached_rows *values,
                         size_t at, size_t n, const float *weight, vf *sum)
{
    TT_UNROLL for (size_t v = 0; v < nv; v++) {
        vf x = n == VF_N ? load_ahead(queries, values->rows, at + v * VF_N, int8)
                         : load_elements(values->rows, at, n, int8);
        TT_UNROLL for (size_t h = 0; h < queries; h++)
            sum[h * nv + v] = vf_fma(x, vf_set(weight[h * (VF_N / queries)]), sum[h * nv + v]);
    }
}

/* nv vectors of y from `column` on for `count` values from `first` on. With few vectors each sum is split into
 * chains, lest each addition wait for the last one. */
TT_INLINE void add_strip(const size_t queries, const size_t nv, const int int8, const cached_rows *values,
                         size_t first, size_t count, size_t column, size_t n, const float *weights, float *y)
{
    const size_t together = VF_N / queries, most = SUMS / (nv * queries), sums = nv * queries;
    const size_t chains = most < together ? most : together;
    vf sum[SUMS];
    TT_UNROLL for (size_t i = 0; i < SUMS; i++) sum[i] = vf_set(0.0f);
    size_t d = values->d, s = 0;
    for (; s + chains <= count; s += chains)
        TT_UNROLL for (size_t c = 0; c < chains; c++)
            add_value(queries, nv, int8, values, (first + s + c) * d + column, n,
                      weights + s / together * VF_N + s % together + c, sum + c * sums);
    for (; s < count; s++)
        add_value(queries, nv, int8, values, (first + s) * d + column, n,
                  weights + s / together * VF_N + s % together, sum);
    TT_UNROLL for (size_t h = 0; h < queries; h++)
        TT_UNROLL for (size_t v = 0; v < nv; v++) {
            vf all = sum[h * nv + v];
            TT_UNROLL for (size_t c = 1; c < chains; c++) all = vf_add(all, sum[c * sums + h * nv + v]);
            float *out = y + h * d + column + v * VF_N;
            if (first > 0) all = vf_add(all, vf_load_up_to(out, n));
            vf_store_up_to(out, all, n);
        }
}

/* y (queries, d), += after the first values */
TT_INLINE void add_values(const size_t queries, const int int8, const cached_rows *values, size_t first,
                          size_t count, const float *weights, float *y)
{
    size_t i = 0, d = values->d;
#define STRIPS(nv)                                                                                      \
    if (nv * queries <= SUMS)                                                                           \
        for (; i + nv * VF_N <= d; i += nv * VF_N)                                                      \
            add_strip(queries, nv, int8, values, first, count, i, VF_N, weights, y)
    STRIPS(8);
    STRIPS(4);
    STRIPS(2);
    STRIPS(1);
#undef STRIPS
    if (i < d) add_strip(queries, 1, int8, values, first, count, i, d % VF_N, weights, y);
}

TT_INLINE void weigh_values(const size_t queries, const int int8, const cached_rows *values, float *scores,
                            const float *largest, float *y)
{
    const size_t together = VF_N / queries;
    float lanes[VF_N];
    vf base = repeat_queries(queries, largest), total = vf_set(0.0f);
    for (size_t first = 0; first < values->count; first += KEYS) {
        size_t count = values->count - first < KEYS ? values->count - first : KEYS;
        for (size_t s = 0; s < count; s += together) {
            float *p = scores + (first + s) * queries;
            vf e = vf_exp_negative(vf_sub(vf_load(p), base));
            total = vf_add(total, e);
            if (int8) e = vf_mul(e, repeat_keys(queries, values->scales + first + s, count - s));
            vf_store(p, e);
        }
        add_values(queries, int8, values, first, count, scores + first * queries, y);
    }
    vf_store(lanes, total);
    for (size_t h = 0; h < queries; h++) {
        float sum = 0.0f;
        for (size_t t = 0; t < together; t++) sum += lanes[h * together + t];
        vf factor = vf_set(sum == 0.0f ? 0.0f : 1.0f / sum);
        for (size_t i = 0, d = values->d; i < d; i += VF_N)
            vf_store_up_to(y + h * d + i, vf_mul(vf_load_up_to(y + h * d + i, d - i), factor), d - i);
    }
}

/* ---- one, two or four queries ---- */

TT_INLINE void attend_of(const size_t queries, const int int8, const cached_rows *keys, const cached_rows *values,
                         const float *q, float scale, float *scores, float *y)
{
    float largest[MOST_QUERIES];
    score_keys(queries, int8, keys, q, scale, scores, largest);
    weigh_values(queries, int8, values, scores, largest, y);
}

static void attend(size_t queries, size_t count, size_t d, const void *key_rows, const float *key_scales,
                   const void *value_rows, const float *value_scales, const float *q, float scale, float *scores,
                   float *y)
{
    cached_rows keys = {count, d, key_rows, key_scales}, values = {count, d, value_rows, value_scales};
#define QUERIES(n)                                                   \
    if (queries == n) {                                              \
        if (key_scales)                                              \
            attend_of(n, 1, &keys, &values, q, scale, scores, y);    \
        else                                                         \
            attend_of(n, 0, &keys, &values, q, scale, scores, y);    \
    }
    QUERIES(1)
#if !defined(TT_LEVEL_SCALAR)
    QUERIES(2)
    QUERIES(4)
#endif
#undef QUERIES
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

const tt_attention_decode_kernels TT_FOR_LEVEL(tt_attention_decode) = {attend, quantize_row, MOST_QUERIES};
