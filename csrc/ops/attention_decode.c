/* One new position for every sequence, with a cache of the keys and values before it: bound by reading the
 * cache. Heads that share a k and v take turns on a few keys at a time, so each is read from memory once. */
#include "runtime/runtime.h"

#include <string.h>

enum { KEYS_IN_L1 = 64 /* 16 KiB of keys or values with 64 features */ };

typedef struct {
    const tt_attention_kernels *kernels;
    const tt_kv_cache *cache;
    size_t group; /* query heads that share a k and v */
    const float *q, *k, *v;
    float scale;
    float *y;
    float *scratch; /* for each worker: the scores of a group, its scaled queries, a factor for each */
    size_t scores_each, scratch_floats;
} decode_job;

static int is_int8(const tt_kv_cache *cache) { return cache->key_scales != NULL; }

/* Stores row x (d) at one position of the cached rows. */
static void append(const decode_job *job, const float *x, size_t position, void *rows, float *scales)
{
    size_t d = job->cache->d;
    if (scales)
        scales[position] = job->kernels->quantize_row(d, x, (int8_t *)rows + position * d);
    else
        memcpy((float *)rows + position * d, x, d * sizeof *x);
}

static const void *row_at(const void *rows, size_t element, int int8)
{
    return int8 ? (const void *)((const int8_t *)rows + element) : (const void *)((const float *)rows + element);
}

/* Keys in L1 serve every head of the group, unless there is only one head. */
static size_t step_for(const decode_job *job, size_t count) { return job->group == 1 ? count : KEYS_IN_L1; }

static void score_group(const decode_job *job, size_t first_row, size_t count, const float *q, float *scores)
{
    const tt_kv_cache *cache = job->cache;
    size_t d = cache->d, step = step_for(job, count);
    for (size_t s = 0; s < count; s += step) {
        const void *keys = row_at(cache->keys, (first_row + s) * d, is_int8(cache));
        for (size_t h = 0; h < job->group; h++)
            job->kernels->score_keys(tt_min(step, count - s), d, keys, is_int8(cache), q + h * d,
                                     scores + h * job->scores_each + s);
    }
}

static void sum_group(const decode_job *job, size_t first_row, size_t count, const float *scores, float *y)
{
    const tt_kv_cache *cache = job->cache;
    size_t d = cache->d, step = step_for(job, count);
    memset(y, 0, job->group * d * sizeof *y);
    for (size_t s = 0; s < count; s += step) {
        const void *values = row_at(cache->values, (first_row + s) * d, is_int8(cache));
        for (size_t h = 0; h < job->group; h++)
            job->kernels->sum_values(tt_min(step, count - s), d, values, is_int8(cache),
                                     scores + h * job->scores_each + s, y + h * d);
    }
}

/* scores[i] *= factors[i] */
static void multiply_rows(size_t count, float *scores, const float *factors)
{
    for (size_t i = 0; i < count; i++) scores[i] *= factors[i];
}

static void decode_group(void *context, size_t index, int worker)
{
    const decode_job *job = context;
    const tt_kv_cache *cache = job->cache;
    size_t d = cache->d, length = (size_t)cache->lengths[index / cache->kv_heads], count = length + 1;
    size_t first_row = index * cache->capacity, first_query = index * job->group * d;
    append(job, job->k + index * d, first_row + length, cache->keys, cache->key_scales);
    append(job, job->v + index * d, first_row + length, cache->values, cache->value_scales);

    float *scores = job->scratch + (size_t)worker * job->scratch_floats;
    float *q = scores + job->group * job->scores_each, *factors = q + job->group * d;
    float *y = job->y + first_query;
    for (size_t i = 0; i < job->group * d; i++) q[i] = job->q[first_query + i] * job->scale;
    score_group(job, first_row, count, q, scores);
    for (size_t h = 0; h < job->group; h++) {
        float *row = scores + h * job->scores_each;
        if (is_int8(cache)) multiply_rows(count, row, cache->key_scales + first_row);
        float total = job->kernels->softmax_row(count, row);
        factors[h] = total == 0.0f ? 0.0f : 1.0f / total;
        if (is_int8(cache)) multiply_rows(count, row, cache->value_scales + first_row);
    }
    sum_group(job, first_row, count, scores, y);
    for (size_t h = 0; h < job->group; h++)
        for (size_t i = 0; i < d; i++) y[h * d + i] *= factors[h];
}

tt_status tt_attention_decode(const tt_kv_cache *cache, size_t heads, const float *q, const float *k,
                              const float *v, float scale, float *y)
{
    if (cache->batch == 0 || cache->kv_heads == 0) return TT_OK;
    size_t longest = 0, positions = 0;
    for (size_t b = 0; b < cache->batch; b++) {
        if (cache->lengths[b] < 0 || (size_t)cache->lengths[b] >= cache->capacity) return TT_BAD_VALUE;
        longest = tt_max(longest, (size_t)cache->lengths[b] + 1);
        positions += (size_t)cache->lengths[b] + 1;
    }
    decode_job job = {.kernels = tt_kernels()->attention, .cache = cache, .group = heads / cache->kv_heads, .q = q,
                      .k = k, .v = v, .scale = scale, .y = y, .scores_each = tt_round_up(longest, 16)};
    job.scratch_floats = tt_round_up(job.group * (job.scores_each + cache->d + 1), 16);
    int workers = tt_workers_for(4.0 * (double)positions * (double)heads * (double)cache->d);
    job.scratch = tt_scratch_acquire((size_t)workers * job.scratch_floats * sizeof(float));
    if (!job.scratch) return TT_OUT_OF_MEMORY;
    tt_parallel_for(workers, cache->batch * cache->kv_heads, decode_group, &job);
    tt_scratch_release(job.scratch);
    return TT_OK;
}
