/* Max and average pooling. Every (image, channel) plane is on its own.
 *
 * A window's rows are combined first, into one row with its border, and then the neighbours along it. */
#include "ops/pool.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Of each worker: a row with its border, the places down its columns, maxima, and their places. */
enum { ROW, ABOVE, MAXIMA, PLACES, ROWS_OF_A_WORKER };

/* Places are counted in float32. */
static const size_t MOST_FLOATS_IN_A_SPAN = 1 << 24;

typedef struct {
    const tt_pool2d_shape *shape;
    const float *x, *dy;
    float *y, *dx;
    uint16_t *places;
    const uint16_t *given; /* places, going back */
    atomic_int misplaced;  /* whether one of them lies outside its window */
    float *rows;
    size_t row_floats;
    int maximum;
} pool_job;

static float *worker_row(const pool_job *job, int worker, int which)
{
    return job->rows + ((size_t)worker * ROWS_OF_A_WORKER + (size_t)which) * job->row_floats;
}

static void fill(float *row, size_t n, float value)
{
    for (size_t j = 0; j < n; j++) row[j] = value;
}

/* The floats of x from a window's first element to its last. */
static size_t span_of(const tt_pool2d_shape *shape)
{
    return (shape->kernel_h - 1) * shape->width + shape->kernel_w;
}

/* ---- forward ---- */

static void pool_row(const pool_job *job, const float *x, size_t i, int worker, float *y)
{
    const tt_pool2d_shape *shape = job->shape;
    const tt_pool_kernels *kernels = tt_kernels()->vector->pool;
    float *row = worker_row(job, worker, ROW);
    tt_span rows = tt_covered_rows(shape, i);
    const float *top = x + rows.first * shape->width;
    if (rows.first < rows.end) /* else x is empty, and the row all border */
        (job->maximum ? kernels->max_down : kernels->sum_down)(top, shape->width, rows.end - rows.first, shape->width,
                                                               row + shape->pad_w);
    if (job->maximum)
        kernels->max_along(row, shape->kernel_w, shape->stride_w, shape->out_w, y);
    else
        kernels->mean_along(row, shape->kernel_w, shape->stride_w, shape->out_w,
                            (float)(shape->kernel_h * shape->kernel_w), y);
}

/* A row of maxima, and their places in the worker's row for these. x is not empty. */
static void place_row(const pool_job *job, const float *x, size_t i, int worker, float *y)
{
    const tt_pool2d_shape *shape = job->shape;
    const tt_pool_kernels *kernels = tt_kernels()->vector->pool;
    float *row = worker_row(job, worker, ROW), *above = worker_row(job, worker, ABOVE);
    tt_span rows = tt_covered_rows(shape, i);
    size_t first = (rows.first + shape->pad_h - i * shape->stride_h) * shape->width;
    kernels->place_down(x + rows.first * shape->width, shape->width, rows.end - rows.first, shape->width, first,
                        row + shape->pad_w, above + shape->pad_w);
    kernels->place_along(row, above, shape->kernel_w, shape->stride_w, shape->out_w, y,
                         worker_row(job, worker, PLACES));
}

static void fill_borders(const pool_job *job, int worker)
{
    fill(worker_row(job, worker, ROW), job->row_floats, job->maximum ? -INFINITY : 0.0f);
    fill(worker_row(job, worker, ABOVE), job->row_floats, INFINITY);
}

static void pool_planes(void *context, size_t first, size_t end, int worker)
{
    const pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    fill_borders(job, worker);
    for (size_t plane = first; plane < end; plane++)
        for (size_t i = 0; i < shape->out_h; i++) {
            const float *x = job->x + plane * shape->height * shape->width;
            size_t at = (plane * shape->out_h + i) * shape->out_w;
            if (job->places) {
                place_row(job, x, i, worker, job->y + at);
                tt_kernels()->vector->pool->narrow_places(worker_row(job, worker, PLACES), shape->out_w,
                                                          job->places + at);
            } else {
                pool_row(job, x, i, worker, job->y + at);
            }
        }
}

static int is_one_window(const tt_pool2d_shape *shape)
{
    return shape->out_h == 1 && shape->out_w == 1 && shape->pad_h == 0 && shape->pad_w == 0;
}

/* Means of whole planes, each one row. */
static void mean_whole_planes(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const pool_job *job = context;
    size_t size = job->shape->height * job->shape->width;
    const tt_planes plane = {1, size, size};
    for (size_t i = first; i < end; i++)
        job->y[i] = tt_kernels()->vector->batch_norm->sum(&plane, job->x + i * size) / (float)size;
}

/* ---- backward ---- */

static int is_pairs(const tt_pool2d_shape *shape)
{
    return shape->kernel_h == 2 && shape->kernel_w == 2 && shape->stride_h == 2 && shape->stride_w == 2 &&
           shape->pad_h == 0 && shape->pad_w == 0;
}

/* Whether the places of n windows are of their windows; they may still be in the padding. */
static int places_fit(const pool_job *job, const uint16_t *given, size_t n)
{
    const tt_pool2d_shape *shape = job->shape;
    return tt_kernels()->vector->pool->places_fit(given, n, shape->width, shape->kernel_h, shape->kernel_w);
}

/* The gradient of planes that have one window each, without padding: all of their windows are one row. */
static void max_windows_backward(void *context, size_t first, size_t end, int worker)
{
    pool_job *job = context;
    const tt_pool_kernels *kernels = tt_kernels()->vector->pool;
    size_t size = job->shape->height * job->shape->width;
    float *places = worker_row(job, worker, PLACES);
    if (!places_fit(job, job->given + first, end - first)) {
        atomic_store(&job->misplaced, 1);
        return;
    }
    for (size_t n; first < end; first += n) {
        n = tt_min(end - first, job->row_floats);
        memset(job->dx + first * size, 0, n * size * sizeof *job->dx);
        kernels->widen_places(job->given + first, n, places);
        kernels->scatter(job->dy + first, places, size, n, 0, n * size, job->dx + first * size);
    }
}

static void scatter_plane(const pool_job *job, size_t plane, int worker, float *dx)
{
    const tt_pool2d_shape *shape = job->shape;
    const tt_pool_kernels *kernels = tt_kernels()->vector->pool;
    size_t size = shape->height * shape->width;
    float *places = worker_row(job, worker, PLACES);
    int pairs = is_pairs(shape), covered = pairs && shape->height % 2 == 0 && shape->width % 2 == 0;
    if (!covered) memset(dx, 0, size * sizeof *dx);
    for (size_t i = 0; i < shape->out_h; i++) {
        size_t at = (plane * shape->out_h + i) * shape->out_w;
        size_t corner = (i * shape->stride_h - shape->pad_h) * shape->width - shape->pad_w;
        if (job->given) kernels->widen_places(job->given + at, shape->out_w, places);
        else place_row(job, job->x + plane * size, i, worker, worker_row(job, worker, MAXIMA));
        if (pairs) kernels->scatter_pairs(job->dy + at, places, shape->out_w, shape->width, dx + corner);
        else kernels->scatter(job->dy + at, places, shape->stride_w, shape->out_w, corner, size, dx);
    }
}

static void max_planes_backward(void *context, size_t first, size_t end, int worker)
{
    pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    size_t size = shape->height * shape->width, windows = shape->out_h * shape->out_w;
    fill_borders(job, worker);
    for (size_t plane = first; plane < end; plane++) {
        if (job->given && !places_fit(job, job->given + plane * windows, windows))
            atomic_store(&job->misplaced, 1);
        else
            scatter_plane(job, plane, worker, job->dx + plane * size);
    }
}

static void zero_rows(float *dx, size_t width, size_t first, size_t end)
{
    if (first < end) memset(dx + first * width, 0, (end - first) * width * sizeof *dx);
}

/* A row of dx is written by the first windows that cover it, and added to by the others. */
static void mean_planes_backward(void *context, size_t first, size_t end, int worker)
{
    const pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    const tt_vector_kernels *vector = tt_kernels()->vector;
    size_t width = shape->width;
    float *row = worker_row(job, worker, ROW), divisor = (float)(shape->kernel_h * shape->kernel_w);
    for (size_t plane = first; plane < end; plane++) {
        const float *dy = job->dy + plane * shape->out_h * shape->out_w;
        float *dx = job->dx + plane * shape->height * width;
        size_t written = 0;
        for (size_t i = 0; i < shape->out_h; i++, dy += shape->out_w) {
            memset(row, 0, job->row_floats * sizeof *row);
            vector->pool->spread_along(dy, shape->kernel_w, shape->stride_w, shape->out_w, divisor, row);
            tt_span rows = tt_covered_rows(shape, i);
            zero_rows(dx, width, written, rows.first);
            for (size_t r = rows.first; r < rows.end; r++) {
                if (r < written) vector->add(dx + r * width, row + shape->pad_w, width);
                else memcpy(dx + r * width, row + shape->pad_w, width * sizeof *dx);
            }
            written = tt_max(written, rows.end);
        }
        zero_rows(dx, width, written, shape->height);
    }
}

/* ---- the API ---- */

static tt_status over_planes(pool_job *job, tt_rows_task *task)
{
    const tt_pool2d_shape *shape = job->shape;
    double operations = tt_pool2d_operations(shape);
    int workers = tt_workers_for((double)shape->planes * operations);
    job->row_floats = tt_round_up(shape->width + 2 * shape->pad_w + TT_POOL_MARGIN, 16);
    job->rows = tt_scratch_acquire((size_t)workers * ROWS_OF_A_WORKER * job->row_floats * sizeof(float));
    if (!job->rows) return TT_OUT_OF_MEMORY;
    tt_for_rows(shape->planes, operations, task, job);
    tt_scratch_release(job->rows);
    return TT_OK;
}

int tt_pool2d_has_places(const tt_pool2d_shape *shape)
{
    return span_of(shape) <= (size_t)UINT16_MAX + 1 && shape->width <= (size_t)INT32_MAX;
}

static int is_empty(const tt_pool2d_shape *shape) { return shape->height == 0 || shape->width == 0; }

tt_status tt_max_pool2d_f32(const tt_pool2d_shape *shape, const float *x, float *y, uint16_t *places)
{
    pool_job job = {.shape = shape, .x = x, .y = y, .places = places, .maximum = 1};
    if (places && !tt_pool2d_has_places(shape)) return TT_BAD_VALUE;
    if (places && is_empty(shape)) {
        memset(places, 0, shape->planes * shape->out_h * shape->out_w * sizeof *places);
        job.places = NULL;
    }
    return over_planes(&job, pool_planes);
}

tt_status tt_avg_pool2d_f32(const tt_pool2d_shape *shape, const float *x, float *y)
{
    pool_job job = {.shape = shape, .x = x, .y = y};
    int whole = is_one_window(shape) && shape->kernel_h == shape->height && shape->kernel_w == shape->width;
    return over_planes(&job, whole ? mean_whole_planes : pool_planes);
}

tt_status tt_max_pool2d_backward_f32(const tt_pool2d_shape *shape, const float *dy, const float *x,
                                     const uint16_t *places, float *dx)
{
    pool_job job = {.shape = shape, .dy = dy, .x = x, .given = places, .dx = dx, .maximum = 1};
    if (is_empty(shape)) return TT_OK;
    if (places ? !tt_pool2d_has_places(shape) : span_of(shape) > MOST_FLOATS_IN_A_SPAN) return TT_BAD_VALUE;
    tt_status status = over_planes(&job, places && is_one_window(shape) ? max_windows_backward : max_planes_backward);
    return job.misplaced ? TT_BAD_VALUE : status;
}

tt_status tt_avg_pool2d_backward_f32(const tt_pool2d_shape *shape, const float *dy, float *dx)
{
    pool_job job = {.shape = shape, .dy = dy, .dx = dx};
    return over_planes(&job, mean_planes_backward);
}
