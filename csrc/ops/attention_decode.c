/* One new position for every sequence, with a cache of the keys and values before it: bound by reading the
 * cache. Heads that share a k and v look at them together, so each is read from memory once. */
#include "runtime/runtime.h"

#include <string.h>

typedef struct {
    const tt_attention_decode_kernels *kernels;
    const tt_kv_cache *cache;
    size_t group; /* query heads that share a k and v */
    const float *q, *k, *v;
    float scale;
    float *y;
    float *scores; /* scratch_floats for each worker */
    size_t scratch_floats;
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

/* The largest of 1, 2, 4 that fits in both. */
static size_t queries_together(size_t left, size_t most)
{
    size_t fits = tt_min(left, most);
    return fits >= 4 ? 4 : fits >= 2 ? 2 : 1;
}

/* How many slots the query of this position looks at. Their order does not matter to a sum. */
static size_t visible(const tt_kv_cache *cache, size_t position) { return tt_min(position + 1, cache->capacity); }

static void decode_group(void *context, size_t index, int worker)
{
    const decode_job *job = context;
    const tt_kv_cache *cache = job->cache;
    size_t d = cache->d, position = (size_t)cache->lengths[index / cache->kv_heads];
    size_t first_row = index * cache->capacity, first_query = index * job->group;
    size_t slot = first_row + position % cache->capacity;
    append(job, job->k + index * d, slot, cache->keys, cache->key_scales);
    append(job, job->v + index * d, slot, cache->values, cache->value_scales);

    const void *keys = row_at(cache->keys, first_row * d, is_int8(cache));
    const void *values = row_at(cache->values, first_row * d, is_int8(cache));
    const float *key_scales = is_int8(cache) ? cache->key_scales + first_row : NULL;
    const float *value_scales = is_int8(cache) ? cache->value_scales + first_row : NULL;
    float *scores = job->scores + (size_t)worker * job->scratch_floats;
    for (size_t h = 0, n; h < job->group; h += n) {
        n = queries_together(job->group - h, job->kernels->most_queries);
        job->kernels->attend(n, visible(cache, position), d, keys, key_scales, values, value_scales,
                             job->q + (first_query + h) * d, job->scale, scores, job->y + (first_query + h) * d);
    }
}

tt_status tt_attention_decode(const tt_kv_cache *cache, size_t heads, const float *q, const float *k,
                              const float *v, float scale, float *y)
{
    if (cache->batch == 0 || cache->kv_heads == 0) return TT_OK;
    size_t longest = 0, positions = 0;
    for (size_t b = 0; b < cache->batch; b++) {
        if (cache->lengths[b] < 0) return TT_BAD_VALUE;
        size_t seen = visible(cache, (size_t)cache->lengths[b]);
        longest = tt_max(longest, seen);
        positions += seen;
    }
    decode_job job = {.kernels = tt_kernels()->attention->decode, .cache = cache, .group = heads / cache->kv_heads,
                      .q = q, .k = k, .v = v, .scale = scale, .y = y};
    job.scratch_floats = tt_round_up(longest, 16) * job.kernels->most_queries;
    int workers = tt_workers_for(4.0 * (double)positions * (double)heads * (double)cache->d);
    job.scores = tt_scratch_acquire((size_t)workers * job.scratch_floats * sizeof(float));
    if (!job.scores) return TT_OUT_OF_MEMORY;
    tt_parallel_for(workers, cache->batch * cache->kv_heads, decode_group, &job);
    tt_scratch_release(job.scores);
    return TT_OK;
}
