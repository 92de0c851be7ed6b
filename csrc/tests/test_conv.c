/* Convolution and its gradients against the definition. */
#include "tests/test.h"
#include "tinytorch.h"

#include <math.h>
#include <string.h>

typedef struct {
    float *x, *w, *bias, *dy; /* given */
    float *y, *dx, *dw, *db;
} arrays;

static size_t taps_of(const tt_conv2d_shape *s) { return s->channels / s->groups * s->kernel_h * s->kernel_w; }
static size_t x_size(const tt_conv2d_shape *s) { return s->batch * s->channels * s->height * s->width; }
static size_t y_size(const tt_conv2d_shape *s) { return s->batch * s->outputs * s->out_h * s->out_w; }

/* Every product of one pixel of y, number p, and what it gives to each result. */
static void add_window(const tt_conv2d_shape *s, size_t b, size_t o, size_t i, size_t j, size_t p, arrays *a)
{
    size_t channels = s->channels / s->groups, group = o / (s->outputs / s->groups);
    size_t first = b * s->channels + group * channels;
    a->y[p] += a->bias[o];
    a->db[o] += a->dy[p];
    for (size_t t = 0; t < taps_of(s); t++) {
        size_t c = t / s->kernel_w / s->kernel_h, r = t / s->kernel_w % s->kernel_h, q = t % s->kernel_w;
        size_t row = i * s->stride_h + r * s->dilation_h - s->pad_h; /* wraps around to a large number */
        size_t column = j * s->stride_w + q * s->dilation_w - s->pad_w;
        if (row >= s->height || column >= s->width) continue;
        size_t at = ((first + c) * s->height + row) * s->width + column, weight = o * taps_of(s) + t;
        a->y[p] += a->w[weight] * a->x[at];
        a->dx[at] += a->w[weight] * a->dy[p];
        a->dw[weight] += a->x[at] * a->dy[p];
    }
}

static void define(const tt_conv2d_shape *s, arrays *a)
{
    size_t p = 0;
    for (size_t b = 0; b < s->batch; b++)
        for (size_t o = 0; o < s->outputs; o++)
            for (size_t i = 0; i < s->out_h; i++)
                for (size_t j = 0; j < s->out_w; j++) add_window(s, b, o, i, j, p++, a);
}

static float *filled(size_t n, float value)
{
    float *x = whole_numbers(n, 0);
    for (size_t i = 0; i < n; i++) x[i] = value;
    return x;
}

static arrays make(const tt_conv2d_shape *s, float value)
{
    size_t weights = s->outputs * taps_of(s);
    return (arrays){whole_numbers(x_size(s), 1), whole_numbers(weights, 2), whole_numbers(s->outputs, 3),
                    whole_numbers(y_size(s), 4), filled(y_size(s), value),  filled(x_size(s), value),
                    filled(weights, value),      filled(s->outputs, value)};
}

static void drop(arrays *a)
{
    free(a->x), free(a->w), free(a->bias), free(a->dy), free(a->y), free(a->dx), free(a->dw), free(a->db);
}

static void expect_equal(const float *found, const float *expected, size_t n, const char *what, int shape)
{
    for (size_t i = 0; i < n; i++)
        CHECK(found[i] == expected[i], "%s of shape %d, element %zu: %g instead of %g", what, shape, i, found[i],
              expected[i]);
}

static void check(tt_conv2d_shape s, int shape)
{
    s.out_h = (s.height + 2 * s.pad_h - s.dilation_h * (s.kernel_h - 1) - 1) / s.stride_h + 1;
    s.out_w = (s.width + 2 * s.pad_w - s.dilation_w * (s.kernel_w - 1) - 1) / s.stride_w + 1;
    arrays a = make(&s, NAN), expected = make(&s, 0.0f);
    define(&s, &expected);
    CHECK(tt_conv2d_f32(&s, a.x, a.w, NULL, a.bias, TT_NONE, a.y) == TT_OK, "memory");
    expect_equal(a.y, expected.y, y_size(&s), "y", shape);
    CHECK(tt_conv2d_backward_f32(&s, a.dy, a.x, a.w, a.dx, a.dw, a.db) == TT_OK, "memory");
    expect_equal(a.dx, expected.dx, x_size(&s), "dx", shape);
    expect_equal(a.dw, expected.dw, s.outputs * taps_of(&s), "dw", shape);
    expect_equal(a.db, expected.db, s.outputs, "db", shape);

    float *packed = whole_numbers(tt_conv2d_packed_size_f32(s.outputs, taps_of(&s), s.groups), 5);
    tt_conv2d_pack_f32(s.outputs, taps_of(&s), s.groups, a.w, packed);
    CHECK(tt_conv2d_f32(&s, a.x, NULL, packed, a.bias, TT_RELU, a.y) == TT_OK, "memory");
    for (size_t i = 0; i < y_size(&s); i++) expected.y[i] = expected.y[i] > 0 ? expected.y[i] : 0;
    expect_equal(a.y, expected.y, y_size(&s), "y of packed weights", shape);
    tt_conv2d_unpack_f32(s.outputs, taps_of(&s), s.groups, packed, a.dw);
    expect_equal(a.dw, a.w, s.outputs * taps_of(&s), "unpacking", shape);
    free(packed);
    drop(&a), drop(&expected);
}

/* batch, channels, height, width, outputs, groups, kernel, stride, padding, dilation */
static const size_t shapes[][14] = {
    {2, 3, 12, 19, 33, 1, 3, 3, 1, 1, 1, 1, 1, 1}, /* the tile */
    {1, 20, 9, 7, 18, 1, 1, 1, 1, 1, 0, 0, 1, 1},
    {1, 6, 11, 13, 34, 2, 3, 2, 2, 3, 2, 1, 1, 2},
    {2, 5, 14, 14, 5, 5, 3, 3, 1, 1, 1, 1, 1, 1}, /* depthwise: rows within a vector, of a few, of many */
    {1, 3, 5, 70, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1},
    {1, 4, 9, 37, 4, 4, 2, 5, 2, 3, 1, 2, 3, 1},
    {1, 2, 6, 5, 2, 2, 1, 1, 1, 1, 0, 0, 1, 1},
    {1, 1, 1, 300, 1, 1, 1, 9, 1, 1, 0, 4, 1, 1},
    {1, 3, 40, 500, 3, 1, 3, 3, 1, 1, 1, 1, 1, 1}, /* few outputs: several bands, the channels in parts */
    {2, 6, 90, 130, 6, 2, 3, 1, 2, 1, 1, 0, 2, 1},
    {0, 2, 4, 4, 2, 1, 2, 2, 1, 1, 0, 0, 1, 1}, /* nothing to sum, or to sum over */
    {1, 0, 4, 4, 2, 1, 2, 2, 1, 1, 0, 0, 1, 1},
};

void test_conv(void)
{
    for (int i = 0; i < (int)(sizeof shapes / sizeof shapes[0]); i++) {
        const size_t *n = shapes[i];
        check((tt_conv2d_shape){.batch = n[0], .channels = n[1], .height = n[2], .width = n[3], .outputs = n[4],
                                .groups = n[5], .kernel_h = n[6], .kernel_w = n[7], .stride_h = n[8],
                                .stride_w = n[9], .pad_h = n[10], .pad_w = n[11], .dilation_h = n[12],
                                .dilation_w = n[13]},
              i);
    }
}
