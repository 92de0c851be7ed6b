/* Elementwise: the arrays are cut into pieces for the workers, whatever their shape. */
#include "ops/rows.h"

/* Of one element, in additions. */
static const double RELU_OPERATIONS = 2, SIGMOID_OPERATIONS = 15, GELU_OPERATIONS = 20;

typedef struct {
    tt_map *forward;
    tt_map_backward *backward;
    const float *dy, *x;
    float *out;
} map_job;

static void map_piece(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const map_job *job = context;
    if (job->backward)
        job->backward(job->dy + first, job->x + first, end - first, job->out + first);
    else
        job->forward(job->x + first, end - first, job->out + first);
}

static void map(tt_map *function, size_t n, const float *x, double operations, float *y)
{
    map_job job = {.forward = function, .x = x, .out = y};
    tt_for_rows(n, operations, map_piece, &job);
}

static void map_backward(tt_map_backward *function, size_t n, const float *dy, const float *saved, double operations,
                         float *dx)
{
    map_job job = {.backward = function, .dy = dy, .x = saved, .out = dx};
    tt_for_rows(n, operations, map_piece, &job);
}

void tt_relu_f32(size_t n, const float *x, float *y)
{
    map(tt_kernels()->vector->activation->relu, n, x, RELU_OPERATIONS, y);
}

void tt_sigmoid_f32(size_t n, const float *x, float *y)
{
    map(tt_kernels()->vector->activation->sigmoid, n, x, SIGMOID_OPERATIONS, y);
}

void tt_tanh_f32(size_t n, const float *x, float *y)
{
    map(tt_kernels()->vector->activation->tanh, n, x, SIGMOID_OPERATIONS, y);
}

void tt_gelu_f32(size_t n, const float *x, tt_gelu_form form, float *y)
{
    map(tt_kernels()->vector->activation->gelu[form], n, x, GELU_OPERATIONS, y);
}

void tt_relu_backward_f32(size_t n, const float *dy, const float *x, float *dx)
{
    map_backward(tt_kernels()->vector->activation->relu_backward, n, dy, x, RELU_OPERATIONS, dx);
}

void tt_sigmoid_backward_f32(size_t n, const float *dy, const float *y, float *dx)
{
    map_backward(tt_kernels()->vector->activation->sigmoid_backward, n, dy, y, RELU_OPERATIONS, dx);
}

void tt_tanh_backward_f32(size_t n, const float *dy, const float *y, float *dx)
{
    map_backward(tt_kernels()->vector->activation->tanh_backward, n, dy, y, RELU_OPERATIONS, dx);
}

void tt_gelu_backward_f32(size_t n, const float *dy, const float *x, tt_gelu_form form, float *dx)
{
    map_backward(tt_kernels()->vector->activation->gelu_backward[form], n, dy, x, 2 * GELU_OPERATIONS, dx);
}
