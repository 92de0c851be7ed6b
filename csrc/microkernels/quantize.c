/* Quantizing, dequantizing and requantizing, written once over vec.h. */
#include "microkernels/quantize.h"
#include "microkernels/vec_bytes.h"

/* 1 where x is NaN: it is neither below infinity nor above zero. */
TT_INLINE vf is_nan(vf x)
{
    vf one = vf_set(1.0f), zero = vf_set(0.0f);
    return vf_where(vf_less(x, vf_set(INFINITY)), zero, vf_where(vf_less(zero, x), zero, one));
}

/* Clamping comes before rounding: the bounds are whole numbers, so the result is the same, and no value is
 * too large to convert. A NaN becomes `low`. */
TT_INLINE vf clamp(vf x, vf low, vf high) { return vf_min(vf_max(x, low), high); }

static int quantize(size_t n, const float *x, const float *scale, const int32_t *zero_point, size_t step,
                    float low, float high, uint8_t *y)
{
    vf lowest = vf_set(low), highest = vf_set(high), s = vf_set(*scale), z = vf_set((float)*zero_point);
    vi whole_z = vi_set(*zero_point);
    vf nans = vf_set(0.0f);
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        vf value = vf_load(x + j);
        if (step) s = vf_load(scale + j), z = vf_from_int(zero_point + j), whole_z = vi_load(zero_point + j);
        nans = vf_add(nans, is_nan(value));
        vf_to_bytes(y + j, clamp(vf_div(value, s), vf_sub(lowest, z), vf_sub(highest, z)), whole_z);
    }
    for (; j < n; j++) {
        size_t t = j * step;
        float from = low - (float)zero_point[t], to = high - (float)zero_point[t], value = x[j] / scale[t];
        value = value > from ? value : from;
        y[j] = (uint8_t)((int32_t)rintf(value < to ? value : to) + zero_point[t]);
        if (x[j] != x[j]) return 1;
    }
    return vf_sum(nans) != 0.0f;
}

static float quantize_group(size_t n, const float *x, int8_t *q, int32_t *sum)
{
    vf largest = vf_set(0.0f), nothing = vf_set(0.0f); /* x - x is NaN for NaN and infinities */
    for (size_t j = 0; j < n; j += VF_N) {
        vf value = n - j < VF_N ? vf_load_n(x + j, n - j) : vf_load(x + j);
        largest = vf_max(vf_abs(value), largest);
        nothing = vf_add(nothing, vf_sub(value, value));
    }
    float scale = vf_largest(largest) / 127.0f;
    if (vf_sum(nothing) != 0.0f) return NAN;
    vf divisor = vf_set(scale > 0.0f ? scale : 1.0f), limit = vf_set(127.0f);
    int32_t total = 0;
    for (size_t j = 0; j < n; j += VF_N) {
        vf value = n - j < VF_N ? vf_load_n(x + j, n - j) : vf_load(x + j);
        uint8_t bytes[VF_N];
        size_t count = n - j < VF_N ? n - j : VF_N;
        vf_to_bytes(bytes, clamp(vf_div(value, divisor), vf_sub(vf_set(0.0f), limit), limit), vi_set(0));
        memcpy(q + j, bytes, count);
    }
    for (size_t j = 0; j < n; j++) total += q[j];
    *sum = total;
    return scale;
}

static void dequantize(size_t n, const uint8_t *q, int is_signed, const float *scale,
                       const int32_t *zero_point, size_t step, float *y)
{
    vf s = vf_set(*scale), z = vf_set((float)*zero_point);
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N) {
        if (step) s = vf_load(scale + j), z = vf_from_int(zero_point + j);
        vf value = is_signed ? vf_from_int8(q + j) : vf_from_uint8(q + j);
        vf_store(y + j, vf_mul(vf_sub(value, z), s));
    }
    for (; j < n; j++) {
        size_t t = j * step;
        int value = is_signed && q[j] >= 128 ? q[j] - 256 : q[j];
        y[j] = (float)(value - zero_point[t]) * scale[t];
    }
}

/* 0 where x is a positive number, 1 where it is zero, negative, infinite or NaN. */
TT_INLINE vf is_no_scale(vf x)
{
    vf one = vf_set(1.0f);
    return vf_where(vf_less(vf_set(0.0f), x), vf_where(vf_less(x, vf_set(INFINITY)), vf_set(0.0f), one), one);
}

static int prepare(size_t n, float x_scale, float out_scale, int zero_point, const float *bias,
                   int32_t *start, float *scale, float *multiplier)
{
    vf wrong = vf_set(0.0f), most = vf_set(1073741824.0f); /* a larger bias could carry a sum out of int32 */
    for (size_t j = 0; j < n; j++) start[j] = (int32_t)(0 - (uint32_t)zero_point * (uint32_t)start[j]);
    for (size_t j = 0; j < n; j += VF_N) {
        vf s = vf_mul(vf_set(x_scale), vf_load(scale + j));
        vf_store(scale + j, s);
        wrong = vf_add(wrong, is_no_scale(s));
    }
    if (out_scale > 0) {
        for (size_t j = 0; j < n; j += VF_N) {
            vf s = vf_load(scale + j), m = vf_div(s, vf_set(out_scale)), b = vf_load(bias + j);
            vf_store(multiplier + j, m);
            vf too_large = vf_where(vf_less(m, vf_set(INFINITY)), vf_set(0.0f), vf_set(1.0f));
            wrong = vf_add(wrong, vf_add(too_large, is_nan(b)));
            vi units = vi_round(clamp(vf_div(b, s), vf_sub(vf_set(0.0f), most), most));
            vi_store(start + j, vi_add(vi_load(start + j), units));
        }
    }
    return vf_sum(wrong) == 0.0f;
}

/* The largest of `pooled` sums, one below the other, as floats. */
TT_INLINE vf largest_sum(const int32_t *sums, size_t stride, size_t pooled)
{
    vi largest = vi_load(sums);
    for (size_t i = 1; i < pooled; i++) largest = vi_max(largest, vi_load(sums + i * stride));
    return vi_to_float(largest);
}

/* `pooled` and `whole` (n is a multiple of VF_N) are constants where it matters, so that the inner loop has
 * no branches. */
TT_INLINE void rows_to_bytes(const int whole, size_t m, size_t n, const size_t pooled, const int32_t *sums,
                             size_t sum_stride, const tt_requantization *how, uint8_t *y, size_t y_stride)
{
    vf low = vf_set(how->low - (float)how->zero_point), high = vf_set(how->high - (float)how->zero_point);
    vi zero_point = vi_set(how->zero_point);
    for (size_t j = 0; j < n; j += VF_N) {
        vf multiplier = vf_load(how->multiplier + j);
        const int32_t *sum = sums + j;
        uint8_t *row = y + j, bytes[VF_N];
        for (size_t i = 0; i < m; i++, sum += pooled * sum_stride, row += y_stride) {
            vf x = clamp(vf_mul(largest_sum(sum, sum_stride, pooled), multiplier), low, high);
            if (whole || j + VF_N <= n) {
                vf_to_bytes(row, x, zero_point);
            } else {
                vf_to_bytes(bytes, x, zero_point);
                memcpy(row, bytes, n - j);
            }
        }
    }
}

static void to_bytes(size_t m, size_t n, size_t pooled, const int32_t *sums, size_t sum_stride,
                     const tt_requantization *how, uint8_t *y, size_t y_stride)
{
    int whole = n % VF_N == 0;
    if (whole && pooled == 1)
        rows_to_bytes(1, m, n, 1, sums, sum_stride, how, y, y_stride);
    else if (whole && pooled == 4)
        rows_to_bytes(1, m, n, 4, sums, sum_stride, how, y, y_stride);
    else
        rows_to_bytes(0, m, n, pooled, sums, sum_stride, how, y, y_stride);
}

static void to_floats(size_t m, size_t n, size_t pooled, const int32_t *sums, size_t sum_stride,
                      const tt_requantization *how, float *y, size_t y_stride)
{
    /* Adding -0 and the larger of x and -infinity leave x as it is. */
    vf least = vf_set(how->relu ? 0.0f : -INFINITY);
    for (size_t j = 0; j < n; j += VF_N) {
        vf scale = vf_load(how->scale + j), bias = how->bias ? vf_load(how->bias + j) : vf_set(-0.0f);
        const int32_t *sum = sums + j;
        float *row = y + j;
        for (size_t i = 0; i < m; i++, sum += pooled * sum_stride, row += y_stride) {
            vf x = vf_mul(largest_sum(sum, sum_stride, pooled), scale);
            if (how->row_scale) x = vf_mul(x, vf_set(how->row_scale[i]));
            x = vf_add(x, bias);
            vf_store_up_to(row, vf_max(least, x), n - j);
        }
    }
}

/* Elements j ... j + VF_N of a term. */
TT_INLINE vf real(const tt_term_int8 *term, const uint8_t *q)
{
    vf value = term->is_signed ? vf_from_int8(q) : vf_from_uint8(q);
    return vf_mul(vf_sub(value, vf_set(term->zero_point)), vf_set(term->multiplier));
}

static void add(size_t n, tt_term_int8 a, tt_term_int8 b, int zero_point, float low, float high, uint8_t *y)
{
    vf least = vf_set(low - (float)zero_point), most = vf_set(high - (float)zero_point);
    vi zero = vi_set(zero_point);
    size_t j = 0;
    for (; j + VF_N <= n; j += VF_N)
        vf_to_bytes(y + j, clamp(vf_add(real(&a, a.q + j), real(&b, b.q + j)), least, most), zero);
    if (j == n) return;
    uint8_t from_a[VF_N] = {0}, from_b[VF_N] = {0}, sums[VF_N];
    memcpy(from_a, a.q + j, n - j);
    memcpy(from_b, b.q + j, n - j);
    vf_to_bytes(sums, clamp(vf_add(real(&a, from_a), real(&b, from_b)), least, most), zero);
    memcpy(y + j, sums, n - j);
}

/* Plain loops: the compiler makes vectors of this level of them. */
static void convert(size_t n, const uint8_t *x, int is_signed, tt_int8_operand type, void *y)
{
    if (type == TT_A_INT16) {
        int16_t *wide = y;
        const int8_t *signed_x = (const int8_t *)x;
        if (is_signed)
            for (size_t j = 0; j < n; j++) wide[j] = signed_x[j];
        else
            for (size_t j = 0; j < n; j++) wide[j] = x[j];
    } else {
        uint8_t flip = is_signed == (type == TT_A_INT8) ? 0 : 0x80;
        uint8_t *bytes = y;
        for (size_t j = 0; j < n; j++) bytes[j] = x[j] ^ flip;
    }
}

/* A few interleaved rows; `rows` is a constant, so that the compiler can shuffle whole vectors. */
TT_INLINE void interleave(const size_t rows, size_t columns, const uint8_t *restrict x, size_t x_stride,
                          uint8_t *restrict y)
{
    for (size_t j = 0; j < columns; j++)
        for (size_t i = 0; i < rows; i++) y[j * rows + i] = x[i * x_stride + j];
}

/* A block that is smaller than 16 x 16. */
static void transpose_edge(size_t rows, size_t columns, const uint8_t *x, size_t x_stride, uint8_t *y,
                           size_t y_stride)
{
    uint8_t from[256] = {0}, to[256];
    for (size_t i = 0; i < rows; i++) memcpy(from + 16 * i, x + i * x_stride, columns);
    tt_transpose_16(from, 16, to, 16);
    for (size_t j = 0; j < columns; j++) memcpy(y + j * y_stride, to + 16 * j, rows);
}

static void transpose(size_t rows, size_t columns, const uint8_t *x, size_t x_stride, uint8_t *y,
                      size_t y_stride)
{
    if (rows == 1 && y_stride == 1) {
        memcpy(y, x, columns);
    } else if (rows == 3 && y_stride == 3) {
        interleave(3, columns, x, x_stride, y);
    } else if (rows == 4 && y_stride == 4) {
        interleave(4, columns, x, x_stride, y);
    } else {
        for (size_t i = 0; i < rows; i += 16)
            for (size_t j = 0; j < columns; j += 16) {
                size_t height = rows - i < 16 ? rows - i : 16, width = columns - j < 16 ? columns - j : 16;
                const uint8_t *from = x + i * x_stride + j;
                uint8_t *to = y + j * y_stride + i;
                if (height == 16 && width == 16)
                    tt_transpose_16(from, x_stride, to, y_stride);
                else
                    transpose_edge(height, width, from, x_stride, to, y_stride);
            }
    }
}

void TT_FOR_LEVEL(tt_depthwise_int8)(size_t m, size_t first, size_t n, const uint8_t *const *patches,
                                     const size_t *offsets, size_t taps, const int8_t *w, size_t w_stride,
                                     const int32_t *start, int32_t *acc, size_t acc_stride);

const tt_quantize_kernels TT_FOR_LEVEL(tt_quantize) = {quantize, dequantize, quantize_group, prepare,
                                                           to_bytes, to_floats, add, convert, transpose,
                                                       TT_FOR_LEVEL(tt_depthwise_int8)};
