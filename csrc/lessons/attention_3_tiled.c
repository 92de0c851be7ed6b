/* Step 3: tiles of QUERIES by KEYS scores ("FlashAttention", Dao et al., 2022).
 *
 * Both products are computed as in step 2 of the matmul ladder, a few sums at a time in registers: each element
 * loaded from k or v serves QUERIES products, each of q or of the scores TOGETHER of them. The scores of a tile
 * are overwritten by those of the next and stay in L1, and the sums are corrected once a tile.
 *
 * The queries of a tile, its scores and its sums are kept transposed, (.., QUERIES). */
#include "lessons/lessons.h"
#include "microkernels/vec.h"
#include "runtime/runtime.h"

enum { QUERIES = 4, KEYS = 64, TOGETHER = 4 };

typedef struct {
    size_t d;
    float *q, *y;                 /* (d, QUERIES) */
    float scores[KEYS * QUERIES]; /* then e^(score - largest) */
    float largest[QUERIES], total[QUERIES], correction[QUERIES];
} tile;

/* scores (n, QUERIES) of n keys. */
TT_INLINE void score_keys(size_t n, const tile *tile, const float *k, float *scores)
{
    float sum[TOGETHER][QUERIES] = {{0}};
    for (size_t c = 0; c < tile->d; c++)
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < QUERIES; i++) sum[j][i] += k[j * tile->d + c] * tile->q[c * QUERIES + i];
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < QUERIES; i++) scores[j * QUERIES + i] = sum[j][i];
}

/* Queries see keys up to their own number; key 0 is number `offset` of the queries' count. */
static void hide(size_t keys, ptrdiff_t offset, float *scores)
{
    for (size_t j = 0; j < keys; j++)
        for (size_t i = 0; i < QUERIES; i++)
            if ((ptrdiff_t)j + offset > (ptrdiff_t)i) scores[j * QUERIES + i] = -INFINITY;
}

static void softmax_step(size_t keys, tile *tile)
{
    for (size_t i = 0; i < QUERIES; i++) {
        float largest = tile->largest[i], sum = 0.0f;
        for (size_t j = 0; j < keys; j++) {
            float score = tile->scores[j * QUERIES + i];
            largest = score > largest ? score : largest;
        }
        for (size_t j = 0; j < keys; j++)
            sum += tile->scores[j * QUERIES + i] = expf(tile->scores[j * QUERIES + i] - largest);
        tile->correction[i] = expf(tile->largest[i] - largest);
        tile->total[i] = tile->total[i] * tile->correction[i] + sum;
        tile->largest[i] = largest;
    }
}

/* y (n, QUERIES) = y * correction + n columns of v, weighted by the scores. */
TT_INLINE void add_values(size_t n, size_t keys, const tile *tile, const float *v, float *y)
{
    float sum[TOGETHER][QUERIES];
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < QUERIES; i++) sum[c][i] = y[c * QUERIES + i] * tile->correction[i];
    for (size_t j = 0; j < keys; j++)
        for (size_t c = 0; c < n; c++)
            for (size_t i = 0; i < QUERIES; i++) sum[c][i] += v[j * tile->d + c] * tile->scores[j * QUERIES + i];
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < QUERIES; i++) y[c * QUERIES + i] = sum[c][i];
}

/* One tile of scores, and what it adds to the sums. A full group has constant bounds, so its sums are registers. */
static void take_keys(size_t keys, const float *k, const float *v, int causal, ptrdiff_t offset, tile *tile)
{
    size_t d = tile->d;
    for (size_t j = 0; j < keys; j += TOGETHER) {
        if (keys - j >= TOGETHER)
            score_keys(TOGETHER, tile, k + j * d, tile->scores + j * QUERIES);
        else
            score_keys(keys - j, tile, k + j * d, tile->scores + j * QUERIES);
    }
    if (causal) hide(keys, offset, tile->scores);
    softmax_step(keys, tile);
    for (size_t c = 0; c < d; c += TOGETHER) {
        if (d - c >= TOGETHER)
            add_values(TOGETHER, keys, tile, v + c, tile->y + c * QUERIES);
        else
            add_values(d - c, keys, tile, v + c, tile->y + c * QUERIES);
    }
}

/* y of the queries from `first` on, as many as fit into a tile. */
static void attend(const tt_attention_heads *x, size_t h, size_t first, tile *tile, float *y)
{
    size_t n = tt_min(QUERIES, x->t - first), seen = x->causal ? tt_min(x->s, first + n) : x->s, d = x->d;
    const float *q = x->q + (h * x->t + first) * d, *k = x->k + h * x->s * d, *v = x->v + h * x->s * d;
    for (size_t i = 0; i < QUERIES; i++) {
        for (size_t c = 0; c < d; c++) {
            tile->q[c * QUERIES + i] = i < n ? q[i * d + c] / sqrtf((float)d) : 0.0f;
            tile->y[c * QUERIES + i] = 0.0f;
        }
        tile->largest[i] = -INFINITY;
        tile->total[i] = 0.0f;
    }
    for (size_t j = 0; j < seen; j += KEYS)
        take_keys(tt_min(KEYS, seen - j), k + j * d, v + j * d, x->causal, (ptrdiff_t)j - (ptrdiff_t)first, tile);
    y += (h * x->t + first) * d;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < d; c++) y[i * d + c] = seen ? tile->y[c * QUERIES + i] / tile->total[i] : 0.0f;
}

tt_status tt_attention_tiled(const tt_attention_heads *x, float *y)
{
    float *panels = tt_scratch_acquire(2 * x->d * QUERIES * sizeof *panels);
    if (!panels) return TT_OUT_OF_MEMORY;
    tile tile = {.d = x->d, .q = panels, .y = panels + x->d * QUERIES};
    for (size_t h = 0; h < x->heads; h++)
        for (size_t i = 0; i < x->t; i += QUERIES) attend(x, h, i, &tile, y);
    tt_scratch_release(panels);
    return TT_OK;
}
