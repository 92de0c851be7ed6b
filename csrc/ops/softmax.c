/* Softmax and its logarithm over rows. */
#include "ops/rows.h"

static const double OPERATIONS_EACH = 15; /* of one exponential and what goes with it, in additions */

typedef void row_function(const float *x, size_t n, float *y);
typedef void row_gradient_function(const float *dy, const float *y, size_t n, float *dx);

typedef struct {
    size_t n;
    const float *dy, *x;
    row_function *forward;
    row_gradient_function *backward;
    float *out;
} softmax_job;

static void forward_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const softmax_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n) job->forward(job->x + i, job->n, job->out + i);
}

static void backward_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const softmax_job *job = context;
    for (size_t i = first * job->n; i < end * job->n; i += job->n)
        job->backward(job->dy + i, job->x + i, job->n, job->out + i);
}

static void over_rows(size_t rows, const softmax_job *job, tt_rows_task *task)
{
    softmax_job each = *job;
    if (each.n) tt_for_rows(rows, OPERATIONS_EACH * (double)each.n, task, &each);
}

void tt_softmax_f32(size_t rows, size_t n, const float *x, float *y)
{
    over_rows(rows, &(softmax_job){.n = n, .x = x, .out = y, .forward = tt_kernels()->vector->softmax->softmax},
              forward_rows);
}

void tt_log_softmax_f32(size_t rows, size_t n, const float *x, float *y)
{
    over_rows(rows, &(softmax_job){.n = n, .x = x, .out = y, .forward = tt_kernels()->vector->softmax->log_softmax},
              forward_rows);
}

void tt_softmax_backward_f32(size_t rows, size_t n, const float *dy, const float *y, float *dx)
{
    row_gradient_function *backward = tt_kernels()->vector->softmax->softmax_backward;
    over_rows(rows, &(softmax_job){.n = n, .dy = dy, .x = y, .out = dx, .backward = backward}, backward_rows);
}

void tt_log_softmax_backward_f32(size_t rows, size_t n, const float *dy, const float *y, float *dx)
{
    row_gradient_function *backward = tt_kernels()->vector->softmax->log_softmax_backward;
    over_rows(rows, &(softmax_job){.n = n, .dy = dy, .x = y, .out = dx, .backward = backward}, backward_rows);
}
