/* Max and average pooling. Every (image, channel) plane is on its own.
 *
 * A window's rows are combined first, into one row with its border, and then the neighbours along it. */
#include "ops/pool.h"

#include <math.h>
#include <string.h>

typedef struct {
    const tt_pool2d_shape *shape;
    const float *x, *dy;
    float *y, *dx;
    float *rows; /* a row with its border for each worker */
    size_t row_floats;
    int maximum;
} pool_job;

static float *worker_row(const pool_job *job, int worker) { return job->rows + (size_t)worker * job->row_floats; }

/* ---- forward ---- */

static void pool_plane(const pool_job *job, const float *x, float *row, float *y)
{
    const tt_pool2d_shape *shape = job->shape;
    const tt_pool_kernels *kernels = tt_kernels()->vector->pool;
    for (size_t i = 0; i < shape->out_h; i++, y += shape->out_w) {
        tt_span rows = tt_covered_rows(shape, i);
        const float *top = x + rows.first * shape->width;
        if (rows.first < rows.end) /* else x is empty, and the row all border */
            (job->maximum ? kernels->max_down : kernels->sum_down)(top, shape->width, rows.end - rows.first,
                                                                   shape->width, row + shape->pad_w);
        if (job->maximum)
            kernels->max_along(row, shape->kernel_w, shape->stride_w, shape->out_w, y);
        else
            kernels->mean_along(row, shape->kernel_w, shape->stride_w, shape->out_w,
                                (float)(shape->kernel_h * shape->kernel_w), y);
    }
}

static void pool_planes(void *context, size_t first, size_t end, int worker)
{
    const pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    float *row = worker_row(job, worker), border = job->maximum ? -INFINITY : 0.0f;
    for (size_t j = 0; j < job->row_floats; j++) row[j] = border;
    for (size_t plane = first; plane < end; plane++)
        pool_plane(job, job->x + plane * shape->height * shape->width, row,
                   job->y + plane * shape->out_h * shape->out_w);
}

/* ---- backward ---- */

/* An integer that orders floats as pooling does: NaN above all, and the two zeros equal. */
static int32_t rank_of(float x)
{
    int32_t bits;
    x += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return INT32_MAX;
    uint32_t if_negative = 0u - (uint32_t)(bits < 0);
    return bits ^ (int32_t)(if_negative >> 1);
}

/* Integers, since their comparison is a conditional move: which element is the largest, no branch can predict. */
static void max_window_backward(const tt_pool2d_shape *shape, const float *x, tt_span rows, size_t j, float dy,
                                float *dx)
{
    tt_span columns = tt_covered_columns(shape, j);
    if (rows.first == rows.end || columns.first == columns.end) return;
    size_t place = rows.first * shape->width + columns.first;
    int32_t best = rank_of(x[place]);
    for (size_t r = rows.first; r < rows.end; r++)
        for (size_t s = columns.first; s < columns.end; s++) {
            size_t here = r * shape->width + s;
            int32_t rank = rank_of(x[here]);
            place = rank > best ? here : place;
            best = rank > best ? rank : best;
        }
    dx[place] += dy;
}

static void max_plane_backward(const tt_pool2d_shape *shape, const float *dy, const float *x, float *dx)
{
    const tt_pool_kernels *kernels = tt_kernels()->vector->pool;
    int pairs = shape->kernel_h == 2 && shape->kernel_w == 2 && shape->stride_h == 2 && shape->stride_w == 2 &&
                shape->pad_h == 0 && shape->pad_w == 0;
    memset(dx, 0, shape->height * shape->width * sizeof *dx);
    for (size_t i = 0; i < shape->out_h; i++, dy += shape->out_w) {
        tt_span rows = tt_covered_rows(shape, i);
        size_t top = rows.first * shape->width, bottom = top + shape->width;
        if (pairs)
            kernels->max_pairs_backward(dy, x + top, x + bottom, shape->out_w, dx + top, dx + bottom);
        else
            for (size_t j = 0; j < shape->out_w; j++) max_window_backward(shape, x, rows, j, dy[j], dx);
    }
}

static void max_planes_backward(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    size_t size = shape->height * shape->width;
    for (size_t plane = first; plane < end; plane++)
        max_plane_backward(shape, job->dy + plane * shape->out_h * shape->out_w, job->x + plane * size,
                           job->dx + plane * size);
}

static void mean_planes_backward(void *context, size_t first, size_t end, int worker)
{
    const pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    const tt_vector_kernels *vector = tt_kernels()->vector;
    float *row = worker_row(job, worker), divisor = (float)(shape->kernel_h * shape->kernel_w);
    for (size_t plane = first; plane < end; plane++) {
        const float *dy = job->dy + plane * shape->out_h * shape->out_w;
        float *dx = job->dx + plane * shape->height * shape->width;
        memset(dx, 0, shape->height * shape->width * sizeof *dx);
        for (size_t i = 0; i < shape->out_h; i++, dy += shape->out_w) {
            memset(row, 0, job->row_floats * sizeof *row);
            vector->pool->spread_along(dy, shape->kernel_w, shape->stride_w, shape->out_w, divisor, row);
            tt_span rows = tt_covered_rows(shape, i);
            for (size_t r = rows.first; r < rows.end; r++)
                vector->add(dx + r * shape->width, row + shape->pad_w, shape->width);
        }
    }
}

/* ---- the API ---- */

static tt_status over_planes(pool_job *job, tt_rows_task *task)
{
    const tt_pool2d_shape *shape = job->shape;
    double operations = tt_pool2d_operations(shape);
    int workers = tt_workers_for((double)shape->planes * operations);
    job->row_floats = tt_round_up(shape->width + 2 * shape->pad_w + TT_POOL_MARGIN, 16);
    job->rows = tt_scratch_acquire((size_t)workers * job->row_floats * sizeof(float));
    if (!job->rows) return TT_OUT_OF_MEMORY;
    tt_for_rows(shape->planes, operations, task, job);
    tt_scratch_release(job->rows);
    return TT_OK;
}

tt_status tt_max_pool2d_f32(const tt_pool2d_shape *shape, const float *x, float *y)
{
    pool_job job = {.shape = shape, .x = x, .y = y, .maximum = 1};
    return over_planes(&job, pool_planes);
}

tt_status tt_avg_pool2d_f32(const tt_pool2d_shape *shape, const float *x, float *y)
{
    pool_job job = {.shape = shape, .x = x, .y = y};
    return over_planes(&job, pool_planes);
}

tt_status tt_max_pool2d_backward_f32(const tt_pool2d_shape *shape, const float *dy, const float *x, float *dx)
{
    pool_job job = {.shape = shape, .dy = dy, .x = x, .dx = dx};
    return over_planes(&job, max_planes_backward);
}

tt_status tt_avg_pool2d_backward_f32(const tt_pool2d_shape *shape, const float *dy, float *dx)
{
    pool_job job = {.shape = shape, .dy = dy, .dx = dx};
    return over_planes(&job, mean_planes_backward);
}
