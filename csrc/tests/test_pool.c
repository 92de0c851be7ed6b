#include "tests/test.h"
#include "tinytorch.h"

#include <math.h>
#include <string.h>

/* Windows side by side, overlapping at a stride of 1, over a whole plane, with padding, apart from each other. */
static const tt_pool2d_shape shapes[] = {
    {.height = 8, .width = 70, .kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2},
    {.height = 7, .width = 5, .kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2},
    {.height = 9, .width = 37, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1},
    {.height = 6, .width = 19, .kernel_h = 2, .kernel_w = 5, .stride_h = 3, .stride_w = 1, .pad_h = 1, .pad_w = 2},
    {.height = 9, .width = 40, .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1},
    {.height = 7, .width = 7, .kernel_h = 7, .kernel_w = 7, .stride_h = 7, .stride_w = 7},
    {.height = 9, .width = 8, .kernel_h = 9, .kernel_w = 8, .stride_h = 1, .stride_w = 1},
    {.height = 11, .width = 20, .kernel_h = 1, .kernel_w = 2, .stride_h = 4, .stride_w = 5},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], PLANES = 67 };

static void expect_close(const float *found, const float *expected, size_t n, int shape, const char *what)
{
    for (size_t i = 0; i < n; i++)
        CHECK(fabsf(found[i] - expected[i]) <= 1e-5f * fabsf(expected[i]),
              "%s of shape %d, element %zu: %g instead of %g", what, shape, i, found[i], expected[i]);
}

/* The window of y at (i, j) in plain loops: its maximum, the place of that, its sum; and where dy goes. */
static void pool_plainly(const tt_pool2d_shape *s, const float *x, size_t i, size_t j, float dy, float *most,
                         size_t *place, float *sum, float *max_dx, float *mean_dx)
{
    size_t chosen = 0;
    *most = -INFINITY, *sum = 0;
    for (size_t r = 0; r < s->kernel_h; r++)
        for (size_t c = 0; c < s->kernel_w; c++) {
            size_t row = i * s->stride_h + r - s->pad_h, column = j * s->stride_w + c - s->pad_w;
            if (row >= s->height || column >= s->width) continue; /* padding: what is below 0 is huge */
            size_t at = row * s->width + column;
            *sum += x[at];
            mean_dx[at] += dy / (float)(s->kernel_h * s->kernel_w);
            if (x[at] > *most) *most = x[at], *place = r * s->width + c, chosen = at;
        }
    max_dx[chosen] += dy;
}

static void check(int index)
{
    tt_pool2d_shape s = shapes[index];
    s.planes = PLANES;
    s.out_h = (s.height + 2 * s.pad_h - s.kernel_h) / s.stride_h + 1;
    s.out_w = (s.width + 2 * s.pad_w - s.kernel_w) / s.stride_w + 1;
    size_t size = s.height * s.width, out = s.out_h * s.out_w, n = PLANES * size, m = PLANES * out;
    float *x = whole_numbers(n, 1), *dy = whole_numbers(m, 2), *y = whole_numbers(m, 3), *dx = whole_numbers(n, 4);
    float *most = whole_numbers(m, 0), *mean = whole_numbers(m, 0);
    float *max_dx = calloc(n, sizeof *max_dx), *mean_dx = calloc(n, sizeof *mean_dx);
    uint16_t *places = malloc(m * sizeof *places);
    CHECK(max_dx && mean_dx && places, "out of memory");

    CHECK(tt_max_pool2d_f32(&s, x, y, places) == TT_OK, "memory");
    for (size_t k = 0; k < m; k++) {
        size_t plane = k / out, place = 0;
        pool_plainly(&s, x + plane * size, k % out / s.out_w, k % s.out_w, dy[k], &most[k], &place, &mean[k],
                     max_dx + plane * size, mean_dx + plane * size);
        mean[k] /= (float)(s.kernel_h * s.kernel_w);
        CHECK(places[k] == place, "shape %d, window %zu: %u instead of %zu", index, k, places[k], place);
    }
    expect_close(y, most, m, index, "max_pool2d with places");
    CHECK(tt_max_pool2d_f32(&s, x, y, NULL) == TT_OK, "memory");
    expect_close(y, most, m, index, "max_pool2d");
    CHECK(tt_max_pool2d_backward_f32(&s, dy, x, places, dx) == TT_OK, "memory");
    expect_close(dx, max_dx, n, index, "max_pool2d_backward with places");
    CHECK(tt_max_pool2d_backward_f32(&s, dy, x, NULL, dx) == TT_OK, "memory");
    expect_close(dx, max_dx, n, index, "max_pool2d_backward");
    CHECK(tt_avg_pool2d_f32(&s, x, y) == TT_OK, "memory");
    expect_close(y, mean, m, index, "avg_pool2d");
    CHECK(tt_avg_pool2d_backward_f32(&s, dy, dx) == TT_OK, "memory");
    for (size_t k = 0; k < n; k++)
        CHECK(fabsf(dx[k] - mean_dx[k]) <= 1e-5f, "avg_pool2d_backward of shape %d, element %zu: %g instead of %g",
              index, k, dx[k], mean_dx[k]);

    for (size_t k = 0; k < m; k += m / 5) {
        uint16_t right = places[k];
        places[k] = (uint16_t)(k % 2 ? UINT16_MAX : s.kernel_h * s.width);
        CHECK(tt_max_pool2d_backward_f32(&s, dy, x, places, dx) == TT_BAD_VALUE, "a place below the window");
        places[k] = right;
    }
    void *all[] = {x, dy, y, dx, most, mean, max_dx, mean_dx, places};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static void check_bytes(int index)
{
    tt_pool2d_shape s = shapes[index];
    s.planes = PLANES;
    s.out_h = (s.height + 2 * s.pad_h - s.kernel_h) / s.stride_h + 1;
    s.out_w = (s.width + 2 * s.pad_w - s.kernel_w) / s.stride_w + 1;
    size_t n = PLANES * s.height * s.width, m = PLANES * s.out_h * s.out_w;
    float *x = whole_numbers(n, 1), *y = whole_numbers(m, 0);
    int8_t *bytes = malloc(n), *pooled = malloc(m);
    CHECK(bytes && pooled, "out of memory");
    for (size_t i = 0; i < n; i++) bytes[i] = (int8_t)x[i];
    CHECK(tt_max_pool2d_f32(&s, x, y, NULL) == TT_OK, "memory");
    CHECK(tt_max_pool2d_int8(&s, (const uint8_t *)bytes, 1, (uint8_t *)pooled) == TT_OK, "memory");
    for (size_t i = 0; i < m; i++)
        CHECK((float)pooled[i] == y[i], "bytes of shape %d, element %zu: %d instead of %g", index, i, pooled[i], y[i]);
    free(x);
    free(y);
    free(bytes);
    free(pooled);
}

void test_pool(void)
{
    for (int i = 0; i < SHAPES; i++) {
        check(i);
        check_bytes(i);
    }
}
