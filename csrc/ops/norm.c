/* Normalisation: layer and RMS norm over rows, batch norm over channels. */
#include "ops/rows.h"

#include <math.h>
#include <string.h>

/* ---- layer norm and RMS norm ---- */

static const double ROW_OPERATIONS_EACH = 6;

enum { MOST_PARTIAL_SUMS = 32 }; /* so many workers can share the rows in dweight and dbias */

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

typedef struct {
    float mean, inverse;
} moments;

static moments row_moments(const row_job *job, const float *x)
{
    const tt_vector_kernels *vector = tt_kernels()->vector;
    float mean = job->centred ? vector->sum(x, job->n) / (float)job->n : 0.0f;
    float variance = vector->norm->centred_squares(x, job->n, mean) / (float)job->n;
    return (moments){mean, 1.0f / sqrtf(variance + job->eps)};
}

static void normalize_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const row_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n) {
        moments of_row = row_moments(job, job->x + i);
        tt_kernels()->vector->norm->normalize_row(job->x + i, job->n, of_row.mean, of_row.inverse, job->weight,
                                                  job->bias, job->y + i);
    }
}

static void forward(row_job *job)
{
    if (job->n) tt_for_rows(job->rows, ROW_OPERATIONS_EACH * (double)job->n, normalize_rows, job);
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
        const float *dy = job->dy + i, *x = job->x + i;
        moments of_row = row_moments(job, x);
        float sums[2];
        norm->row_sums(dy, x, job->n, of_row.mean, of_row.inverse, job->weight,
                       job->wants_dweight ? dweight : NULL, job->wants_dbias ? dbias : NULL, sums);
        float means[2] = {job->centred ? sums[0] / (float)job->n : 0.0f, sums[1] / (float)job->n};
        norm->row_backward(dy, x, job->n, of_row.mean, of_row.inverse, job->weight, means, job->dx + i);
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
    job->rows_each = tt_div_up(job->rows, MOST_PARTIAL_SUMS);
    size_t portions = tt_div_up(job->rows, job->rows_each);
    job->partial = tt_scratch_acquire(portions * 2 * n * sizeof(float));
    if (!job->partial) return TT_OUT_OF_MEMORY;
    job->wants_dweight = dweight != NULL;
    job->wants_dbias = dbias != NULL;
    int workers = tt_workers_for(2 * ROW_OPERATIONS_EACH * (double)job->rows * (double)n);
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

/* ---- batch norm ---- */

static const double CHANNEL_OPERATIONS_EACH = 4;

typedef struct {
    const tt_batch_norm2d *norm;
    const float *x, *dy;
    float *y, *dx, *dweight, *dbias;
} channel_job;

typedef struct {
    double mean, variance, inverse;
} statistics;

static size_t values_of(const tt_batch_norm2d *norm) { return norm->batch * norm->pixels; }

/* Where image n holds channel c. */
static size_t plane_at(const tt_batch_norm2d *norm, size_t n, size_t c)
{
    return (n * norm->channels + c) * norm->pixels;
}

static statistics statistics_of(const tt_batch_norm2d *norm, const float *x, size_t c)
{
    const tt_vector_kernels *vector = tt_kernels()->vector;
    double mean = norm->running_mean[c], variance = norm->running_var[c];
    if (norm->training) {
        double sum = 0, squares = 0, count = (double)values_of(norm);
        for (size_t n = 0; n < norm->batch; n++) sum += vector->sum(x + plane_at(norm, n, c), norm->pixels);
        mean = sum / count;
        for (size_t n = 0; n < norm->batch; n++)
            squares += vector->norm->centred_squares(x + plane_at(norm, n, c), norm->pixels, (float)mean);
        variance = squares / count;
    }
    return (statistics){mean, variance, 1 / sqrt(variance + norm->eps)};
}

static void update_running(const tt_batch_norm2d *norm, size_t c, statistics batch, double momentum)
{
    double count = (double)values_of(norm), unbiased = batch.variance * count / (count - 1);
    norm->running_mean[c] += (float)(momentum * (batch.mean - norm->running_mean[c]));
    norm->running_var[c] += (float)(momentum * (unbiased - norm->running_var[c]));
}

static void normalize_channel(void *context, size_t c, int worker)
{
    (void)worker;
    const channel_job *job = context;
    const tt_batch_norm2d *norm = job->norm;
    statistics of_channel = statistics_of(norm, job->x, c);
    float scale = (float)(of_channel.inverse * norm->weight[c]);
    for (size_t n = 0; n < norm->batch; n++) {
        size_t plane = plane_at(norm, n, c);
        tt_kernels()->vector->norm->normalize(job->x + plane, norm->pixels, (float)of_channel.mean, scale,
                                              norm->bias[c], job->y + plane);
    }
    if (norm->training) update_running(norm, c, of_channel, norm->momentum);
}

/* y = weight * z + bias with z = (x - mean) * inverse. Training, mean and inverse depend on x too:
 * dx = weight * inverse * (dy - mean of dy - z * mean of dy z). */
static void differentiate_channel(void *context, size_t c, int worker)
{
    (void)worker;
    const channel_job *job = context;
    const tt_batch_norm2d *norm = job->norm;
    const tt_norm_kernels *kernels = tt_kernels()->vector->norm;
    statistics of_channel = statistics_of(norm, job->x, c);
    float mean = (float)of_channel.mean;
    double sum_dy = 0, sum_dy_z = 0;
    for (size_t n = 0; n < norm->batch; n++) {
        float sums[2];
        size_t plane = plane_at(norm, n, c);
        kernels->centred_sums(job->dy + plane, job->x + plane, norm->pixels, mean, sums);
        sum_dy += sums[0];
        sum_dy_z += sums[1] * of_channel.inverse;
    }
    job->dweight[c] = (float)sum_dy_z;
    job->dbias[c] = (float)sum_dy;

    double count = (double)values_of(norm), scale = norm->weight[c] * of_channel.inverse;
    float factors[3] = {(float)scale, (float)(-scale * of_channel.inverse * sum_dy_z / count),
                        (float)(-scale * sum_dy / count)};
    for (size_t n = 0; n < norm->batch; n++) {
        size_t plane = plane_at(norm, n, c);
        if (norm->training)
            kernels->normalize_backward(job->dy + plane, job->x + plane, norm->pixels, mean, factors,
                                        job->dx + plane);
        else
            kernels->normalize(job->dy + plane, norm->pixels, 0.0f, factors[0], 0.0f, job->dx + plane);
    }
}

static void over_channels(const channel_job *job, tt_task *task)
{
    channel_job each = *job;
    double operations = CHANNEL_OPERATIONS_EACH * (double)values_of(each.norm) * (double)each.norm->channels;
    tt_parallel_for(tt_workers_for(operations), each.norm->channels, task, &each);
}

void tt_batch_norm2d_f32(const tt_batch_norm2d *norm, const float *x, float *y)
{
    over_channels(&(channel_job){.norm = norm, .x = x, .y = y}, normalize_channel);
}

void tt_batch_norm2d_backward_f32(const tt_batch_norm2d *norm, const float *dy, const float *x, float *dx,
                                  float *dweight, float *dbias)
{
    over_channels(&(channel_job){.norm = norm, .dy = dy, .x = x, .dx = dx, .dweight = dweight, .dbias = dbias},
                  differentiate_channel);
}
