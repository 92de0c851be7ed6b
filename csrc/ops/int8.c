/* INT8 matmul and linear: blocks, threads, and what the sums become.
 *
 * The depth is never split: 10 x 32 sums stay in registers from the first product to the last, so nothing but
 * results is written. The panel at hand then comes from L2, fast enough for a tile that uses each byte of it
 * ten times. */
#include "ops/int8.h"

#include <math.h>
#include <string.h>

/* ---- panels ---- */

typedef struct {
    const tt_int8_kernels *kernels;
    size_t k, n;
    const int8_t *w;
    int8_t *panels;
} pack_job;

static void pack_panel(void *context, size_t index, int worker)
{
    (void)worker;
    const pack_job *job = context;
    size_t nr = job->kernels->nr, first = index * nr;
    job->kernels->pack(job->k, tt_min(nr, job->n - first), job->w + first, job->n,
                       job->panels + first * tt_depth_int8(job->k));
}

void tt_pack_panels_int8(size_t k, size_t n, const int8_t *w, int8_t *panels)
{
    pack_job job = {tt_kernels()->int8, k, n, w, panels};
    tt_parallel_for(tt_workers_for((double)k * (double)n), tt_div_up(n, job.kernels->nr), pack_panel, &job);
}

void tt_unpack_panels_int8(size_t k, size_t n, const int8_t *panels, int8_t *w)
{
    const tt_int8_kernels *kernels = tt_kernels()->int8;
    size_t nr = kernels->nr, interleave = kernels->interleave;
    for (size_t d = 0; d < k; d++)
        for (size_t j = 0; j < n; j++) {
            size_t first = j / nr * nr, width = tt_min(nr, n - first), step = d % 4 / interleave;
            const int8_t *group = panels + first * tt_depth_int8(k) + d / 4 * 4 * width;
            w[d * n + j] = group[(step * width + j - first) * interleave + d % interleave];
        }
}

static size_t sums_offset(size_t depth, size_t n, size_t groups)
{
    return tt_round_up(depth * n * groups, 4);
}

size_t tt_layer_bytes_int8(size_t depth, size_t n, size_t groups)
{
    return sums_offset(depth, n, groups) + n * groups * sizeof(int32_t) + TT_INT8_SLACK;
}

void tt_store_sums_int8(size_t depth, size_t k, size_t n, size_t groups, size_t group, const int8_t *w,
                        uint8_t *packed)
{
    size_t offset = sums_offset(depth, n, groups);
    for (size_t j = 0; j < n; j++) {
        int32_t sum = 0;
        for (size_t d = 0; d < k; d++) sum += w[d * n + j];
        memcpy(packed + offset + (group * n + j) * sizeof sum, &sum, sizeof sum);
    }
}

void tt_pack_layer_int8(size_t k, size_t n, size_t groups, size_t group, const int8_t *w, uint8_t *packed)
{
    size_t depth = tt_depth_int8(k);
    tt_pack_panels_int8(k, n, w, (int8_t *)packed + group * depth * n);
    tt_store_sums_int8(depth, k, n, groups, group, w, packed);
}

size_t tt_packed_bytes_int8(size_t k, size_t n) { return tt_layer_bytes_int8(tt_depth_int8(k), n, 1); }

/* ---- results ---- */

int tt_shift_int8(tt_int8_operand type, int is_signed)
{
    if (type == TT_A_UINT8) return is_signed ? 128 : 0;
    if (type == TT_A_INT8) return is_signed ? 0 : -128;
    return 0;
}

tt_requantization tt_columns_from(const tt_requantization *how, size_t first)
{
    tt_requantization from = *how;
    from.scale += first;
    from.multiplier += first;
    if (from.bias) from.bias += first;
    return from;
}

void tt_finish_sums(const tt_finish_int8 *finish, const tt_requantization *how, size_t m, size_t n,
                    size_t pooled, const int32_t *sums, size_t sum_stride, void *y, size_t at,
                    size_t y_stride)
{
    const tt_quantize_kernels *kernels = tt_kernels()->quantize;
    if (finish->type == TT_FLOAT32)
        kernels->to_floats(m, n, pooled, sums, sum_stride, how, (float *)y + at, y_stride);
    else
        kernels->to_bytes(m, n, pooled, sums, sum_stride, how, (uint8_t *)y + at, y_stride);
}

tt_status tt_begin_finish_int8(size_t depth, size_t n, size_t groups, float x_scale, int x_zero_point,
                               const uint8_t *packed, const float *w_scale, const float *bias,
                               const tt_result *result, tt_finish_int8 *finish)
{
    size_t stride = tt_round_up(n, TT_INT8_MOST_COLUMNS), all = stride * groups;
    int32_t *start = tt_scratch_acquire(4 * all * sizeof(float));
    if (!start) return TT_OUT_OF_MEMORY;
    float *scale = (float *)(void *)(start + all), *multiplier = scale + all, *real_bias = multiplier + all;
    const uint8_t *sums = packed + sums_offset(depth, n, groups);
    memset(start, 0, all * sizeof *start);
    memset(real_bias, 0, all * sizeof *real_bias);
    for (size_t group = 0; group < groups; group++) {
        memcpy(start + group * stride, sums + group * n * sizeof *start, n * sizeof *start);
        memcpy(scale + group * stride, w_scale + group * n, n * sizeof *scale);
        /* The columns that fill up the group need some valid scale. */
        for (size_t j = n; j < stride; j++) scale[group * stride + j] = w_scale[group * n];
        if (bias) memcpy(real_bias + group * stride, bias + group * n, n * sizeof *bias);
    }
    float out_scale = result->type == TT_FLOAT32 ? 0.0f : result->scale;
    if (!tt_kernels()->quantize->prepare(all, x_scale, out_scale, x_zero_point, real_bias, start, scale,
                                         multiplier)) {
        tt_scratch_release(start);
        return TT_BAD_VALUE;
    }
    float low = result->type == TT_INT8 ? -128.0f : 0.0f;
    int relu = result->activation == TT_RELU;
    *finish = (tt_finish_int8){
        .type = result->type, .stride = stride, .start = start, .scratch = start,
        .how = {.scale = scale, .bias = bias ? real_bias : NULL, .multiplier = multiplier,
                .low = relu ? (float)result->zero_point : low, .high = low + 255.0f,
                .zero_point = result->zero_point, .relu = relu}};
    return TT_OK;
}

/* ---- the loops ---- */

typedef struct {
    const tt_int8_kernels *kernels;
    const tt_quantize_kernels *quantize;
    size_t m, n, k, depth;
    const uint8_t *a;
    int is_signed;
    const int8_t *panels;
    const tt_finish_int8 *finish; /* or NULL: */
    const int32_t *start;
    void *y;

    size_t mc, columns_each, row_tasks; /* what one task computes: mc rows by so many columns */
    size_t row_bytes;                   /* of a, as the tile reads it */
    char *converted;                    /* a block of a for each worker, or NULL: a is read as it is */
} matmul_job;

static size_t element_bytes(const tt_int8_kernels *kernels) { return kernels->a_type == TT_A_INT16 ? 2 : 1; }

/* The rows of a from `first` on, as the tile takes them. */
static const char *rows_of(const matmul_job *job, size_t first, size_t count, int worker)
{
    if (!job->converted) return (const char *)job->a + first * job->k;
    char *block = job->converted + (size_t)worker * job->mc * job->row_bytes;
    size_t used = job->k * element_bytes(job->kernels);
    for (size_t i = 0; i < count; i++) {
        char *row = block + i * job->row_bytes;
        job->quantize->convert(job->k, job->a + (first + i) * job->k, job->is_signed, job->kernels->a_type,
                               row);
        memset(row + used, 0, job->row_bytes - used);
    }
    return block;
}

/* m rows of results by one panel of n columns, from row i and column j on. */
static void multiply_tiles(const matmul_job *job, const char *const *rows, size_t i, size_t j, size_t m,
                           size_t n)
{
    size_t at = i * job->n + j, nr = job->kernels->nr, no_offset = 0;
    int32_t sums[TT_INT8_MOST_SUMS], *c = job->y;
    int in_place = !job->finish && n == nr; /* a tile writes whole panels */
    int32_t *acc = in_place ? c + at : sums;
    size_t stride = in_place ? job->n : nr, each = tt_even_rows(m, job->kernels->mr);
    for (size_t t = 0; t < m; t += each)
        job->kernels->tile(tt_min(each, m - t), rows + t, &no_offset, 1, job->depth / 4,
                           job->panels + j * job->depth, n, job->start + j, acc + t * stride, stride);
    if (job->finish) {
        tt_requantization how = tt_columns_from(&job->finish->how, j);
        if (how.row_scale) how.row_scale += i;
        tt_finish_sums(job->finish, &how, m, n, 1, sums, nr, job->y, at, job->n);
    } else if (!in_place) {
        for (size_t t = 0; t < m; t++) memcpy(c + at + t * job->n, sums + t * nr, n * sizeof *c);
    }
}

static void multiply_block(void *context, size_t index, int worker)
{
    const matmul_job *job = context;
    size_t nr = job->kernels->nr;
    size_t first = index % job->row_tasks * job->mc, count = tt_min(job->mc, job->m - first);
    size_t column = index / job->row_tasks * job->columns_each;
    size_t end = tt_min(column + job->columns_each, job->n);
    size_t rows_each = tt_even_rows(count, TT_INT8_TILES * job->kernels->mr);
    const char *a = rows_of(job, first, count, worker);

    for (size_t j = column; j < end; j += nr) {
        for (size_t i = 0; i < count; i += rows_each) {
            size_t m = tt_min(rows_each, count - i);
            const char *rows[TT_INT8_TILES * TT_INT8_MOST_ROWS];
            for (size_t t = 0; t < m; t++) rows[t] = a + (i + t) * job->row_bytes;
            multiply_tiles(job, rows, first + i, j, m, tt_min(nr, end - j));
        }
    }
}

static tt_status multiply(matmul_job *job)
{
    if (job->m == 0 || job->n == 0) return TT_OK;
    enum { BLOCK_BYTES = 1 << 18 }; /* a block of a stays in a quarter of L2 while the panels pass */
    const tt_int8_kernels *kernels = job->kernels = tt_kernels()->int8;
    job->quantize = tt_kernels()->quantize;
    job->depth = tt_depth_int8(job->k);
    job->row_bytes = job->depth * element_bytes(kernels);
    /* Four products for the time of one in float32. */
    int workers = tt_workers_for(0.5 * (double)job->m * (double)job->n * (double)job->k);
    size_t most = tt_max(BLOCK_BYTES / tt_max(job->row_bytes, 1), 1);
    job->mc = tt_round_up(tt_min(tt_div_up(job->m, (size_t)workers), most), kernels->mr);
    job->row_tasks = tt_div_up(job->m, job->mc);
    size_t column_tasks = tt_div_up((size_t)workers, job->row_tasks);
    job->columns_each = tt_round_up(tt_div_up(job->n, column_tasks), kernels->nr);
    column_tasks = tt_div_up(job->n, job->columns_each);

    int same_type = kernels->a_type != TT_A_INT16 && tt_shift_int8(kernels->a_type, job->is_signed) == 0;
    if (!same_type || job->k % 4) {
        job->converted = tt_scratch_acquire((size_t)workers * job->mc * job->row_bytes);
        if (!job->converted) return TT_OUT_OF_MEMORY;
    }
    tt_parallel_for(workers, job->row_tasks * column_tasks, multiply_block, job);
    tt_scratch_release(job->converted);
    return TT_OK;
}

/* ---- the API ---- */

void tt_pack_int8(size_t k, size_t n, const int8_t *w, uint8_t *packed)
{
    memset(packed, 0, tt_packed_bytes_int8(k, n));
    tt_pack_layer_int8(k, n, 1, 0, w, packed);
}

void tt_unpack_int8(size_t k, size_t n, const uint8_t *packed, int8_t *w)
{
    tt_unpack_panels_int8(k, n, (const int8_t *)packed, w);
}

/* row_scale: one more factor for each row of a float32 result, or NULL. */
static tt_status linear(size_t m, size_t n, size_t k, tt_quantized x, const float *row_scale,
                        const uint8_t *packed, const float *w_scale, const float *bias, tt_result result)
{
    tt_finish_int8 finish;
    int zero_point = x.zero_point + tt_shift_int8(tt_kernels()->int8->a_type, x.is_signed);
    tt_status status = tt_begin_finish_int8(tt_depth_int8(k), n, 1, x.scale, zero_point, packed, w_scale,
                                            bias, &result, &finish);
    if (status != TT_OK) return status;
    finish.how.row_scale = row_scale;
    matmul_job job = {.m = m, .n = n, .k = k, .a = x.data, .is_signed = x.is_signed,
                      .panels = (const int8_t *)packed, .finish = &finish, .start = finish.start,
                      .y = result.y};
    status = multiply(&job);
    tt_scratch_release(finish.scratch);
    return status;
}

tt_status tt_linear_int8(size_t m, size_t n, size_t k, tt_quantized x, const uint8_t *packed,
                         const float *w_scale, const float *bias, tt_result result)
{
    return linear(m, n, k, x, NULL, packed, w_scale, bias, result);
}

typedef struct {
    const tt_quantize_kernels *kernels;
    size_t k;
    const float *x;
    int8_t *q;
    float *scale;
} rows_job;

static void quantize_row(void *context, size_t i, int worker)
{
    (void)worker;
    const rows_job *job = context;
    int8_t *q = job->q + i * job->k;
    int32_t sum;
    job->scale[i] = job->kernels->quantize_group(job->k, job->x + i * job->k, q, &sum);
    if (isnan(job->scale[i])) memset(q, 0, job->k); /* 0 times NaN is the NaN that the row stands for */
}

tt_status tt_linear_int8_dynamic(size_t m, size_t n, size_t k, const float *x, const uint8_t *packed,
                                 const float *w_scale, const float *bias, tt_activation activation, float *y)
{
    size_t scale_bytes = tt_round_up(m * sizeof(float), 64);
    char *scratch = tt_scratch_acquire(scale_bytes + m * k);
    if (!scratch) return TT_OUT_OF_MEMORY;
    float *scale = (float *)(void *)scratch;
    rows_job rows = {tt_kernels()->quantize, k, x, (int8_t *)scratch + scale_bytes, scale};
    tt_parallel_for(m < 16 ? 1 : tt_workers_for((double)m * (double)k), m, quantize_row, &rows);

    tt_quantized whole = {.data = (const uint8_t *)rows.q, .is_signed = 1, .scale = 1.0f};
    tt_result result = {.type = TT_FLOAT32, .activation = activation, .y = y};
    tt_status status = linear(m, n, k, whole, scale, packed, w_scale, bias, result);
    tt_scratch_release(scratch);
    return status;
}

/* start -= shift times the sum of each column: the product of a row of ones, for levels that take bytes. */
static void subtract_columns(int shift, size_t depth, size_t n, const int8_t *panels, char *ones,
                             int32_t *start)
{
    const tt_int8_kernels *kernels = tt_kernels()->int8;
    size_t no_offset = 0;
    const char *row = memset(ones, 1, depth);
    for (size_t j = 0; j < n; j += kernels->nr)
        kernels->tile(1, &row, &no_offset, 1, depth / 4, panels + j * depth, tt_min(kernels->nr, n - j),
                      start + j, start + j, kernels->nr);
    for (size_t j = 0; j < n; j++) start[j] *= -shift;
}

tt_status tt_matmul_int8(size_t m, size_t n, size_t k, const uint8_t *a, int a_is_signed, const int8_t *b,
                         int32_t *c)
{
    const tt_int8_kernels *kernels = tt_kernels()->int8;
    size_t panel_bytes = tt_round_up(tt_depth_int8(k) * n + TT_INT8_SLACK, 64);
    size_t columns = tt_round_up(n, TT_INT8_MOST_COLUMNS);
    int8_t *panels = tt_scratch_acquire(panel_bytes + columns * sizeof(int32_t) + tt_depth_int8(k));
    if (!panels) return TT_OUT_OF_MEMORY;
    int32_t *start = (int32_t *)(void *)(panels + panel_bytes);
    tt_pack_panels_int8(k, n, b, panels);
    memset(start, 0, columns * sizeof *start);
    int shift = tt_shift_int8(kernels->a_type, a_is_signed);
    if (shift) subtract_columns(shift, tt_depth_int8(k), n, panels, (char *)(start + columns), start);
    matmul_job job = {.m = m, .n = n, .k = k, .a = a, .is_signed = a_is_signed, .panels = panels,
                      .start = start, .y = c};
    tt_status status = multiply(&job);
    tt_scratch_release(panels);
    return status;
}
