/* Quantize, dequantize and add: the array split over threads. */
#include "runtime/runtime.h"

#include <math.h>
#include <stdatomic.h>

/* x (outer, axis, inner) as rows: a scale for each row, or one for each element where the axis is last. */
typedef struct {
    const tt_quantize_kernels *kernels;
    size_t axis, length, step;
    size_t pieces, piece; /* each row in so many pieces, so that one long row also occupies every thread */
    const float *scale;
    const int32_t *zero_point;
    int is_signed;
    const float *x;
    uint8_t *q;
    float *y;
    atomic_int found_nan;
} quantize_job;

typedef struct {
    size_t first, count; /* elements of the array */
    const float *scale;
    const int32_t *zero_point;
} span;

static span span_of(const quantize_job *job, size_t index)
{
    size_t row = index / job->pieces, start = index % job->pieces * job->piece;
    size_t channel = job->step ? start : row % job->axis;
    return (span){row * job->length + start, tt_min(job->piece, job->length - start), job->scale + channel,
                  job->zero_point + channel};
}

static void quantize_span(void *context, size_t index, int worker)
{
    (void)worker;
    quantize_job *job = context;
    span s = span_of(job, index);
    float low = job->is_signed ? -128.0f : 0.0f;
    if (job->kernels->quantize(s.count, job->x + s.first, s.scale, s.zero_point, job->step, low, low + 255.0f,
                               job->q + s.first))
        atomic_store(&job->found_nan, 1);
}

static void dequantize_span(void *context, size_t index, int worker)
{
    (void)worker;
    quantize_job *job = context;
    span s = span_of(job, index);
    job->kernels->dequantize(s.count, job->q + s.first, job->is_signed, s.scale, s.zero_point, job->step,
                             job->y + s.first);
}

static void run(quantize_job *job, size_t outer, size_t inner, tt_task *task)
{
    size_t axis = job->axis, rows = outer * axis;
    if (rows == 0 || inner == 0) return;
    job->kernels = tt_kernels()->quantize;
    job->length = inner;
    if (inner == 1 && axis > 1) {
        job->step = 1;
        job->length = axis;
        rows = outer;
    }
    job->piece = tt_min(job->length, 1 << 14);
    job->pieces = tt_div_up(job->length, job->piece);
    tt_parallel_for(tt_workers_for((double)rows * (double)job->length), rows * job->pieces, task, job);
}

tt_status tt_quantize_f32(size_t outer, size_t axis, size_t inner, const float *x, const float *scale,
                          const int32_t *zero_point, int is_signed, uint8_t *q)
{
    quantize_job job = {.axis = axis, .scale = scale, .zero_point = zero_point, .is_signed = is_signed,
                        .x = x, .q = q};
    run(&job, outer, inner, quantize_span);
    return atomic_load(&job.found_nan) ? TT_BAD_VALUE : TT_OK;
}

void tt_dequantize_f32(size_t outer, size_t axis, size_t inner, const uint8_t *q, int is_signed,
                       const float *scale, const int32_t *zero_point, float *x)
{
    /* The kernels read q alone; the job's type serves both directions. */
    quantize_job job = {.axis = axis, .scale = scale, .zero_point = zero_point, .is_signed = is_signed,
                        .q = (uint8_t *)q, .y = x};
    run(&job, outer, inner, dequantize_span);
}

/* ---- sums ---- */

enum { ADDED = 1 << 14 }; /* elements that one task adds */

typedef struct {
    const tt_quantize_kernels *kernels;
    size_t n;
    tt_term_int8 a, b;
    int zero_point;
    float low, high;
    uint8_t *y;
} add_job;

static void add_span(void *context, size_t index, int worker)
{
    (void)worker;
    const add_job *job = context;
    size_t first = index * ADDED;
    tt_term_int8 a = job->a, b = job->b;
    a.q += first;
    b.q += first;
    job->kernels->add(tt_min(ADDED, job->n - first), a, b, job->zero_point, job->low, job->high, job->y + first);
}

static tt_term_int8 term_of(tt_quantized x, float out_scale)
{
    return (tt_term_int8){x.data, x.is_signed, (float)x.zero_point, x.scale / out_scale};
}

tt_status tt_add_int8(size_t n, tt_quantized a, tt_quantized b, tt_result result)
{
    float low = result.type == TT_INT8 ? -128.0f : 0.0f;
    add_job job = {tt_kernels()->quantize, n, term_of(a, result.scale), term_of(b, result.scale), result.zero_point,
                   result.activation == TT_RELU ? (float)result.zero_point : low, low + 255.0f, result.y};
    for (int i = 0; i < 2; i++) {
        float multiplier = i ? job.b.multiplier : job.a.multiplier;
        if (!(multiplier > 0 && isfinite(multiplier))) return TT_BAD_VALUE;
    }
    tt_parallel_for(tt_workers_for((double)n), tt_div_up(n, ADDED), add_span, &job);
    return TT_OK;
}
