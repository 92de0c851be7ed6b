/* Step 4: vectors. The tiles of step 3, with a vector of VF_N queries where it had QUERIES single floats.
 *
 * Queries are lanes: an element of k or v is spread over a vector once, and the softmax of VF_N queries is
 * computed side by side, without a sum across lanes. TOGETHER sums are under way at a time, as many as a fused
 * multiply-add takes cycles times those that start in each. */
#include "lessons/vector/vector.h"

enum { KEYS = 64, TOGETHER = 8 };

typedef struct {
    size_t d;
    float *q, *y;              /* (d, VF_N) */
    float scores[KEYS * VF_N]; /* then e^(score - largest) */
    vf largest, total, correction;
} tile;

/* scores (n, VF_N) of n keys. */
TT_INLINE void score_keys(size_t n, const tile *tile, const float *k, float *scores)
{
    vf sum[TOGETHER];
    for (size_t j = 0; j < n; j++) sum[j] = vf_set(0.0f);
    for (size_t c = 0; c < tile->d; c++) {
        vf q = vf_load(tile->q + c * VF_N);
        for (size_t j = 0; j < n; j++) sum[j] = vf_fma(vf_set(k[j * tile->d + c]), q, sum[j]);
    }
    for (size_t j = 0; j < n; j++) vf_store(scores + j * VF_N, sum[j]);
}

/* Queries see keys up to their own number; key 0 is number `offset` of the queries' count. */
static void hide(size_t keys, ptrdiff_t offset, float *scores)
{
    float numbers[VF_N];
    for (size_t i = 0; i < VF_N; i++) numbers[i] = (float)i;
    vf query = vf_load(numbers), hidden = vf_set(-INFINITY);
    for (size_t j = 0; j < keys; j++) {
        vf key = vf_set((float)((ptrdiff_t)j + offset));
        vf_store(scores + j * VF_N, vf_where(vf_less(query, key), hidden, vf_load(scores + j * VF_N)));
    }
}

static void softmax_step(size_t keys, tile *tile)
{
    vf largest = tile->largest, sum = vf_set(0.0f);
    for (size_t j = 0; j < keys; j++) largest = vf_max(vf_load(tile->scores + j * VF_N), largest);
    for (size_t j = 0; j < keys; j++) {
        vf weight = vf_exp_negative(vf_sub(vf_load(tile->scores + j * VF_N), largest));
        vf_store(tile->scores + j * VF_N, weight);
        sum = vf_add(sum, weight);
    }
    tile->correction = vf_exp_negative(vf_sub(tile->largest, largest));
    tile->total = vf_fma(tile->total, tile->correction, sum);
    tile->largest = largest;
}

/* y (n, VF_N) = y * correction + n columns of v, weighted by the scores. */
TT_INLINE void add_values(size_t n, size_t keys, const tile *tile, const float *v, float *y)
{
    vf sum[TOGETHER];
    for (size_t c = 0; c < n; c++) sum[c] = vf_mul(vf_load(y + c * VF_N), tile->correction);
    for (size_t j = 0; j < keys; j++) {
        vf weight = vf_load(tile->scores + j * VF_N);
        for (size_t c = 0; c < n; c++) sum[c] = vf_fma(vf_set(v[j * tile->d + c]), weight, sum[c]);
    }
    for (size_t c = 0; c < n; c++) vf_store(y + c * VF_N, sum[c]);
}

/* One tile of scores, and what it adds to the sums. A full group has constant bounds, so its sums are registers. */
static void take_keys(size_t keys, const float *k, const float *v, int causal, ptrdiff_t offset, tile *tile)
{
    size_t d = tile->d;
    for (size_t j = 0; j < keys; j += TOGETHER) {
        if (keys - j >= TOGETHER)
            score_keys(TOGETHER, tile, k + j * d, tile->scores + j * VF_N);
        else
            score_keys(keys - j, tile, k + j * d, tile->scores + j * VF_N);
    }
    if (causal) hide(keys, offset, tile->scores);
    softmax_step(keys, tile);
    for (size_t c = 0; c < d; c += TOGETHER) {
        if (d - c >= TOGETHER)
            add_values(TOGETHER, keys, tile, v + c, tile->y + c * VF_N);
        else
            add_values(d - c, keys, tile, v + c, tile->y + c * VF_N);
    }
}

/* y of the queries from `first` on, as many as a vector has lanes. */
static void attend(const tt_attention_heads *x, size_t h, size_t first, tile *tile, float *y)
{
    size_t n = tt_min(VF_N, x->t - first), seen = x->causal ? tt_min(x->s, first + n) : x->s, d = x->d;
    const float *q = x->q + (h * x->t + first) * d, *k = x->k + h * x->s * d, *v = x->v + h * x->s * d;
    for (size_t c = 0; c < d; c++)
        for (size_t i = 0; i < VF_N; i++) {
            tile->q[c * VF_N + i] = i < n ? q[i * d + c] / sqrtf((float)d) : 0.0f;
            tile->y[c * VF_N + i] = 0.0f;
        }
    tile->largest = vf_set(-INFINITY);
    tile->total = vf_set(0.0f);
    for (size_t j = 0; j < seen; j += KEYS)
        take_keys(tt_min(KEYS, seen - j), k + j * d, v + j * d, x->causal, (ptrdiff_t)j - (ptrdiff_t)first, tile);
    float total[VF_N];
    vf_store(total, tile->total);
    y += (h * x->t + first) * d;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < d; c++) y[i * d + c] = seen ? tile->y[c * VF_N + i] / total[i] : 0.0f;
}

tt_status TT_FOR_LEVEL(tt_attention_vectorised)(const tt_attention_heads *x, float *y)
{
    float *panels = tt_scratch_acquire(2 * x->d * VF_N * sizeof *panels);
    if (!panels) return TT_OUT_OF_MEMORY;
    tile tile = {.d = x->d, .q = panels, .y = panels + x->d * VF_N};
    for (size_t h = 0; h < x->heads; h++)
        for (size_t i = 0; i < x->t; i += VF_N) attend(x, h, i, &tile, y);
    tt_scratch_release(panels);
    return TT_OK;
}
