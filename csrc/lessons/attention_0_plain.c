/* Step 0: the definition, in three passes over a matrix of scores.
 *
 * The scores of all pairs of a query and a key are stored: t s of them, which for long texts is far more than
 * q, k, v and y together. And v is walked down its columns. */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

#include <math.h>

static void score(const tt_attention_heads *x, const float *q, const float *k, float *scores)
{
    for (size_t i = 0; i < x->t; i++)
        for (size_t j = 0; j < x->s; j++) {
            float sum = 0.0f;
            for (size_t c = 0; c < x->d; c++) sum += q[i * x->d + c] * k[j * x->d + c];
            scores[i * x->s + j] = x->causal && j > i ? -INFINITY : sum / sqrtf((float)x->d);
        }
}

/* Each row to e^x over the sum of e^x. The largest is subtracted first, lest the exponentials overflow. */
static void softmax(size_t rows, size_t n, float *scores)
{
    for (float *row = scores; row < scores + rows * n; row += n) {
        float largest = -INFINITY, total = 0.0f;
        for (size_t j = 0; j < n; j++) largest = row[j] > largest ? row[j] : largest;
        for (size_t j = 0; j < n; j++) total += row[j] = expf(row[j] - largest);
        for (size_t j = 0; j < n; j++) row[j] /= total;
    }
}

static void sum_values(const tt_attention_heads *x, const float *p, const float *v, float *y)
{
    for (size_t i = 0; i < x->t; i++)
        for (size_t c = 0; c < x->d; c++) {
            float sum = 0.0f;
            for (size_t j = 0; j < x->s; j++) sum += p[i * x->s + j] * v[j * x->d + c];
            y[i * x->d + c] = sum;
        }
}

tt_status tt_attention_plain(const tt_attention_heads *x, float *y)
{
    float *scores = tt_scratch_acquire(x->t * x->s * sizeof *scores);
    if (!scores) return TT_OUT_OF_MEMORY;
    for (size_t h = 0; h < x->heads; h++) {
        score(x, x->q + h * x->t * x->d, x->k + h * x->s * x->d, scores);
        softmax(x->t, x->s, scores);
        sum_values(x, scores, x->v + h * x->s * x->d, y + h * x->t * x->d);
    }
    tt_scratch_release(scores);
    return TT_OK;
}
