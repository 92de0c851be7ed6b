/* Cross-entropy from logits. With s = label_smoothing, a row's loss is
 * (1 - s) * -logp[target] + s / classes * sum of -logp, and the loss is the mean over the rows that count. */
#include "ops/rows.h"

#include <math.h>
#include <string.h>

static const double OPERATIONS_EACH = 15; /* of one logit, in additions */

typedef struct {
    const tt_cross_entropy *entropy;
    double *losses; /* of each row */
    float scale;    /* the gradient of a row's loss */
    float *dlogits;
} loss_job;

size_t tt_first_bad_target(const tt_cross_entropy *entropy)
{
    for (size_t i = 0; i < entropy->rows; i++) {
        int64_t target = entropy->targets[i];
        if (target != entropy->ignore_index && (target < 0 || (uint64_t)target >= entropy->classes)) return i;
    }
    return entropy->rows;
}

static double row_loss(const tt_cross_entropy *entropy, const float *logits, int64_t target)
{
    const tt_softmax_kernels *kernels = tt_kernels()->vector->softmax;
    size_t classes = entropy->classes;
    double smoothing = entropy->label_smoothing, loss = 0;
    float top = kernels->largest(logits, classes);
    double log_sum = log(kernels->sum_exponentials(logits, classes, top));
    if (smoothing < 1) loss = (1 - smoothing) * (log_sum + ((double)top - logits[target]));
    if (smoothing > 0) loss += smoothing * (log_sum + kernels->sum_below(logits, classes, top) / (double)classes);
    return loss;
}

static void forward_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const loss_job *job = context;
    const tt_cross_entropy *entropy = job->entropy;
    for (size_t i = first; i < end; i++) {
        int64_t target = entropy->targets[i];
        job->losses[i] = target == entropy->ignore_index
                             ? 0
                             : row_loss(entropy, entropy->logits + i * entropy->classes, target);
    }
}

static void backward_rows(void *context, size_t first, size_t end, int worker)
{
    (void)worker;
    const loss_job *job = context;
    const tt_cross_entropy *entropy = job->entropy;
    size_t classes = entropy->classes;
    float smoothing = (float)entropy->label_smoothing, scale = job->scale;
    for (size_t i = first; i < end; i++) {
        int64_t target = entropy->targets[i];
        float *dlogits = job->dlogits + i * classes;
        if (target == entropy->ignore_index) {
            memset(dlogits, 0, classes * sizeof *dlogits);
            continue;
        }
        float shift = -scale * smoothing / (float)classes;
        tt_kernels()->vector->softmax->softmax(entropy->logits + i * classes, classes, scale, shift, dlogits);
        dlogits[target] -= scale * (1 - smoothing);
    }
}

static size_t rows_that_count(const tt_cross_entropy *entropy)
{
    size_t count = 0;
    for (size_t i = 0; i < entropy->rows; i++) count += entropy->targets[i] != entropy->ignore_index;
    return count;
}

tt_status tt_cross_entropy_f32(const tt_cross_entropy *entropy, double *loss)
{
    loss_job job = {.entropy = entropy, .losses = tt_scratch_acquire(entropy->rows * sizeof(double))};
    if (!job.losses) return TT_OUT_OF_MEMORY;
    tt_for_rows(entropy->rows, OPERATIONS_EACH * (double)entropy->classes, forward_rows, &job);
    double total = 0;
    for (size_t i = 0; i < entropy->rows; i++) total += job.losses[i];
    tt_scratch_release(job.losses);
    size_t count = rows_that_count(entropy);
    *loss = count ? total / (double)count : NAN;
    return TT_OK;
}

void tt_cross_entropy_backward_f32(const tt_cross_entropy *entropy, double dy, float *dlogits)
{
    loss_job job = {.entropy = entropy, .dlogits = dlogits};
    job.scale = (float)(dy / (double)tt_max(rows_that_count(entropy), 1));
    tt_for_rows(entropy->rows, OPERATIONS_EACH * (double)entropy->classes, backward_rows, &job);
}
