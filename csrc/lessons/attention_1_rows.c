/* Step 1: one query after the other. All that a row of y needs is one row of scores, so s floats are enough,
 * and they stay in the cache from the first pass to the last. The row is a sum of rows of v, read along.
 * Hidden keys are not even looked at. */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

#include <math.h>
#include <string.h>

/* y (d) of one query over the first `seen` keys. */
static void attend(size_t seen, size_t d, const float *q, const float *k, const float *v, float *scores, float *y)
{
    float largest = -INFINITY, total = 0.0f, scale = 1.0f / sqrtf((float)d);
    for (size_t j = 0; j < seen; j++) {
        float sum = 0.0f;
        for (size_t c = 0; c < d; c++) sum += q[c] * k[j * d + c];
        scores[j] = sum * scale;
        largest = scores[j] > largest ? scores[j] : largest;
    }
    memset(y, 0, d * sizeof *y);
    if (seen == 0) return;
    for (size_t j = 0; j < seen; j++) {
        float weight = expf(scores[j] - largest);
        total += weight;
        for (size_t c = 0; c < d; c++) y[c] += weight * v[j * d + c];
    }
    for (size_t c = 0; c < d; c++) y[c] /= total;
}

tt_status tt_attention_rows(const tt_attention_heads *x, float *y)
{
    float *scores = tt_scratch_acquire(x->s * sizeof *scores);
    if (!scores) return TT_OUT_OF_MEMORY;
    for (size_t h = 0; h < x->heads; h++)
        for (size_t i = 0; i < x->t; i++) {
            size_t row = (h * x->t + i) * x->d, keys = h * x->s * x->d;
            size_t seen = x->causal ? tt_min(x->s, i + 1) : x->s;
            attend(seen, x->d, x->q + row, x->k + keys, x->v + keys, scores, y + row);
        }
    tt_scratch_release(scores);
    return TT_OK;
}
