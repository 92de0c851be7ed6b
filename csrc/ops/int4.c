/* Linear with INT4 weights: quantizes rows of x, then lets the tile multiply panel by panel.
 *
 * With one row, time is what reading the weights takes; so they are read once, in order, and x is brought to
 * int8 rather than the weights to float. Where that is not wanted, or not possible since a row holds NaN or
 * infinity, another tile opens the weights to floats. */
#include "runtime/runtime.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { COLUMNS = TT_INT4_COLUMNS };

/* ---- weights ---- */

static size_t padded_depth(size_t k) { return tt_round_up(k, 8); }

/* Bytes of one column: a float16 for each group, half a byte for each element. */
static size_t column_bytes(size_t k, size_t group_size)
{
    return 2 * tt_div_up(k, group_size) + padded_depth(k) / 2;
}

size_t tt_packed_bytes_int4(size_t k, size_t n, size_t group_size)
{
    return n * column_bytes(k, group_size) + TT_INT4_SLACK;
}

/* Where a group of a panel begins: all groups before it are whole. */
static size_t group_offset(size_t group, size_t group_size, size_t width)
{
    return group * (2 + group_size / 2) * width;
}

/* To float16, for x in [0, 65520); half to even. */
static uint16_t half_of(float x)
{
    if (x < 0x1p-14f) return (uint16_t)rintf(x * 0x1p24f); /* subnormal: a whole number of 2^-24 */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)((bits - (112u << 23)) >> 13);
}

static float float_of(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 13;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x * 0x1p112f;
}

/* Packs one column of one group; returns 0 when it has no scale. */
static int pack_column(const float *w, size_t step, size_t count, size_t width, uint8_t *scale_at,
                       uint8_t *nibbles)
{
    float largest = 0.0f, nothing = 0.0f; /* x - x is NaN for NaN and infinities */
    for (size_t t = 0; t < count; t++) {
        largest = fmaxf(largest, fabsf(w[t * step]));
        nothing += w[t * step] - w[t * step];
    }
    float exact = largest / 7.0f;
    if (nothing != 0.0f || !(exact < 65520.0f)) return 0;
    uint16_t half = half_of(exact);
    float scale = float_of(half);
    memcpy(scale_at, &half, sizeof half);
    for (size_t t = 0; t < tt_round_up(count, 8); t++) {
        float q = t < count && scale > 0 ? rintf(w[t * step] / scale) : 0.0f;
        q = q < -8.0f ? -8.0f : q > 7.0f ? 7.0f : q;
        uint8_t *byte = nibbles + t / 8 * 4 * width + t % 4;
        *byte = (uint8_t)(t % 8 < 4 ? (int)q + 8 : *byte | ((int)q + 8) << 4);
    }
    return 1;
}

tt_status tt_pack_int4(size_t k, size_t n, size_t group_size, const float *w, uint8_t *packed)
{
    memset(packed + n * column_bytes(k, group_size), 0, TT_INT4_SLACK);
    for (size_t j = 0; j < n; j++) {
        size_t first = j / COLUMNS * COLUMNS, width = tt_min(COLUMNS, n - first);
        uint8_t *panel = packed + first * column_bytes(k, group_size);
        for (size_t p = 0; p < k; p += group_size) {
            uint8_t *group = panel + group_offset(p / group_size, group_size, width);
            if (!pack_column(w + p * n + j, n, tt_min(group_size, k - p), width, group + 2 * (j - first),
                             group + 2 * width + 4 * (j - first)))
                return TT_BAD_VALUE;
        }
    }
    return TT_OK;
}

static float weight(const uint8_t *panel, size_t width, size_t group_size, size_t k, size_t column)
{
    const uint8_t *group = panel + group_offset(k / group_size, group_size, width);
    uint16_t half;
    memcpy(&half, group + 2 * column, sizeof half);
    size_t t = k % group_size;
    uint8_t byte = group[2 * width + t / 8 * 4 * width + 4 * column + t % 4];
    return (float)((t % 8 < 4 ? byte & 15 : byte >> 4) - 8) * float_of(half);
}

void tt_unpack_int4(size_t k, size_t n, size_t group_size, const uint8_t *packed, float *w)
{
    for (size_t p = 0; p < k; p++)
        for (size_t j = 0; j < n; j++) {
            size_t first = j / COLUMNS * COLUMNS;
            const uint8_t *panel = packed + first * column_bytes(k, group_size);
            w[p * n + j] = weight(panel, tt_min(COLUMNS, n - first), group_size, p, j - first);
        }
}

/* ---- linear ---- */

typedef struct {
    const tt_int4_kernels *kernels;
    const tt_quantize_kernels *quantize;
    size_t m, n, k, group_size, groups, depth;
    const float *x;
    const uint8_t *packed;
    const float *bias;
    float *y;

    int8_t *q; /* the rows at hand, quantized; or NULL: they are multiplied as they are */
    float *scale;
    int32_t *start;
    unsigned char *not_finite; /* whether a row holds NaN or infinity */
    size_t mr, row_tasks, rows_each, panels_each;
} linear_job;

static void quantize_row(void *context, size_t i, int worker)
{
    (void)worker;
    const linear_job *job = context;
    int8_t *q = job->q + i * job->depth;
    job->not_finite[i] = 0;
    memset(q + job->k, 0, job->depth - job->k);
    for (size_t group = 0; group < job->groups; group++) {
        size_t first = group * job->group_size, at = i * job->groups + group;
        int32_t sum = 0;
        float scale = job->quantize->quantize_group(tt_min(job->group_size, job->k - first),
                                                    job->x + i * job->k + first, q + first, &sum);
        if (isnan(scale)) job->not_finite[i] = 1;
        job->scale[at] = scale;
        job->start[at] = -8 * sum;
    }
}

/* sums (m, COLUMNS) = rows i ... i + m of x by one panel. */
static void multiply_tile(const linear_job *job, size_t i, size_t m, const uint8_t *w, size_t width,
                          float *sums)
{
    const float *x = job->x + i * job->k;
    if (!job->q) {
        job->kernels->float_tile(m, x, job->k, job->group_size, w, width, sums);
        return;
    }
    tt_int4_rows rows = {job->q + i * job->depth, job->scale + i * job->groups, job->start + i * job->groups,
                         job->depth, job->groups};
    job->kernels->tile(m, rows, job->group_size, w, width, sums);
    for (size_t t = 0; t < m; t++)
        if (job->not_finite[i + t]) /* no int8 stands for it */
            job->kernels->float_tile(1, x + t * job->k, job->k, job->group_size, w, width,
                                     sums + t * COLUMNS);
}

static void multiply_panels(void *context, size_t index, int worker)
{
    (void)worker;
    const linear_job *job = context;
    size_t first_row = index % job->row_tasks * job->rows_each;
    size_t panel = index / job->row_tasks * job->panels_each;
    size_t end_row = tt_min(first_row + job->rows_each, job->m), end = (panel + job->panels_each) * COLUMNS;
    float sums[TT_INT4_MOST_ROWS * COLUMNS];

    for (size_t j = panel * COLUMNS; j < tt_min(end, job->n); j += COLUMNS) {
        size_t width = tt_min(COLUMNS, job->n - j);
        const uint8_t *w = job->packed + j * column_bytes(job->k, job->group_size);
        for (size_t i = first_row; i < end_row; i += job->mr) {
            size_t m = tt_min(job->mr, end_row - i);
            multiply_tile(job, i, m, w, width, sums);
            for (size_t t = 0; t < m; t++) {
                float *y = job->y + (i + t) * job->n + j, *sum = sums + t * COLUMNS;
                for (size_t c = 0; c < width; c++) y[c] = job->bias ? sum[c] + job->bias[j + c] : sum[c];
            }
        }
    }
}

static void multiply_rows(linear_job *job, int workers)
{
    size_t panels = tt_div_up(job->n, COLUMNS);
    if (job->q) tt_parallel_for(job->m < 16 ? 1 : workers, job->m, quantize_row, job);
    /* A task keeps its panel in L1 while its rows pass; where rows are few, panels are split too. */
    job->rows_each = tt_round_up(tt_min(64, tt_div_up(job->m, (size_t)workers)), job->mr);
    job->row_tasks = tt_div_up(job->m, job->rows_each);
    size_t panel_tasks = tt_min(panels, tt_div_up((size_t)workers, job->row_tasks));
    job->panels_each = tt_div_up(panels, panel_tasks);
    tt_parallel_for(workers, job->row_tasks * tt_div_up(panels, job->panels_each), multiply_panels, job);
}

tt_status tt_linear_int4(size_t m, size_t n, size_t k, size_t group_size, const float *x, int quantize_x,
                         const uint8_t *packed, const float *bias, float *y)
{
    if (m == 0 || n == 0) return TT_OK;
    enum { ROWS = 512 }; /* quantized at a time */
    const tt_int4_kernels *kernels = tt_kernels()->int4;
    linear_job job = {.kernels = kernels, .quantize = tt_kernels()->quantize, .m = m, .n = n, .k = k,
                      .group_size = group_size, .groups = tt_div_up(k, group_size), .depth = padded_depth(k),
                      .x = x, .packed = packed, .bias = bias, .y = y,
                      .mr = quantize_x ? kernels->mr : TT_INT4_FLOAT_ROWS};
    if (!quantize_x) {
        multiply_rows(&job, tt_workers_for(2.0 * (double)m * (double)n * (double)k));
        return TT_OK;
    }
    size_t rows = tt_min(m, ROWS), of_groups = rows * job.groups;
    char *scratch = tt_scratch_acquire(of_groups * 8 + rows * (job.depth + 1));
    if (!scratch) return TT_OUT_OF_MEMORY;
    job.scale = (float *)(void *)scratch;
    job.start = (int32_t *)(void *)(scratch + of_groups * 4);
    job.q = (int8_t *)scratch + of_groups * 8;
    job.not_finite = (unsigned char *)job.q + rows * job.depth;
    for (size_t i = 0; i < m; i += rows) {
        job.m = tt_min(rows, m - i);
        job.x = x + i * k;
        job.y = y + i * n;
        multiply_rows(&job, tt_workers_for(0.5 * (double)job.m * (double)n * (double)k));
    }
    tt_scratch_release(scratch);
    return TT_OK;
}
