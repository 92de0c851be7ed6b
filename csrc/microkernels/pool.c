/* Pooling goes first down the rows of a window, then along them, so both loops run over neighbours. */
#include "microkernels/vector.h"
#include "microkernels/vec.h"

TT_INLINE vf larger(vf a, vf b) { return vf_where(vf_is_nan(a), a, vf_max(a, b)); } /* NaN wins */

TT_INLINE vf combine(vf a, vf b, const int maximum) { return maximum ? larger(a, b) : vf_add(a, b); }

TT_INLINE void down(const float *x, size_t row_stride, size_t rows, size_t n, float *y, const int maximum)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf result = vf_load_up_to(x + j, n - j);
        for (size_t i = 1; i < rows; i++)
            result = combine(result, vf_load_up_to(x + i * row_stride + j, n - j), maximum);
        vf_store_up_to(y + j, result, n - j);
    }
}

static void max_down(const float *x, size_t row_stride, size_t rows, size_t n, float *y)
{
    down(x, row_stride, rows, n, y, 1);
}

static void sum_down(const float *x, size_t row_stride, size_t rows, size_t n, float *y)
{
    down(x, row_stride, rows, n, y, 0);
}

/* The vectors beyond the first n outputs are read and not used. */
TT_INLINE void along(const float *x, size_t window, size_t stride, size_t n, float *y, const int maximum)
{
    if (stride == 1) {
        for (size_t j = 0; j < n; j += VF_N) {
            vf result = vf_load(x + j);
            for (size_t s = 1; s < window; s++) result = combine(result, vf_load(x + j + s), maximum);
            vf_store_up_to(y + j, result, n - j);
        }
    } else if (stride == 2) {
        for (size_t j = 0; j < n; j += VF_N) {
            const float *from = x + 2 * j;
            vf a = vf_load(from), b = vf_load(from + VF_N), result = vf_even(a, b);
            for (size_t s = 1; s < window; s++) {
                if (s % 2 == 0) {
                    a = vf_load(from + s);
                    b = vf_load(from + s + VF_N);
                }
                result = combine(result, s % 2 ? vf_odd(a, b) : vf_even(a, b), maximum);
            }
            vf_store_up_to(y + j, result, n - j);
        }
    } else {
        for (size_t j = 0; j < n; j++) {
            float result = x[j * stride];
            for (size_t s = 1; s < window; s++) {
                float value = x[j * stride + s];
                if (!maximum) result += value;
                else if (value > result || value != value) result = value;
            }
            y[j] = result;
        }
    }
}

static void max_along(const float *x, size_t window, size_t stride, size_t n, float *y)
{
    along(x, window, stride, n, y, 1);
}

static void mean_along(const float *x, size_t window, size_t stride, size_t n, float divisor, float *y)
{
    along(x, window, stride, n, y, 0);
    for (size_t j = 0; j < n; j += VF_N)
        vf_store_up_to(y + j, vf_div(vf_load_up_to(y + j, n - j), vf_set(divisor)), n - j);
}

static void spread_along(const float *dy, size_t window, size_t stride, size_t n, float divisor, float *dx)
{
    if (window == 2 && stride == 2) {
        for (size_t j = 0; j < n; j += VF_N) {
            vf share = vf_div(vf_load_up_to(dy + j, n - j), vf_set(divisor));
            float *low = dx + 2 * j, *high = low + VF_N;
            vf_store(low, vf_add(vf_load(low), vf_zip_low(share, share)));
            vf_store(high, vf_add(vf_load(high), vf_zip_high(share, share)));
        }
        return;
    }
    for (size_t j = 0; j < n; j++) {
        float share = dy[j] / divisor;
        for (size_t s = 0; s < window; s++) dx[j * stride + s] += share;
    }
}

/* The place (0 to 3) and the value of the first maximum so far; a NaN is larger than anything but a NaN. */
TT_INLINE void meet(vf value, float place, vf *best, vf *where)
{
    vf here = vf_set(place);
    vf if_nan = vf_where(vf_is_nan(*best), *where, here);
    *where = vf_where(vf_is_nan(value), if_nan, vf_where(vf_less(*best, value), here, *where));
    *best = larger(*best, value);
}

TT_INLINE vf given_to(float place, vf where, vf dy)
{
    return vf_where(vf_less(vf_abs(vf_sub(where, vf_set(place))), vf_set(0.5f)), dy, vf_set(0.0f));
}

/* The second vector of n floats. */
TT_INLINE vf load_second(const float *x, size_t n)
{
    return n > VF_N ? vf_load_up_to(x + VF_N, n - VF_N) : vf_set(0.0f);
}

TT_INLINE void store_pairs(float *x, vf even, vf odd, size_t n)
{
    vf_store_up_to(x, vf_zip_low(even, odd), n);
    if (n > VF_N) vf_store_up_to(x + VF_N, vf_zip_high(even, odd), n - VF_N);
}

static void max_pairs_backward(const float *dy, const float *top, const float *bottom, size_t n, float *dtop,
                               float *dbottom)
{
    for (size_t j = 0; j < n; j += VF_N) {
        size_t left = 2 * (n - j);
        vf a = vf_load_up_to(top + 2 * j, left), b = load_second(top + 2 * j, left);
        vf c = vf_load_up_to(bottom + 2 * j, left), d = load_second(bottom + 2 * j, left);
        vf gradient = vf_load_up_to(dy + j, n - j), best = vf_even(a, b), where = vf_set(0.0f);
        meet(vf_odd(a, b), 1, &best, &where);
        meet(vf_even(c, d), 2, &best, &where);
        meet(vf_odd(c, d), 3, &best, &where);
        store_pairs(dtop + 2 * j, given_to(0, where, gradient), given_to(1, where, gradient), left);
        store_pairs(dbottom + 2 * j, given_to(2, where, gradient), given_to(3, where, gradient), left);
    }
}

const tt_pool_kernels TT_FOR_LEVEL(tt_pool) = {max_down, sum_down, max_along, mean_along, spread_along,
                                               max_pairs_backward};
