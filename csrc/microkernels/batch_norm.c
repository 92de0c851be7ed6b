/* Batch norm of a channel: its planes, one in each image, are summed and scaled as if they were one long row. */
#include "microkernels/loops.h"
#include "microkernels/vector.h"

TT_INLINE float sum_of_planes(add_function *add, const tt_planes *planes, const float *x, float c, float beyond)
{
    vf sum[CHAINS];
    TT_UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = vf_set(0.0f);
    for (size_t i = 0; i < planes->count; i++)
        add_row(add, x + i * planes->stride, NULL, planes->n, vf_set(c), beyond, sum);
    return vf_sum(total_of(sum));
}

static float sum(const tt_planes *planes, const float *x) { return sum_of_planes(add_element, planes, x, 0.0f, 0.0f); }

static float centred_squares(const tt_planes *planes, const float *x, float mean)
{
    return sum_of_planes(add_centred_square, planes, x, mean, mean);
}

/* Two of each, since an addition must wait for the one before. */
typedef struct {
    vf gradient[2], along[2], square[2];
} gradient_totals;

TT_INLINE void add_gradient(gradient_totals *sum, int i, vf dy, vf centred)
{
    sum->gradient[i] = vf_add(sum->gradient[i], dy);
    sum->along[i] = vf_fma(dy, centred, sum->along[i]);
    sum->square[i] = vf_fma(centred, centred, sum->square[i]);
}

static void gradient_sums(const tt_planes *planes, const float *dy, const float *x, float mean, float sums[3])
{
    gradient_totals sum;
    TT_UNROLL for (int i = 0; i < 2; i++) sum.gradient[i] = sum.along[i] = sum.square[i] = vf_set(0.0f);
    vf centre = vf_set(mean);
    for (size_t i = 0; i < planes->count; i++, dy += planes->stride, x += planes->stride) {
        size_t n = planes->n, j = 0;
        for (; j + 2 * VF_N <= n; j += 2 * VF_N) {
            add_gradient(&sum, 0, vf_load(dy + j), vf_sub(vf_load(x + j), centre));
            add_gradient(&sum, 1, vf_load(dy + j + VF_N), vf_sub(vf_load(x + j + VF_N), centre));
        }
        for (; j < n; j += VF_N)
            add_gradient(&sum, 0, vf_load_up_to(dy + j, n - j), vf_sub(vf_load_or(x + j, n - j, mean), centre));
    }
    sums[0] = vf_sum(vf_add(sum.gradient[0], sum.gradient[1]));
    sums[1] = vf_sum(vf_add(sum.along[0], sum.along[1]));
    sums[2] = vf_sum(vf_add(sum.square[0], sum.square[1]));
}

TT_INLINE vf normalized(vf x, vf b, const vf *k)
{
    (void)b;
    return vf_fma(vf_sub(x, k[0]), k[1], k[2]);
}

static void normalize(const tt_planes *planes, const float *x, float mean, float scale, float shift, float *y)
{
    vf k[3] = {vf_set(mean), vf_set(scale), vf_set(shift)};
    for (size_t i = 0; i < planes->count; i++) {
        size_t plane = i * planes->stride;
        map_with(normalized, x + plane, NULL, planes->n, planes->stride, k, y + plane);
    }
}

TT_INLINE vf normalized_gradient(vf dy, vf x, const vf *k)
{
    return vf_fma(k[1], dy, vf_fma(k[2], vf_sub(x, k[0]), k[3]));
}

static void normalize_backward(const tt_planes *planes, const float *dy, const float *x, float mean,
                               const float factors[3], float *dx)
{
    vf k[4] = {vf_set(mean), vf_set(factors[0]), vf_set(factors[1]), vf_set(factors[2])};
    for (size_t i = 0; i < planes->count; i++) {
        size_t plane = i * planes->stride;
        map_with(normalized_gradient, dy + plane, x + plane, planes->n, planes->stride, k, dx + plane);
    }
}

const tt_batch_norm_kernels TT_FOR_LEVEL(tt_batch_norm) = {sum, centred_squares, gradient_sums, normalize,
                                                           normalize_backward};
