/* Elementwise: the arrays are cut into pieces for the workers, whatever their shape. */
#include "ops/rows.h"

static const double OPERATIONS_EACH = 20; /* of one gelu, in additions */

typedef struct {
    const float *dy, *x;
    tt_gelu_form form;
    float *out;
} gelu_job;

static void gelu_piece(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const gelu_job *job = context;
    const tt_activation_kernels *kernels = tt_kernels()->vector->activation;
    if (job->dy)
        kernels->gelu_backward(job->dy + first, job->x + first, end - first, job->form, job->out + first);
    else
        kernels->gelu(job->x + first, end - first, job->form, job->out + first);
}

void tt_gelu_f32(size_t n, const float *x, tt_gelu_form form, float *y)
{
    gelu_job job = {NULL, x, form, y};
    tt_for_rows(n, OPERATIONS_EACH, gelu_piece, &job);
}

void tt_gelu_backward_f32(size_t n, const float *dy, const float *x, tt_gelu_form form, float *dx)
{
    gelu_job job = {dy, x, form, dx};
    tt_for_rows(n, 2 * OPERATIONS_EACH, gelu_piece, &job);
}
