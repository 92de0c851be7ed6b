/* Attention in tiles with an online softmax, so that memory stays linear in the length ("FlashAttention", Dao et
 * al., 2022; the softmax from Milakov and Gimelshein, 2018). */
#include "ops/attention.h"

#include <math.h>
#include <string.h>

/* ---- tiles ---- */

tt_attention_tiles tt_attention_tiles_of(const tt_attention *attention)
{
    enum { ABOUT = 96 }; /* keys: the scores of 32 queries take 12 KiB of L1 */
    const tt_microkernels *kernels = tt_kernels();
    size_t mr = kernels->matmul->mr, nr = kernels->matmul->nr, common = nr;
    while (common % mr) common += nr;
    return (tt_attention_tiles){kernels->matmul, kernels->attention, attention, mr, nr,
                                tt_round_up(ABOUT, common)};
}

void tt_pack_rows(const tt_attention_tiles *tiles, size_t rows, size_t depth, const float *x, float *panels)
{
    size_t mr = tiles->mr;
    for (size_t i = 0; i < rows; i += mr)
        tiles->kernels->transpose(tt_min(mr, rows - i), depth, x + i * depth, depth, panels + i * depth, mr, mr);
}

void tt_pack_columns(const tt_attention_tiles *tiles, size_t rows, size_t columns, size_t block, const float *x,
                     float *panels)
{
    size_t mr = tiles->mr, padded = tt_round_up(columns, mr);
    for (size_t i = 0; i < rows; i++) {
        float *row = panels + i / block * block * padded + i % block * mr;
        for (size_t c = 0; c < columns; c += mr) {
            size_t count = tt_min(mr, columns - c);
            memcpy(row + c * block, x + i * columns + c, count * sizeof *row);
            if (count < mr) memset(row + c * block + count, 0, (mr - count) * sizeof *row);
        }
    }
}

void tt_multiply_panels(const tt_attention_tiles *tiles, size_t m, size_t depth, const float *a,
                        size_t panel_step, const float *b, float *c, int accumulate)
{
    size_t mr = tiles->mr, nr = tiles->nr;
    for (size_t i = 0; i < m; i += mr)
        tiles->matmul->tile(depth, a + i / mr * panel_step, b, c + i * nr, nr, tt_min(mr, m - i), nr, accumulate);
}

void tt_pack_queries(const tt_attention_tiles *tiles, const float *q, size_t n, float scale, float *panel)
{
    size_t d = tiles->attention->d, nr = tiles->nr;
    tiles->kernels->transpose(n, d, q, d, panel, nr, nr);
    for (size_t i = 0; i < d * nr; i++) panel[i] *= scale;
}

size_t tt_visible_keys(const tt_attention *attention, size_t t0, size_t n)
{
    return attention->causal ? tt_min(attention->s, t0 + n) : attention->s;
}

/* The mask of one tile, (keys, nr): 0 or -inf for a boolean one. `rows` is scratch of keys nr floats. */
static void mask_tile(const tt_attention_tiles *tiles, size_t b, size_t h, size_t t0, size_t n, size_t s0,
                      size_t keys, float *rows, float *bias)
{
    const tt_attention *a = tiles->attention;
    size_t step = a->mask_steps[2];
    size_t first = b * a->mask_steps[0] + h * a->mask_steps[1] + t0 * step + s0;
    const float *mask = (const float *)a->mask + first;
    if (a->mask_is_bool) {
        const unsigned char *keeps = (const unsigned char *)a->mask + first;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < keys; j++) rows[i * keys + j] = keeps[i * step + j] ? 0.0f : -INFINITY;
        mask = rows;
        step = keys;
    }
    tiles->kernels->transpose(n, keys, mask, step, bias, tiles->nr, tiles->nr);
}

void tt_score_tile(const tt_attention_tiles *tiles, size_t b, size_t h, size_t t0, size_t n, size_t s0,
                   size_t keys, const float *k_panels, const float *q_panel, float *bias, float *scores)
{
    const tt_attention *a = tiles->attention;
    tt_multiply_panels(tiles, keys, a->d, k_panels + s0 * a->d, tiles->mr * a->d, q_panel, scores, 0);
    int hides_later_keys = a->causal && s0 + keys > t0 + 1;
    if (!a->mask && !hides_later_keys) return;
    if (a->mask) mask_tile(tiles, b, h, t0, n, s0, keys, bias + tiles->keys * tiles->nr, bias);
    ptrdiff_t first_key = hides_later_keys ? (ptrdiff_t)s0 - (ptrdiff_t)t0 : -(ptrdiff_t)keys;
    tiles->kernels->hide(keys, tiles->nr, scores, a->mask ? bias : NULL, first_key);
}

/* ---- forward ---- */

enum { K_PANELS, V_PANELS, Q_PANEL, SCORES, BIAS, RESULT, LARGEST, TOTAL, CORRECTION, PARTS };

typedef struct {
    tt_attention_tiles tiles;
    float *y, *lse;
    size_t query_tiles; /* for each head */
    size_t tiles_each, chunks; /* one task computes so many query tiles of the heads that share a k and v */
    size_t offset[PARTS + 1];  /* the parts of a worker's scratch */
    float *scratch;
} forward_job;

static void lay_out(forward_job *job)
{
    const tt_attention *a = job->tiles.attention;
    size_t mr = job->tiles.mr, nr = job->tiles.nr, keys = job->tiles.keys;
    const size_t floats[PARTS] = {
        [K_PANELS] = tt_round_up(a->s, mr) * a->d, [V_PANELS] = tt_round_up(a->s, keys) * tt_round_up(a->e, mr),
        [Q_PANEL] = a->d * nr, [SCORES] = keys * nr, [BIAS] = a->mask ? 2 * keys * nr : 0,
        [RESULT] = a->e * nr, [LARGEST] = nr, [TOTAL] = nr, [CORRECTION] = nr};
    for (int i = 0; i < PARTS; i++) job->offset[i + 1] = job->offset[i] + tt_round_up(floats[i], 16);
}

/* Divides by the sums of exponentials and writes n rows of y and lse. */
static void finish_queries(const forward_job *job, size_t row, size_t n, float *part)
{
    const tt_attention *a = job->tiles.attention;
    float *result = part + job->offset[RESULT], *factor = part + job->offset[CORRECTION];
    const float *largest = part + job->offset[LARGEST], *total = part + job->offset[TOTAL];
    size_t nr = job->tiles.nr;
    for (size_t i = 0; i < nr; i++) factor[i] = total[i] == 0.0f ? 0.0f : 1.0f / total[i];
    job->tiles.kernels->scale_columns(a->e, nr, result, factor);
    job->tiles.kernels->transpose(a->e, n, result, nr, job->y + row * a->e, a->e, a->e);
    if (!job->lse) return;
    for (size_t i = 0; i < n; i++) job->lse[row + i] = largest[i] + logf(total[i]);
}

static void attend_queries(const forward_job *job, size_t b, size_t h, size_t t0, float *part)
{
    const tt_attention_tiles *tiles = &job->tiles;
    const tt_attention *a = tiles->attention;
    size_t nr = tiles->nr, n = tt_min(nr, a->t - t0), row = (b * a->heads + h) * a->t + t0;
    size_t end = tt_visible_keys(a, t0, n), padded = tt_round_up(a->e, tiles->mr);
    float *scores = part + job->offset[SCORES], *result = part + job->offset[RESULT];
    float *largest = part + job->offset[LARGEST], *total = part + job->offset[TOTAL];
    float *correction = part + job->offset[CORRECTION];
    for (size_t i = 0; i < nr; i++) largest[i] = -INFINITY, total[i] = 0.0f;
    memset(result, 0, a->e * nr * sizeof *result);
    tt_pack_queries(tiles, a->q + row * a->d, n, a->scale, part + job->offset[Q_PANEL]);

    for (size_t s0 = 0; s0 < end; s0 += tiles->keys) {
        size_t keys = tt_min(tiles->keys, end - s0);
        tt_score_tile(tiles, b, h, t0, n, s0, keys, part + job->offset[K_PANELS], part + job->offset[Q_PANEL],
                      part + job->offset[BIAS], scores);
        tiles->kernels->softmax_step(keys, nr, scores, largest, total, correction);
        if (s0 > 0) tiles->kernels->scale_columns(a->e, nr, result, correction);
        tt_multiply_panels(tiles, a->e, keys, part + job->offset[V_PANELS] + s0 * padded, tiles->keys * tiles->mr,
                           scores, result, s0 > 0);
    }
    finish_queries(job, row, n, part);
}

static void attend(void *context, size_t index, int worker)
{
    const forward_job *job = context;
    const tt_attention *a = job->tiles.attention;
    size_t shared = index / job->chunks, b = shared / a->kv_heads, g = shared % a->kv_heads;
    size_t group = a->heads / a->kv_heads, first = index % job->chunks * job->tiles_each;
    size_t last = tt_min(first + job->tiles_each, group * job->query_tiles);
    float *part = job->scratch + (size_t)worker * job->offset[PARTS];
    size_t seen = tt_visible_keys(a, 0, a->t);
    if (last <= job->query_tiles) seen = tt_visible_keys(a, 0, tt_min(a->t, last * job->tiles.nr));
    tt_pack_rows(&job->tiles, seen, a->d, a->k + shared * a->s * a->d, part + job->offset[K_PANELS]);
    tt_pack_columns(&job->tiles, seen, a->e, job->tiles.keys, a->v + shared * a->s * a->e,
                    part + job->offset[V_PANELS]);
    for (size_t i = first; i < last; i++)
        attend_queries(job, b, g * group + i / job->query_tiles, i % job->query_tiles * job->tiles.nr, part);
}

/* Heads that share a k and v make one task, which packs both once; more tasks where those are few. */
static void split_work(forward_job *job, int workers)
{
    const tt_attention *a = job->tiles.attention;
    size_t shared = a->batch * a->kv_heads, tiles = a->heads / a->kv_heads * job->query_tiles;
    size_t wanted = workers == 1 ? 1 : tt_div_up(4 * (size_t)workers, shared);
    job->tiles_each = tt_div_up(tiles, tt_min(wanted, tiles));
    job->chunks = tt_div_up(tiles, job->tiles_each);
}

tt_status tt_attention_f32(const tt_attention *attention, float *y, float *lse)
{
    const tt_attention *a = attention;
    if (a->batch == 0 || a->heads == 0 || a->t == 0) return TT_OK;
    forward_job job = {.tiles = tt_attention_tiles_of(a), .y = y, .lse = lse};
    job.query_tiles = tt_div_up(a->t, job.tiles.nr);
    int workers = tt_workers_for(2.0 * (double)(a->batch * a->heads * a->t) * (double)a->s *
                                 (double)(a->d + a->e) * (a->causal ? 0.5 : 1.0));
    split_work(&job, workers);
    lay_out(&job);
    job.scratch = tt_scratch_acquire((size_t)workers * job.offset[PARTS] * sizeof(float));
    if (!job.scratch) return TT_OUT_OF_MEMORY;
    tt_parallel_for(workers, a->batch * a->kv_heads * job.chunks, attend, &job);
    tt_scratch_release(job.scratch);
    return TT_OK;
}
