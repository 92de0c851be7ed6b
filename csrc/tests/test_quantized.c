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
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
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
    for (size_t i = 0; i < n; i++)
        bytes[i] = extreme ? (uint8_t)(random_below(2) ? 255 : 128) : (uint8_t)random_bits();
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

/* Where element (n, c, y, x) of images (channels, height, width) lies. */
static size_t at(tt_layout layout, const size_t size[3], size_t n, size_t c, size_t y, size_t x)
{
    if (layout == TT_NCHW) return ((n * size[0] + c) * size[1] + y) * size[2] + x;
    return ((n * size[1] + y) * size[2] + x) * size[0] + c;
}

static tt_conv2d_shape random_shape(void)
{
    size_t groups = 1 + random_below(3);
    tt_conv2d_shape s = {.batch = random_below(4),
                         .channels = groups * random_below(9),
                         .outputs = groups * random_below(40),
                         .kernel_h = 1 + random_below(3),
                         .kernel_w = 1 + random_below(3),
                         .stride_h = 1 + random_below(2),
                         .stride_w = 1 + random_below(3),
                         .pad_h = random_below(3),
                         .pad_w = random_below(3),
                         .dilation_h = 1 + random_below(2),
                         .dilation_w = 1 + random_below(3),
                         .groups = groups};
    if (random_below(4) == 0) s.outputs = s.channels = s.groups = 1 + random_below(40); /* depthwise */
    s.height = s.dilation_h * (s.kernel_h - 1) + 1 + random_below(12);
    s.width = s.dilation_w * (s.kernel_w - 1) + 1 + random_below(20);
    s.out_h = (s.height + 2 * s.pad_h - s.dilation_h * (s.kernel_h - 1) - 1) / s.stride_h + 1;
    s.out_w = (s.width + 2 * s.pad_w - s.dilation_w * (s.kernel_w - 1) - 1) / s.stride_w + 1;
    return s;
}

/* The sum at output pixel (i, j) of channel o. */
static int32_t convolution_sum(const tt_conv2d_shape *s, tt_layout layout, tt_quantized x, const int8_t *w,
                               size_t image, size_t o, size_t i, size_t j)
{
    size_t each = s->channels / s->groups, first = o / (s->outputs / s->groups) * each;
    size_t size[3] = {s->channels, s->height, s->width};
    int32_t sum = 0;
    for (size_t c = 0; c < each; c++)
        for (size_t r = 0; r < s->kernel_h; r++)
            for (size_t t = 0; t < s->kernel_w; t++, w++) {
                size_t row = i * s->stride_h + r * s->dilation_h - s->pad_h; /* wraps beyond the border */
                size_t column = j * s->stride_w + t * s->dilation_w - s->pad_w;
                if (row >= s->height || column >= s->width) continue;
                size_t element = at(layout, size, image, first + c, row, column);
                sum += (value(x.data, element, x.is_signed) - x.zero_point) * *w;
            }
    return sum;
}

static void check_conv2d(void)
{
    tt_conv2d_shape s = random_shape();
    tt_conv2d_form form = {(tt_layout)random_below(2), (tt_layout)random_below(2),
                           1 + random_below(smaller(s.out_h, 4)), 1 + random_below(smaller(s.out_w, 4))};
    size_t taps = s.channels / s.groups * s.kernel_h * s.kernel_w;
    size_t size[3] = {s.outputs, s.out_h / form.pool_h, s.out_w / form.pool_w};
    tt_quantized x = random_input(s.batch * s.channels * s.height * s.width);
    uint8_t *w = random_bytes(s.outputs * taps), *back = allocate(s.outputs * taps);
    uint8_t *y = allocate(s.batch * size[0] * size[1] * size[2]);
    uint8_t *packed = allocate(tt_conv2d_packed_bytes_int8(&s));
    float *scale = random_floats(s.outputs, 0.001f, 0.01f), *bias = random_floats(s.outputs, -3.0f, 3.0f);
    tt_result result = {.type = random_below(2) ? TT_INT8 : TT_UINT8,
                        .activation = random_below(2) ? TT_RELU : TT_NONE,
                        .scale = 0.3f,
                        .y = y};
    result.zero_point = (int)random_below(256) - (result.type == TT_INT8 ? 128 : 0);

    CHECK(tt_conv2d_pack_int8(&s, (int8_t *)w, packed) == TT_OK, "memory");
    CHECK(tt_conv2d_unpack_int8(&s, packed, (int8_t *)back) == TT_OK, "memory");
    CHECK(memcmp(w, back, s.outputs * taps) == 0, "unpacked weights");
    CHECK(tt_conv2d_int8(&s, &form, x, packed, scale, bias, result) == TT_OK, "memory");
    for (size_t n = 0; n < s.batch; n++)
        for (size_t o = 0; o < size[0]; o++)
            for (size_t i = 0; i < size[1] * size[2]; i++) {
                size_t row = i / size[2], column = i % size[2];
                int expected = -1000;
                for (size_t p = 0; p < form.pool_h * form.pool_w; p++) {
                    int32_t sum = convolution_sum(&s, form.x_layout, x, (int8_t *)w + o * taps, n, o,
                                                  row * form.pool_h + p / form.pool_w,
                                                  column * form.pool_w + p % form.pool_w);
                    int one = requantize(sum, x.scale * scale[o], bias[o], &result);
                    expected = one > expected ? one : expected;
                }
                int found = value(y, at(form.y_layout, size, n, o, row, column), result.type == TT_INT8);
                CHECK(found == expected, "convolution, image %d, channel %d, pixel %d", (int)n, (int)o,
                      (int)i);
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
        CHECK(y[i] == (expected > 0 ? expected : 0), "linear of %d x %d x %d, element %d", (int)m, (int)k,
              (int)n, (int)i);
    }
    free((void *)x.data), free(w), free(packed), free(scale), free(bias), free(y);
}

static void check_int4(void)
{
    size_t m = random_below(20), k = random_below(200), n = random_below(40);
    size_t group = 32 * (1 + random_below(3));
    int quantize_x = (int)random_below(2);
    float *x = random_floats(m * k, -1.0f, 1.0f), *w = random_floats(k * n, -1.0f, 1.0f);
    float *bias = random_floats(n, -1.0f, 1.0f), *y = allocate(m * n * sizeof *y);
    uint8_t *packed = allocate(tt_packed_bytes_int4(k, n, group));
    CHECK(tt_pack_int4(k, n, group, w, packed) == TT_OK, "memory");
    tt_unpack_int4(k, n, group, packed, w);
    CHECK(tt_linear_int4(m, n, k, group, x, quantize_x, packed, bias, y) == TT_OK, "memory");
    for (size_t i = 0; i < m * n; i++) {
        double sum = bias[i % n], weights = 0;
        for (size_t d = 0; d < k; d++) {
            sum += (double)x[i / n * k + d] * w[d * n + i % n];
            weights += fabs(w[d * n + i % n]);
        }
        /* |x| is at most 1 */
        double bound = quantize_x ? weights / 254 + 1e-4 : 2 * ((double)k + 2) * 0x1p-24 * (weights + 1);
        CHECK(fabs(y[i] - sum) <= bound, "INT4 linear of %d x %d x %d, element %d", (int)m, (int)k, (int)n,
              (int)i);
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
