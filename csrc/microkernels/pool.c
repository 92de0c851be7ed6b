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

/* The first n of VF_N floats that lie `stride` apart. Strides of 1 and 2, the usual ones, read beyond them. */
TT_INLINE vf load_every(const float *x, const size_t stride, size_t n)
{
    if (stride == 1) return vf_load(x);
    if (stride == 2) return vf_even(vf_load(x), vf_load(x + VF_N));
    if (n == 1) return vf_load_up_to(x, 1); /* a window over a whole row: nothing to wait for */
    float lanes[VF_N] = {0};
    for (size_t i = 0; i < n; i++) lanes[i] = x[i * stride];
    return vf_load(lanes);
}

TT_INLINE void along_at(const float *x, size_t window, const size_t stride, size_t left, float *y,
                        const int maximum)
{
    vf result = load_every(x, stride, left);
    for (size_t s = 1; s < window; s++) result = combine(result, load_every(x + s, stride, left), maximum);
    vf_store_up_to(y, result, left);
}

TT_INLINE void along_by(const float *x, size_t window, const size_t stride, size_t n, float *y, const int maximum)
{
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N) along_at(x + j * stride, window, stride, VF_N, y + j, maximum);
    if (j < n) along_at(x + j * stride, window, stride, n - j, y + j, maximum);
}

TT_INLINE void along(const float *x, size_t window, size_t stride, size_t n, float *y, const int maximum)
{
    if (stride == 1) along_by(x, window, 1, n, y, maximum);
    else if (stride == 2) along_by(x, window, 2, n, y, maximum);
    else along_by(x, window, stride, n, y, maximum);
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

/* ---- where the maximum is ---- */

/* The place and the value of the first maximum so far; a NaN is larger than anything but a NaN. */
TT_INLINE void meet(vf value, vf place, vf *best, vf *where)
{
    vf if_nan = vf_where(vf_is_nan(*best), *where, place);
    *where = vf_where(vf_is_nan(value), if_nan, vf_where(vf_less(*best, value), place, *where));
    *best = larger(*best, value);
}

/* The same where the places come in any order: of equal values, the first place. */
TT_INLINE void meet_anywhere(vf value, vf place, vf *best, vf *where)
{
    vf first = vf_min(place, *where);
    vf if_less = vf_where(vf_less(value, *best), *where, first);
    vf if_number = vf_where(vf_is_nan(*best), *where, vf_where(vf_less(*best, value), place, if_less));
    vf if_nan = vf_where(vf_is_nan(*best), first, place);
    *where = vf_where(vf_is_nan(value), if_nan, if_number);
    *best = larger(*best, value);
}

static void place_down(const float *x, size_t row_stride, size_t rows, size_t n, size_t first, float *y,
                       float *places)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf best = vf_load_up_to(x + j, n - j), where = vf_set((float)first);
        for (size_t i = 1; i < rows; i++)
            meet(vf_load_up_to(x + i * row_stride + j, n - j), vf_set((float)(first + i * row_stride)), &best,
                 &where);
        vf_store_up_to(y + j, best, n - j);
        vf_store_up_to(places + j, where, n - j);
    }
}

TT_INLINE void place_along_at(const float *x, const float *above, size_t window, const size_t stride, size_t left,
                              float *y, float *places)
{
    vf best = load_every(x, stride, left), where = load_every(above, stride, left);
    for (size_t s = 1; s < window; s++) {
        vf place = vf_add(load_every(above + s, stride, left), vf_set((float)s));
        meet_anywhere(load_every(x + s, stride, left), place, &best, &where);
    }
    vf_store_up_to(y, best, left);
    vf_store_up_to(places, where, left);
}

TT_INLINE void place_along_by(const float *x, const float *above, size_t window, const size_t stride, size_t n,
                              float *y, float *places)
{
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N)
        place_along_at(x + j * stride, above + j * stride, window, stride, VF_N, y + j, places + j);
    if (j < n) place_along_at(x + j * stride, above + j * stride, window, stride, n - j, y + j, places + j);
}

static void place_along(const float *x, const float *above, size_t window, size_t stride, size_t n, float *y,
                        float *places)
{
    if (stride == 1) place_along_by(x, above, window, 1, n, y, places);
    else if (stride == 2) place_along_by(x, above, window, 2, n, y, places);
    else place_along_by(x, above, window, stride, n, y, places);
}

static void narrow_places(const float *places, size_t n, uint16_t *narrow)
{
    for (size_t j = 0; j < n; j++) narrow[j] = (uint16_t)places[j];
}

static void widen_places(const uint16_t *narrow, size_t n, float *places)
{
    for (size_t j = 0; j < n; j++) places[j] = (float)narrow[j];
}

/* Places and half of an element are at least that far from the ends of a row, so a rounded factor finds the row. */
static int places_fit(const uint16_t *narrow, size_t n, size_t width, size_t rows, size_t columns)
{
    const float of_a_row = 1.0f / (float)width;
    const int32_t wide = (int32_t)width, last_row = (int32_t)rows - 1, last_column = (int32_t)columns - 1;
    int32_t outside = 0;
    for (size_t j = 0; j < n; j++) {
        int32_t row = (int32_t)(((float)narrow[j] + 0.5f) * of_a_row), column = narrow[j] - row * wide;
        outside |= (last_row - row) | (last_column - column); /* their signs */
    }
    return outside >= 0;
}

/* ---- what the maximum is given ---- */

static void scatter(const float *dy, const float *places, size_t stride, size_t n, size_t first, size_t size,
                    float *dx)
{
    for (size_t j = 0; j < n; j++) {
        size_t place = first + (size_t)places[j] + j * stride;
        if (place < size) dx[place] += dy[j];
    }
}

TT_INLINE vf given_to(size_t place, vf where, vf dy)
{
    return vf_where(vf_less(vf_abs(vf_sub(where, vf_set((float)place))), vf_set(0.5f)), dy, vf_set(0.0f));
}

TT_INLINE void store_pairs(float *x, vf even, vf odd, size_t n)
{
    vf_store_up_to(x, vf_zip_low(even, odd), n);
    if (n > VF_N) vf_store_up_to(x + VF_N, vf_zip_high(even, odd), n - VF_N);
}

static void scatter_pairs(const float *dy, const float *places, size_t n, size_t width, float *dx)
{
    for (size_t j = 0; j < n; j += VF_N) {
        vf gradient = vf_load_up_to(dy + j, n - j), where = vf_load_up_to(places + j, n - j);
        store_pairs(dx + 2 * j, given_to(0, where, gradient), given_to(1, where, gradient), 2 * (n - j));
        store_pairs(dx + width + 2 * j, given_to(width, where, gradient), given_to(width + 1, where, gradient),
                    2 * (n - j));
    }
}

const tt_pool_kernels TT_FOR_LEVEL(tt_pool) = {
    .max_down = max_down,
    .sum_down = sum_down,
    .max_along = max_along,
    .mean_along = mean_along,
    .spread_along = spread_along,
    .place_down = place_down,
    .place_along = place_along,
    .narrow_places = narrow_places,
    .widen_places = widen_places,
    .places_fit = places_fit,
    .scatter = scatter,
    .scatter_pairs = scatter_pairs,
};
