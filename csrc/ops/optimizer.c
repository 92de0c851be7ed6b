/* Optimizer steps: the parameters of a model are cut into pieces that the workers share. */
#include "ops/rows.h"

#include <math.h>

enum { PIECE = 8192 }; /* elements: large enough to hand out, small enough to stay in L1 and L2 */

static const double SGD_OPERATIONS = 3, ADAM_OPERATIONS = 10; /* of one element, in additions */

typedef struct {
    const tt_parameter *parameters;
    const size_t *first_piece; /* of each parameter, and one beyond */
    size_t count;
    tt_sgd_factors sgd;
    tt_adam_factors adam;
} step_job;

/* The parameter that a piece belongs to, by bisection, and the elements of the piece. */
static const tt_parameter *find_piece(const step_job *job, size_t piece, size_t *first, size_t *n)
{
    size_t low = 0, high = job->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (job->first_piece[middle] <= piece) low = middle;
        else high = middle;
    }
    *first = (piece - job->first_piece[low]) * PIECE;
    *n = tt_min(PIECE, job->parameters[low].n - *first);
    return &job->parameters[low];
}

static void sgd_piece(void *context, size_t piece, int worker)
{
    (void)worker;
    const step_job *job = context;
    size_t first, n;
    const tt_parameter *p = find_piece(job, piece, &first, &n);
    tt_kernels()->vector->optimizer->sgd(p->param + first, p->grad + first,
                                         p->state[0] ? p->state[0] + first : NULL, n, &job->sgd);
}

static void adam_piece(void *context, size_t piece, int worker)
{
    (void)worker;
    const step_job *job = context;
    size_t first, n;
    const tt_parameter *p = find_piece(job, piece, &first, &n);
    tt_kernels()->vector->optimizer->adam(p->param + first, p->grad + first, p->state[0] + first,
                                          p->state[1] + first, n, &job->adam);
}

static tt_status over_pieces(step_job *job, double operations_each, tt_task *task)
{
    size_t *first_piece = tt_scratch_acquire((job->count + 1) * sizeof *first_piece), pieces = 0;
    if (!first_piece) return TT_OUT_OF_MEMORY;
    double elements = 0;
    for (size_t i = 0; i < job->count; i++) {
        first_piece[i] = pieces;
        pieces += tt_div_up(job->parameters[i].n, PIECE);
        elements += (double)job->parameters[i].n;
    }
    first_piece[job->count] = pieces;
    job->first_piece = first_piece;
    tt_parallel_for(tt_workers_for(operations_each * elements), pieces, task, job);
    tt_scratch_release(first_piece);
    return TT_OK;
}

tt_status tt_sgd_step_f32(size_t count, const tt_parameter *parameters, double lr, double momentum,
                          double weight_decay, int nesterov)
{
    step_job job = {.parameters = parameters, .count = count};
    job.sgd = (tt_sgd_factors){(float)lr, (float)momentum, (float)weight_decay, nesterov};
    return over_pieces(&job, SGD_OPERATIONS, sgd_piece);
}

tt_status tt_adam_step_f32(size_t count, const tt_parameter *parameters, size_t step, double lr, double beta1,
                           double beta2, double eps, double weight_decay, int decoupled)
{
    step_job job = {.parameters = parameters, .count = count};
    job.adam = (tt_adam_factors){
        .keep = decoupled ? (float)(1 - lr * weight_decay) : 1.0f,
        .weight_decay = decoupled ? 0.0f : (float)weight_decay,
        .beta1 = (float)beta1,
        .new1 = (float)(1 - beta1),
        .beta2 = (float)beta2,
        .new2 = (float)(1 - beta2),
        .step_size = (float)(lr / (1 - pow(beta1, (double)step))),
        .root_correction = (float)(1 / sqrt(1 - pow(beta2, (double)step))),
        .eps = (float)eps,
    };
    return over_pieces(&job, ADAM_OPERATIONS, adam_piece);
}
