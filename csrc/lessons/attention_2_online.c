/* Step 2: the online softmax. One pass over the keys, and no scores are stored at all.
 *
 * The sums are kept relative to the largest score seen so far. When a larger one turns up, e^(old - new)
 * corrects them: e^(x - old) e^(old - new) = e^(x - new). (Milakov and Gimelshein, "Online normalizer
 * calculation for softmax", 2018.) By itself this is no faster; it is what lets the next step work in tiles. */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

#include <math.h>
#include <string.h>

/* y (d) of one query over the first `seen` keys. */
static void attend(size_t seen, size_t d, const float *q, const float *k, const float *v, float *y)
{
    float largest = -INFINITY, total = 0.0f, scale = 1.0f / sqrtf((float)d);
    memset(y, 0, d * sizeof *y);
    if (seen == 0) return;
    for (size_t j = 0; j < seen; j++) {
        float score = 0.0f;
        for (size_t c = 0; c < d; c++) score += q[c] * k[j * d + c];
        score *= scale;
        if (score > largest) {
            float correction = expf(largest - score); /* 0 at the first key */
            total *= correction;
            for (size_t c = 0; c < d; c++) y[c] *= correction;
            largest = score;
        }
        float weight = expf(score - largest);
        total += weight;
        for (size_t c = 0; c < d; c++) y[c] += weight * v[j * d + c];
    }
    for (size_t c = 0; c < d; c++) y[c] /= total;
}

tt_status tt_attention_online(const tt_attention_heads *x, float *y)
{
    for (size_t h = 0; h < x->heads; h++)
        for (size_t i = 0; i < x->t; i++) {
            size_t row = (h * x->t + i) * x->d, keys = h * x->s * x->d;
            size_t seen = x->causal ? tt_min(x->s, i + 1) : x->s;
            attend(seen, x->d, x->q + row, x->k + keys, x->v + keys, y + row);
        }
    return TT_OK;
}
