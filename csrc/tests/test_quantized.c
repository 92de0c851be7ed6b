/* INT8 and INT4 against the plain sums that define them, over random shapes. */
#include "tests/test.h"
#include "tinytorch.h"

#include <math.h>
#include <string.h>

static uint32_t state = 1;

static uint32_t random_bits(void) /* Marsaglia's xorshift */
{
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static size_t random_below(size_t n) { return random_bits() % n; }
static float random_float(void) { return (float)random_bits() / 2147483648.0f - 1.0f; }

static void *allocate(size_t bytes) /* exactly so many, so that a sanitizer sees every byte too far */
{
    void *memory = malloc(bytes + !bytes);
    CHECK(memory, "out of memory");
    return memory;
}

static uint8_t *random_bytes(size_t n)
{
    uint8_t *bytes = allocate(n);
    int extreme = random_below(4) == 0; /* the largest products, which a narrow sum would not hold */
    for (size_t i = 0; i < n; i++) bytes[i] = extreme ? (uint8_t)(random_below(2) ? 255 : 128) : (uint8_t)random_bits();
    return bytes;
}

static float *random_floats(size_t n, float low, float high)
{
    float *x = allocate(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = low + (high - low) * 0.5f * (random_float() + 1.0f);
    return x;
}

static int value(const uint8_t *x, size_t i, int is_signed) { return is_signed ? (int8_t)x[i] : x[i]; }

/* What the requantization of tinytorch.h yields, element by element. */
static int requantize(int32_t sum, float scale, float bias, const tt_result *result)
{
    float limit = 1073741824.0f, units = rintf(bias / scale);
    sum += (int32_t)(units < -limit ? -limit : units > limit ? limit : units);
    float q = rintf((float)sum * (scale / result->scale)) + (float)result->zero_point;
    float low = result->type == TT_INT8 ? -128.0f : 0.0f, high = low + 255.0f;
    if (result->activation == TT_RELU) low = (float)result->zero_point;
    return (int)(q < low ? low : q > high ? high : q);
}

static void check_matmul(void)
{
    size_t m = random_below(30), k = random_below(150), n = random_below(70);
    int is_signed = (int)random_below(2);
    uint8_t *a = random_bytes(m * k), *b = random_bytes(k * n);
    int32_t *c = allocate(m * n * sizeof *c);
    CHECK(tt_matmul_int8(m, n, k, a, is_signed, (int8_t *)b, c) == TT_OK, "memory");
    for (size_t i = 0; i < m * n; i++) {
        int32_t sum = 0;
        for (size_t d = 0; d < k; d++) sum += value(a, i / n * k + d, is_signed) * (int8_t)b[d * n + i % n];
        CHECK(c[i] == sum, "matmul of %d x %d x %d, element %d", (int)m, (int)k, (int)n, (int)i);
    }
    free(a), free(b), free(c);
}

static tt_quantized random_input(size_t n)
{
    tt_quantized x = {.is_signed = (int)random_below(2), .scale = 0.013f};
    x.data = random_bytes(n);
    x.zero_point = (int)random_below(256) - (x.is_signed ? 128 : 0);
    return x;
}

static void check_conv2d(void)
{
    size_t groups = 1 + random_below(3), each = random_below(9), kh = 1 + random_below(3), kw = 1 + random_below(3);
    tt_conv2d_shape s = {.batch = random_below(4), .channels = groups * each, .outputs = groups * random_below(40),
                         .kernel_h = kh, .kernel_w = kw, .stride_h = 1 + random_below(2), .stride_w = 1 + random_below(3),
                         .pad_h = random_below(3), .pad_w = random_below(3), .dilation_h = 1 + random_below(2),
                         .dilation_w = 1 + random_below(3), .groups = groups};
    s.height = s.dilation_h * (kh - 1) + 1 + random_below(12);
    s.width = s.dilation_w * (kw - 1) + 1 + random_below(20);
    s.out_h = (s.height + 2 * s.pad_h - s.dilation_h * (kh - 1) - 1) / s.stride_h + 1;
    s.out_w = (s.width + 2 * s.pad_w - s.dilation_w * (kw - 1) - 1) / s.stride_w + 1;
    size_t taps = each * kh * kw, pixels = s.out_h * s.out_w, size = s.batch * s.outputs * pixels;
    tt_quantized x = random_input(s.batch * s.channels * s.height * s.width);
    uint8_t *w = random_bytes(s.outputs * taps), *back = allocate(s.outputs * taps), *y = allocate(size);
    uint8_t *packed = allocate(tt_conv2d_packed_bytes_int8(&s));
    float *scale = random_floats(s.outputs, 0.001f, 0.01f), *bias = random_floats(s.outputs, -3.0f, 3.0f);
    tt_result result = {.type = random_below(2) ? TT_INT8 : TT_UINT8, .activation = random_below(2) ? TT_RELU : TT_NONE,
                        .scale = 0.3f, .y = y};
    result.zero_point = (int)random_below(256) - (result.type == TT_INT8 ? 128 : 0);

    CHECK(tt_conv2d_pack_int8(&s, (int8_t *)w, packed) == TT_OK, "memory");
    CHECK(tt_conv2d_unpack_int8(&s, packed, (int8_t *)back) == TT_OK, "memory");
    CHECK(memcmp(w, back, s.outputs * taps) == 0, "unpacked weights");
    CHECK(tt_conv2d_int8(&s, x, packed, scale, bias, result) == TT_OK, "memory");
    for (size_t i = 0; i < size; i++) {
        size_t o = i / pixels % s.outputs, image = i / pixels / s.outputs, group = o / (s.outputs / groups);
        int32_t sum = 0;
        for (size_t t = 0; t < taps; t++) {
            size_t c = group * each + t / (kh * kw);
            size_t row = i % pixels / s.out_w * s.stride_h + t / kw % kh * s.dilation_h;
            size_t column = i % s.out_w * s.stride_w + t % kw * s.dilation_w;
            if (row < s.pad_h || row >= s.pad_h + s.height || column < s.pad_w || column >= s.pad_w + s.width) continue;
            size_t at = ((image * s.channels + c) * s.height + row - s.pad_h) * s.width + column - s.pad_w;
            sum += (value(x.data, at, x.is_signed) - x.zero_point) * (int8_t)w[o * taps + t];
        }
        int expected = requantize(sum, x.scale * scale[o], bias[o], &result);
        CHECK(value(y, i, result.type == TT_INT8) == expected, "convolution, element %d", (int)i);
    }
    free((void *)x.data), free(w), free(back), free(y), free(packed), free(scale), free(bias);
}

static void check_linear(void)
{
    size_t m = random_below(30), k = random_below(150), n = random_below(70);
    tt_quantized x = random_input(m * k);
    uint8_t *w = random_bytes(k * n), *packed = allocate(tt_packed_bytes_int8(k, n));
    float *scale = random_floats(n, 0.001f, 0.01f), *bias = random_floats(n, -3.0f, 3.0f);
    float *y = allocate(m * n * sizeof *y);
    tt_result result = {.type = TT_FLOAT32, .activation = TT_RELU, .y = y};
    tt_pack_int8(k, n, (int8_t *)w, packed);
    CHECK(tt_linear_int8(m, n, k, x, packed, scale, bias, result) == TT_OK, "memory");
    for (size_t i = 0; i < m * n; i++) {
        int32_t sum = 0;
        for (size_t d = 0; d < k; d++)
            sum += (value(x.data, i / n * k + d, x.is_signed) - x.zero_point) * (int8_t)w[d * n + i % n];
        float expected = (float)sum * (x.scale * scale[i % n]) + bias[i % n];
        CHECK(y[i] == (expected > 0 ? expected : 0), "linear of %d x %d x %d, element %d", (int)m, (int)k, (int)n, (int)i);
    }
    free((void *)x.data), free(w), free(packed), free(scale), free(bias), free(y);
}

static void check_int4(void)
{
    size_t m = random_below(20), k = random_below(200), n = random_below(40), group = 32 * (1 + random_below(3));
    float *x = random_floats(m * k, -1.0f, 1.0f), *w = random_floats(k * n, -1.0f, 1.0f);
    float *bias = random_floats(n, -1.0f, 1.0f), *y = allocate(m * n * sizeof *y);
    uint8_t *packed = allocate(tt_packed_bytes_int4(k, n, group));
    CHECK(tt_pack_int4(k, n, group, w, packed) == TT_OK, "memory");
    tt_unpack_int4(k, n, group, packed, w);
    CHECK(tt_linear_int4(m, n, k, group, x, packed, bias, y) == TT_OK, "memory");
    for (size_t i = 0; i < m * n; i++) {
        double sum = bias[i % n], weights = 0;
        for (size_t d = 0; d < k; d++) {
            sum += (double)x[i / n * k + d] * w[d * n + i % n];
            weights += fabs(w[d * n + i % n]);
        }
        /* |x| is at most 1 */
            CHECK(fabs(y[i] - sum) <= weights / 254 + 1e-4, "INT4 linear of %d x %d x %d, element %d", (int)m, (int)k, (int)n, (int)i);
    }
    free(x), free(w), free(bias), free(y), free(packed);
}

void test_quantized(void)
{
    for (int round = 0; round < 20; round++) {
        check_matmul();
        check_linear();
        check_conv2d();
        check_int4();
    }
}
