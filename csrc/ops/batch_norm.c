/* Batch norm over channels: (batch, channels, pixels). */
#include "ops/rows.h"

#include <math.h>

static const double OPERATIONS_EACH = 4;

enum {
    /* A sum of so many values in float32 is good to a few units in the last place; such sums are added in double. */
    VALUES_IN_A_SUM = 1024,
    /* A page of 4 KiB. Where planes are smaller, those of a channel may lie a page apart or a multiple of it, and
     * then a load waits for the store of the plane before, from which its address differs in the upper bits only. */
    PIXELS_OF_A_PAGE = 1024
};

/* How a channel's planes are written: forward scale * (x - mean) + shift, backward
 * scale * dy + of_x * (x - mean) + shift. */
typedef struct {
    float mean, scale, of_x, shift;
} channel_plan;

typedef struct {
    const tt_batch_norm2d *norm;
    const float *x, *dy; /* no dy: the forward pass */
    float *out, *dweight, *dbias;
    channel_plan *plans; /* (channels) */
    int in_channels;     /* whether a channel is written while it is cached, or all together in the order of memory */
} channel_job;

static double values_of(const tt_batch_norm2d *norm) { return (double)norm->batch * (double)norm->pixels; }

/* The planes of a channel in the images from `first` on that make one sum. */
static tt_planes planes_from(const tt_batch_norm2d *norm, size_t first)
{
    size_t most = tt_max(VALUES_IN_A_SUM / tt_max(norm->pixels, 1), 1);
    return (tt_planes){tt_min(norm->batch - first, most), norm->channels * norm->pixels, norm->pixels};
}

static double mean_of(const tt_batch_norm2d *norm, const float *x)
{
    double sum = 0;
    for (size_t n = 0; n < norm->batch;) {
        tt_planes planes = planes_from(norm, n);
        sum += tt_kernels()->vector->batch_norm->sum(&planes, x + n * planes.stride);
        n += planes.count;
    }
    return sum / values_of(norm);
}

static double variance_of(const tt_batch_norm2d *norm, const float *x, double mean)
{
    double squares = 0;
    for (size_t n = 0; n < norm->batch;) {
        tt_planes planes = planes_from(norm, n);
        squares += tt_kernels()->vector->batch_norm->centred_squares(&planes, x + n * planes.stride, (float)mean);
        n += planes.count;
    }
    return squares / values_of(norm);
}

static void update_running(const tt_batch_norm2d *norm, size_t c, double mean, double variance)
{
    double count = values_of(norm), unbiased = variance * count / (count - 1);
    norm->running_mean[c] += (float)(norm->momentum * (mean - norm->running_mean[c]));
    norm->running_var[c] += (float)(norm->momentum * (unbiased - norm->running_var[c]));
}

static channel_plan plan_forward(const channel_job *job, size_t c)
{
    const tt_batch_norm2d *norm = job->norm;
    double mean = norm->running_mean[c], variance = norm->running_var[c];
    if (norm->training) {
        const float *x = job->x + c * norm->pixels;
        mean = mean_of(norm, x);
        variance = variance_of(norm, x, mean);
        update_running(norm, c, mean, variance);
    }
    return (channel_plan){(float)mean, (float)(norm->weight[c] / sqrt(variance + norm->eps)), 0, norm->bias[c]};
}

/* y = weight * z + bias with z = (x - mean) * inverse. Training, mean and inverse depend on x too:
 * dx = weight * inverse * (dy - mean of dy - z * mean of dy z). */
static channel_plan plan_backward(const channel_job *job, size_t c)
{
    const tt_batch_norm2d *norm = job->norm;
    const float *dy = job->dy + c * norm->pixels, *x = job->x + c * norm->pixels;
    double mean = norm->training ? mean_of(norm, x) : norm->running_mean[c];
    double sum_dy = 0, sum_along = 0, squares = 0, count = values_of(norm);
    for (size_t n = 0; n < norm->batch;) {
        tt_planes planes = planes_from(norm, n);
        size_t at = n * planes.stride;
        float sums[3];
        tt_kernels()->vector->batch_norm->gradient_sums(&planes, dy + at, x + at, (float)mean, sums);
        sum_dy += sums[0];
        sum_along += sums[1];
        squares += sums[2];
        n += planes.count;
    }
    double variance = norm->training ? squares / count : norm->running_var[c];
    double inverse = 1 / sqrt(variance + norm->eps), scale = norm->weight[c] * inverse;
    job->dweight[c] = (float)(sum_along * inverse);
    job->dbias[c] = (float)sum_dy;
    if (!norm->training) return (channel_plan){(float)mean, (float)scale, 0, 0};
    return (channel_plan){(float)mean, (float)scale, (float)(-scale * inverse * inverse * sum_along / count),
                          (float)(-scale * sum_dy / count)};
}

static void write_planes(const channel_job *job, size_t c, tt_planes planes, size_t at)
{
    const tt_batch_norm_kernels *kernels = tt_kernels()->vector->batch_norm;
    const channel_plan *plan = &job->plans[c];
    if (!job->dy)
        kernels->normalize(&planes, job->x + at, plan->mean, plan->scale, plan->shift, job->out + at);
    else if (!job->norm->training)
        kernels->normalize(&planes, job->dy + at, 0.0f, plan->scale, 0.0f, job->out + at);
    else
        kernels->normalize_backward(&planes, job->dy + at, job->x + at, plan->mean,
                                    (float[]){plan->scale, plan->of_x, plan->shift}, job->out + at);
}

static void do_channel(void *context, size_t c, int worker)
{
    (void)worker;
    const channel_job *job = context;
    const tt_batch_norm2d *norm = job->norm;
    job->plans[c] = job->dy ? plan_backward(job, c) : plan_forward(job, c);
    tt_planes all = {norm->batch, norm->channels * norm->pixels, norm->pixels};
    if (job->in_channels) write_planes(job, c, all, c * norm->pixels);
}

static void write_in_order(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const channel_job *job = context;
    size_t pixels = job->norm->pixels;
    for (size_t plane = first; plane < end; plane++)
        write_planes(job, plane % job->norm->channels, (tt_planes){1, pixels, pixels}, plane * pixels);
}

static tt_status run(channel_job *job)
{
    const tt_batch_norm2d *norm = job->norm;
    int reads_all = job->dy || norm->training;
    job->in_channels = reads_all && norm->pixels >= PIXELS_OF_A_PAGE;
    job->plans = tt_scratch_acquire(norm->channels * sizeof *job->plans);
    if (!job->plans) return TT_OUT_OF_MEMORY;
    double operations = reads_all ? OPERATIONS_EACH * values_of(norm) * (double)norm->channels : 0;
    tt_parallel_for(tt_workers_for(operations), norm->channels, do_channel, job);
    if (!job->in_channels)
        tt_for_rows(norm->batch * norm->channels, OPERATIONS_EACH * (double)norm->pixels, write_in_order, job);
    tt_scratch_release(job->plans);
    return TT_OK;
}

tt_status tt_batch_norm2d_f32(const tt_batch_norm2d *norm, const float *x, float *y)
{
    channel_job job = {.norm = norm, .x = x, .out = y};
    return run(&job);
}

tt_status tt_batch_norm2d_backward_f32(const tt_batch_norm2d *norm, const float *dy, const float *x, float *dx,
                                       float *dweight, float *dbias)
{
    channel_job job = {.norm = norm, .dy = dy, .x = x, .out = dx, .dweight = dweight, .dbias = dbias};
    return run(&job);
}
