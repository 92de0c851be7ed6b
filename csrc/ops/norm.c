/* Layer and RMS norm over rows. */
#include "ops/rows.h"

#include <math.h>
#include <string.h>

static const double OPERATIONS_EACH = 6;

/* So many workers can share the rows in dweight and dbias; with fewer rows each, adding up would take long. */
enum { MOST_PORTIONS = 32, LEAST_ROWS = 16 };

/* RMS norm is layer norm with the mean left out. */
typedef struct {
    size_t rows, n;
    const float *x, *weight, *bias, *dy;
    float eps;
    int centred;
    float *y, *dx;
    size_t rows_each;
    float *partial;                     /* (portions, 2, n): dweight and dbias */
    int wants_dweight, wants_dbias;
} row_job;

static tt_norm_row row_at(const row_job *job, size_t i)
{
    tt_norm_row row = {.x = job->x + i, .weight = job->weight, .n = job->n};
    if (job->centred) row.mean = tt_kernels()->vector->sum(row.x, job->n) / (float)job->n;
    return row;
}

static float inverse_deviation(const row_job *job, float squares)
{
    return 1.0f / sqrtf(squares / (float)job->n + job->eps);
}

static void normalize_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const row_job *job = context;
    const tt_norm_kernels *norm = tt_kernels()->vector->norm;
    for (size_t i = first * job->n; i < end * job->n; i += job->n) {
        tt_norm_row row = row_at(job, i);
        row.inverse = inverse_deviation(job, norm->centred_squares(row.x, row.n, row.mean));
        norm->normalize(&row, job->bias, job->y + i);
    }
}

static void forward(row_job *job)
{
    if (job->n) tt_for_rows(job->rows, OPERATIONS_EACH * (double)job->n, normalize_rows, job);
}

void tt_layer_norm_f32(size_t rows, size_t n, const float *x, const float *weight, const float *bias, float eps,
                       float *y)
{
    row_job job = {.rows = rows, .n = n, .x = x, .weight = weight, .bias = bias, .eps = eps, .centred = 1, .y = y};
    forward(&job);
}

void tt_rms_norm_f32(size_t rows, size_t n, const float *x, const float *weight, float eps, float *y)
{
    row_job job = {.rows = rows, .n = n, .x = x, .weight = weight, .eps = eps, .y = y};
    forward(&job);
}

/* A portion of the rows: their dx, and their share of dweight and dbias. */
static void differentiate_rows(void *context, size_t portion, int worker)
{
    (void)worker;
    const row_job *job = context;
    const tt_norm_kernels *norm = tt_kernels()->vector->norm;
    size_t first = portion * job->rows_each, end = tt_min(first + job->rows_each, job->rows);
    float *dweight = job->partial + 2 * portion * job->n, *dbias = dweight + job->n;
    memset(dweight, 0, 2 * job->n * sizeof *dweight);
    for (size_t i = first * job->n; i < end * job->n; i += job->n) {
        tt_norm_row row = row_at(job, i);
        float sums[3], count = (float)job->n;
        norm->gradient_sums(job->dy + i, &row, sums);
        row.inverse = inverse_deviation(job, sums[2]);
        float means[2] = {job->centred ? sums[0] / count : 0.0f, sums[1] * row.inverse / count};
        norm->backward(job->dy + i, &row, means, job->dx + i, job->wants_dweight ? dweight : NULL,
                       job->wants_dbias ? dbias : NULL);
    }
}

/* The rows are summed in portions whose number depends on the shape alone, so that the result does not depend on
 * how many workers there are. */
static tt_status backward(row_job *job, float *dweight, float *dbias)
{
    size_t n = job->n;
    if (dweight) memset(dweight, 0, n * sizeof *dweight);
    if (dbias) memset(dbias, 0, n * sizeof *dbias);
    if (job->rows == 0 || n == 0) return TT_OK;
    job->rows_each = tt_max(tt_div_up(job->rows, MOST_PORTIONS), LEAST_ROWS);
    size_t portions = tt_div_up(job->rows, job->rows_each);
    job->partial = tt_scratch_acquire(portions * 2 * n * sizeof(float));
    if (!job->partial) return TT_OUT_OF_MEMORY;
    job->wants_dweight = dweight != NULL;
    job->wants_dbias = dbias != NULL;
    int workers = tt_workers_for(2 * OPERATIONS_EACH * (double)job->rows * (double)n);
    tt_parallel_for(workers, portions, differentiate_rows, job);
    for (size_t portion = 0; portion < portions; portion++) {
        const float *sums = job->partial + 2 * portion * n;
        if (dweight) tt_kernels()->vector->add(dweight, sums, n);
        if (dbias) tt_kernels()->vector->add(dbias, sums + n, n);
    }
    tt_scratch_release(job->partial);
    return TT_OK;
}

tt_status tt_layer_norm_backward_f32(size_t rows, size_t n, const float *dy, const float *x, const float *weight,
                                     float eps, float *dx, float *dweight, float *dbias)
{
    row_job job = {.rows = rows, .n = n, .dy = dy, .x = x, .weight = weight, .eps = eps, .centred = 1, .dx = dx};
    return backward(&job, dweight, dbias);
}

tt_status tt_rms_norm_backward_f32(size_t rows, size_t n, const float *dy, const float *x, const float *weight,
                                   float eps, float *dx, float *dweight)
{
    row_job job = {.rows = rows, .n = n, .dy = dy, .x = x, .weight = weight, .eps = eps, .dx = dx};
    return backward(&job, dweight, NULL);
}
