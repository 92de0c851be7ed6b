/* The gradient of attention: probabilities come back tile by tile from the scores and their log-sum-exp
 * ("FlashAttention", Dao et al., 2022).
 *
 *      p = e^(scale q k^T - lse)      dp = dy v^T      ds = p (dp - rowsum(dy y))
 *      dq = scale ds k                dk = scale ds^T q                dv = p^T dy
 *
 * One task is all the queries of the heads that share a k and v, in order: their sums into dk and dv do not
 * depend on the threads. */
#include "ops/attention.h"

#include <math.h>
#include <string.h>

enum {
    K_PANELS, V_PANELS, /* keys as rows, for the scores and dp */
    K_COLUMNS,          /* features as rows, for dq */
    Q_PANEL, DY_PANEL,  /* queries as columns, for the scores and dp */
    Q_COLUMNS, DY_COLUMNS, /* features as rows, for dk and dv */
    SCORES, DP, BIAS, TURNED, LSE, DELTA,
    DQ, DK, DV, /* transposed: (d, nr), and (d, nr) or (e, nr) for each nr keys */
    PARTS
};

typedef struct {
    tt_attention_tiles tiles;
    const float *dy, *y, *lse;
    float *dq, *dk, *dv;
    size_t offset[PARTS + 1]; /* the parts of a worker's scratch */
    float *scratch;
} backward_job;

static void lay_out(backward_job *job)
{
    const tt_attention *a = job->tiles.attention;
    size_t mr = job->tiles.mr, nr = job->tiles.nr, keys = job->tiles.keys, tile = keys * nr;
    size_t d_padded = tt_round_up(a->d, mr), e_padded = tt_round_up(a->e, mr), s_padded = tt_round_up(a->s, keys);
    const size_t floats[PARTS] = {
        [K_PANELS] = s_padded * a->d, [V_PANELS] = s_padded * a->e, [K_COLUMNS] = s_padded * d_padded,
        [Q_PANEL] = a->d * nr, [DY_PANEL] = a->e * nr, [Q_COLUMNS] = d_padded * nr, [DY_COLUMNS] = e_padded * nr,
        [SCORES] = tile, [DP] = tile, [BIAS] = a->mask ? 2 * tile : 0, [TURNED] = nr * nr, [LSE] = nr,
        [DELTA] = nr, [DQ] = a->d * nr, [DK] = s_padded * a->d, [DV] = s_padded * a->e};
    for (int i = 0; i < PARTS; i++) job->offset[i + 1] = job->offset[i] + tt_round_up(floats[i], 16);
}

/* What the n queries from `row` on bring to every tile. */
static void pack_tile_queries(const backward_job *job, size_t row, size_t n, float *part)
{
    const tt_attention_tiles *tiles = &job->tiles;
    const tt_attention *a = tiles->attention;
    const float *q = a->q + row * a->d, *dy = job->dy + row * a->e, *y = job->y + row * a->e;
    float *lse = part + job->offset[LSE], *delta = part + job->offset[DELTA];
    size_t nr = tiles->nr;
    tt_pack_queries(tiles, q, n, a->scale, part + job->offset[Q_PANEL]);
    tiles->kernels->transpose(n, a->e, dy, a->e, part + job->offset[DY_PANEL], nr, nr);
    tt_pack_columns(tiles, n, a->d, nr, q, part + job->offset[Q_COLUMNS]);
    tt_pack_columns(tiles, n, a->e, nr, dy, part + job->offset[DY_COLUMNS]);
    for (size_t i = 0; i < nr; i++) {
        float sum = 0.0f;
        if (i < n)
            for (size_t e = 0; e < a->e; e++) sum += dy[i * a->e + e] * y[i * a->e + e];
        delta[i] = sum;
        /* A row that sees nothing, and one that is not there, has no probabilities: e^(score - inf) = 0. */
        lse[i] = i < n && job->lse[row + i] != -INFINITY ? job->lse[row + i] : INFINITY;
    }
}

/* sums (m, nr) for each nr keys += columns (m, n) @ weights (n, keys), whose transpose is at hand. */
static void add_over_queries(const backward_job *job, size_t m, size_t n, size_t keys, const float *columns,
                             const float *weights, float *turned, float *sums)
{
    const tt_attention_tiles *tiles = &job->tiles;
    size_t nr = tiles->nr;
    for (size_t j = 0; j < keys; j += nr) {
        tiles->kernels->transpose(tt_min(nr, keys - j), n, weights + j * nr, nr, turned, nr, nr);
        tt_multiply_panels(tiles, m, n, columns, nr * tiles->mr, turned, sums + j * m, 1);
    }
}

static void differentiate_queries(const backward_job *job, size_t b, size_t h, size_t t0, float *part)
{
    const tt_attention_tiles *tiles = &job->tiles;
    const tt_attention *a = tiles->attention;
    size_t nr = tiles->nr, n = tt_min(nr, a->t - t0), row = (b * a->heads + h) * a->t + t0;
    size_t end = tt_visible_keys(a, t0, n), d_padded = tt_round_up(a->d, tiles->mr);
    float *scores = part + job->offset[SCORES], *dp = part + job->offset[DP], *dq = part + job->offset[DQ];
    float *turned = part + job->offset[TURNED];
    pack_tile_queries(job, row, n, part);
    memset(dq, 0, a->d * nr * sizeof *dq);

    for (size_t s0 = 0; s0 < end; s0 += tiles->keys) {
        size_t keys = tt_min(tiles->keys, end - s0);
        tt_score_tile(tiles, b, h, t0, n, s0, keys, part + job->offset[K_PANELS], part + job->offset[Q_PANEL],
                      part + job->offset[BIAS], scores);
        tt_multiply_panels(tiles, keys, a->e, part + job->offset[V_PANELS] + s0 * a->e, tiles->mr * a->e,
                           part + job->offset[DY_PANEL], dp, 0);
        tiles->kernels->softmax_gradient(keys, nr, scores, dp, part + job->offset[LSE], part + job->offset[DELTA]);
        tt_multiply_panels(tiles, a->d, keys, part + job->offset[K_COLUMNS] + s0 * d_padded,
                           tiles->keys * tiles->mr, dp, dq, 1);
        add_over_queries(job, a->e, n, keys, part + job->offset[DY_COLUMNS], scores, turned,
                         part + job->offset[DV] + s0 * a->e);
        add_over_queries(job, a->d, n, keys, part + job->offset[Q_COLUMNS], dp, turned,
                         part + job->offset[DK] + s0 * a->d);
    }
    for (size_t i = 0; i < a->d * nr; i++) dq[i] *= a->scale;
    tiles->kernels->transpose(a->d, n, dq, nr, job->dq + row * a->d, a->d, a->d);
}

/* Sums (columns, nr) for each nr keys, back to rows of keys. */
static void store_sums(const backward_job *job, size_t columns, float scale, float *sums, float *x)
{
    size_t nr = job->tiles.nr, s = job->tiles.attention->s;
    for (size_t i = 0; i < tt_round_up(s, nr) * columns; i++) sums[i] *= scale;
    for (size_t j = 0; j < s; j += nr)
        job->tiles.kernels->transpose(columns, tt_min(nr, s - j), sums + j * columns, nr, x + j * columns, columns,
                                      columns);
}

static void differentiate(void *context, size_t index, int worker)
{
    const backward_job *job = context;
    const tt_attention *a = job->tiles.attention;
    size_t b = index / a->kv_heads, g = index % a->kv_heads, group = a->heads / a->kv_heads;
    float *part = job->scratch + (size_t)worker * job->offset[PARTS];
    const float *k = a->k + index * a->s * a->d, *v = a->v + index * a->s * a->e;
    tt_pack_rows(&job->tiles, a->s, a->d, k, part + job->offset[K_PANELS]);
    tt_pack_rows(&job->tiles, a->s, a->e, v, part + job->offset[V_PANELS]);
    tt_pack_columns(&job->tiles, a->s, a->d, job->tiles.keys, k, part + job->offset[K_COLUMNS]);
    memset(part + job->offset[DK], 0, (job->offset[PARTS] - job->offset[DK]) * sizeof *part);
    for (size_t h = g * group; h < (g + 1) * group; h++)
        for (size_t t0 = 0; t0 < a->t; t0 += job->tiles.nr) differentiate_queries(job, b, h, t0, part);
    store_sums(job, a->d, a->scale, part + job->offset[DK], job->dk + index * a->s * a->d);
    store_sums(job, a->e, 1.0f, part + job->offset[DV], job->dv + index * a->s * a->e);
}

tt_status tt_attention_backward_f32(const tt_attention *attention, const float *dy, const float *y,
                                    const float *lse, float *dq, float *dk, float *dv)
{
    const tt_attention *a = attention;
    if (a->batch == 0 || a->kv_heads == 0) return TT_OK;
    backward_job job = {.tiles = tt_attention_tiles_of(a), .dy = dy, .y = y, .lse = lse, .dq = dq, .dk = dk,
                        .dv = dv};
    int workers = tt_workers_for(2.0 * (double)(a->batch * a->heads * a->t) * (double)a->s *
                                 (double)(3 * a->d + 2 * a->e) * (a->causal ? 0.5 : 1.0));
    lay_out(&job);
    job.scratch = tt_scratch_acquire((size_t)workers * job.offset[PARTS] * sizeof(float));
    if (!job.scratch) return TT_OUT_OF_MEMORY;
    tt_parallel_for(workers, a->batch * a->kv_heads, differentiate, &job);
    tt_scratch_release(job.scratch);
    return TT_OK;
}
