/* Softmax and its logarithm over rows. */
#include "ops/rows.h"

static const double OPERATIONS_EACH = 15; /* of one exponential and what goes with it, in additions */

typedef struct {
    size_t n;
    const float *dy, *x;
    float *out;
} softmax_job;

static void softmax_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const softmax_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n)
        tt_kernels()->vector->softmax->softmax(job->x + i, job->n, 1.0f, 0.0f, job->out + i);
}

static void log_softmax_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const softmax_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n)
        tt_kernels()->vector->softmax->log_softmax(job->x + i, job->n, job->out + i);
}

static void softmax_backward_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const softmax_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n)
        tt_kernels()->vector->softmax->softmax_backward(job->dy + i, job->x + i, job->n, job->out + i);
}

static void log_softmax_backward_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const softmax_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n)
        tt_kernels()->vector->softmax->log_softmax_backward(job->dy + i, job->x + i, job->n, job->out + i);
}

static void over_rows(size_t rows, softmax_job job, tt_rows_task *task)
{
    if (job.n) tt_for_rows(rows, OPERATIONS_EACH * (double)job.n, task, &job);
}

void tt_softmax_f32(size_t rows, size_t n, const float *x, float *y)
{
    over_rows(rows, (softmax_job){.n = n, .x = x, .out = y}, softmax_rows);
}

void tt_log_softmax_f32(size_t rows, size_t n, const float *x, float *y)
{
    over_rows(rows, (softmax_job){.n = n, .x = x, .out = y}, log_softmax_rows);
}

void tt_softmax_backward_f32(size_t rows, size_t n, const float *dy, const float *y, float *dx)
{
    over_rows(rows, (softmax_job){.n = n, .dy = dy, .x = y, .out = dx}, softmax_backward_rows);
}

void tt_log_softmax_backward_f32(size_t rows, size_t n, const float *dy, const float *y, float *dx)
{
    over_rows(rows, (softmax_job){.n = n, .dy = dy, .x = y, .out = dx}, log_softmax_backward_rows);
}
