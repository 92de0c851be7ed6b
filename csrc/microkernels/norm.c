/* Layer norm and RMS norm of a row: sums over it, and what is done with them. */
#include "microkernels/loops.h"
#include "microkernels/vector.h"

static float centred_squares(const float *x, size_t n, float mean)
{
    return sum_of(add_centred_square, x, NULL, n, mean, mean);
}

/* The functions named _at do one vector, or its first `left` elements: with a whole vector known beforehand they have
 * no branches. */

TT_INLINE void normalize_at(const tt_norm_row *row, size_t j, size_t left, const float *bias, float *y)
{
    vf value = vf_mul(vf_sub(vf_load_up_to(row->x + j, left), vf_set(row->mean)), vf_set(row->inverse));
    if (row->weight) value = vf_mul(value, vf_load_up_to(row->weight + j, left));
    if (bias) value = vf_add(value, vf_load_up_to(bias + j, left));
    vf_store_up_to(y + j, value, left);
}

static void normalize(const tt_norm_row *row, const float *bias, float *y)
{
    size_t n = row->n, j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        TT_PREFETCH(row->x + n + j);
        normalize_at(row, j, VF_N, bias, y);
    }
    if (j < n) normalize_at(row, j, n - j, bias, y);
}

typedef struct {
    vf gradient, along, square;
} gradient_totals;

/* dy times the weight, where there is one */
TT_INLINE vf row_gradient(const float *dy, const tt_norm_row *row, size_t j, size_t left)
{
    vf gradient = vf_load_up_to(dy + j, left);
    return row->weight ? vf_mul(gradient, vf_load_up_to(row->weight + j, left)) : gradient;
}

TT_INLINE void gradient_sums_at(const float *dy, const tt_norm_row *row, size_t j, size_t left, gradient_totals *sum)
{
    vf gradient = row_gradient(dy, row, j, left);
    vf centred = vf_sub(vf_load_or(row->x + j, left, row->mean), vf_set(row->mean));
    sum->gradient = vf_add(sum->gradient, gradient);
    sum->along = vf_fma(gradient, centred, sum->along);
    sum->square = vf_fma(centred, centred, sum->square);
}

static void gradient_sums(const float *dy, const tt_norm_row *row, float sums[3])
{
    vf zero = vf_set(0.0f);
    gradient_totals even = {zero, zero, zero}, odd = even;
    size_t n = row->n, j = 0;
    for (; j + 2 * VF_N <= n; j += 2 * VF_N) {
        gradient_sums_at(dy, row, j, VF_N, &even);
        gradient_sums_at(dy, row, j + VF_N, VF_N, &odd);
    }
    for (; j < n; j += VF_N) gradient_sums_at(dy, row, j, n - j, &even);
    sums[0] = vf_sum(vf_add(even.gradient, odd.gradient));
    sums[1] = vf_sum(vf_add(even.along, odd.along));
    sums[2] = vf_sum(vf_add(even.square, odd.square));
}

TT_INLINE void accumulate(float *total, vf value, size_t left)
{
    vf_store_up_to(total, vf_add(vf_load_up_to(total, left), value), left);
}

TT_INLINE void backward_at(const float *dy, const tt_norm_row *row, size_t j, size_t left, const float means[2],
                           float *dx, float *dweight, float *dbias)
{
    vf normal = vf_mul(vf_sub(vf_load_up_to(row->x + j, left), vf_set(row->mean)), vf_set(row->inverse));
    vf gradient = vf_sub(row_gradient(dy, row, j, left), vf_set(means[0]));
    gradient = vf_sub(gradient, vf_mul(normal, vf_set(means[1])));
    if (dweight) accumulate(dweight + j, vf_mul(vf_load_up_to(dy + j, left), normal), left);
    if (dbias) accumulate(dbias + j, vf_load_up_to(dy + j, left), left);
    vf_store_up_to(dx + j, vf_mul(gradient, vf_set(row->inverse)), left);
}

static void backward(const float *dy, const tt_norm_row *row, const float means[2], float *dx, float *dweight,
                     float *dbias)
{
    size_t n = row->n, j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        TT_PREFETCH(dy + n + j);
        TT_PREFETCH(row->x + n + j);
        backward_at(dy, row, j, VF_N, means, dx, dweight, dbias);
    }
    if (j < n) backward_at(dy, row, j, n - j, means, dx, dweight, dbias);
}

const tt_norm_kernels TT_FOR_LEVEL(tt_norm) = {centred_squares, normalize, gradient_sums, backward};
