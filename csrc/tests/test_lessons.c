/* Every step of every ladder against its step 0. */
#include "lessons/lessons.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

typedef struct {
    size_t m, n, k;
} shape;

static const shape shapes[] = {{1, 1, 1}, {2, 3, 5}, {5, 17, 64}, {7, 33, 65}, {13, 31, 63}, {150, 70, 300},
                               {0, 3, 2}, {3, 0, 2}, {3, 2, 0}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void expect_same(const void *found, const void *expected, size_t bytes, tt_ladder ladder, const char *name)
{
    CHECK(bytes == 0 || memcmp(found, expected, bytes) == 0, "%s, step %s", tt_ladder_name(ladder), name);
}

static void check_matmul(shape s)
{
    float *a = whole_numbers(s.m * s.k, 1), *b = whole_numbers(s.k * s.n, 2);
    float *expected = whole_numbers(s.m * s.n, 3), *c = whole_numbers(s.m * s.n, 4);
    tt_matmul_plain(s.m, s.n, s.k, a, b, expected);
    for (int i = 1; i < tt_ladder_steps(TT_MATMUL_LADDER); i++) {
        tt_lesson step = tt_ladder_step(TT_MATMUL_LADDER, i);
        for (size_t t = 0; t < s.m * s.n; t++) c[t] = NAN;
        CHECK(step.matmul(s.m, s.n, s.k, a, b, c) == TT_OK, "memory");
        expect_same(c, expected, s.m * s.n * sizeof *c, TT_MATMUL_LADDER, step.name);
    }
    free(a), free(b), free(expected), free(c);
}

static uint8_t *bytes(size_t n, unsigned seed)
{
    uint8_t *x = malloc(n + !n);
    CHECK(x, "out of memory");
    for (size_t i = 0; i < n; i++) x[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    return x;
}

static void check_matmul_int8(shape s)
{
    uint8_t *a = bytes(s.m * s.k, 1), *b = bytes(s.k * s.n, 2);
    int32_t *expected = malloc(s.m * s.n * sizeof *expected + 1), *c = malloc(s.m * s.n * sizeof *c + 1);
    CHECK(expected && c, "out of memory");
    tt_matmul_int8_plain(s.m, s.n, s.k, a, (int8_t *)b, expected);
    for (int i = 1; i < tt_ladder_steps(TT_MATMUL_INT8_LADDER); i++) {
        tt_lesson step = tt_ladder_step(TT_MATMUL_INT8_LADDER, i);
        memset(c, 0x77, s.m * s.n * sizeof *c);
        CHECK(step.matmul_int8(s.m, s.n, s.k, a, (int8_t *)b, c) == TT_OK, "memory");
        expect_same(c, expected, s.m * s.n * sizeof *c, TT_MATMUL_INT8_LADDER, step.name);
    }
    free(a), free(b), free(expected), free(c);
}

/* w (m, k) in blocks of r rows, every block that holds something other than zeros. */
typedef struct {
    float *values;
    uint16_t *indices;
    int32_t *row_pointers;
} compressed;

static compressed compress(shape s, const float *w, size_t r)
{
    size_t block_rows = (s.m + r - 1) / r;
    compressed c = {calloc(block_rows * s.k * r + 1, sizeof *c.values), malloc(block_rows * s.k * 2 + 1),
                    calloc(block_rows + 1, sizeof *c.row_pointers)};
    CHECK(c.values && c.indices && c.row_pointers, "out of memory");
    int32_t blocks = 0;
    for (size_t i = 0; i < block_rows; i++) {
        for (size_t p = 0; p < s.k; p++) {
            int any = 0;
            for (size_t row = i * r; row < s.m && row < (i + 1) * r; row++) {
                c.values[(size_t)blocks * r + row - i * r] = w[row * s.k + p];
                any |= w[row * s.k + p] != 0.0f;
            }
            c.indices[blocks] = (uint16_t)p;
            blocks += any; /* a block of zeros is overwritten by the next */
        }
        c.row_pointers[i + 1] = blocks;
    }
    return c;
}

static void check_sparse_matmul(shape s)
{
    float *w = whole_numbers(s.m * s.k, 1), *x = whole_numbers(s.k * s.n, 2);
    float *expected = whole_numbers(s.m * s.n, 3), *c = whole_numbers(s.m * s.n, 4);
    for (size_t t = 0; t < s.m * s.k; t++) w[t] = t / 3 % 3 ? 0.0f : w[t];
    tt_sparse_matrix dense = {.m = s.m, .k = s.k, .values = w};
    tt_sparse_matmul_dense(&dense, s.n, x, expected);
    for (int i = 1; i < tt_ladder_steps(TT_SPARSE_MATMUL_LADDER); i++) {
        tt_lesson step = tt_ladder_step(TT_SPARSE_MATMUL_LADDER, i);
        size_t r = step.block_rows ? (size_t)step.block_rows : 1;
        compressed parts = compress(s, w, r);
        tt_sparse_matrix sparse = {.m = s.m, .k = s.k, .r = r, .values = parts.values, .indices = parts.indices,
                                   .row_pointers = parts.row_pointers};
        for (size_t t = 0; t < s.m * s.n; t++) c[t] = NAN;
        CHECK(step.sparse_matmul(step.block_rows ? &sparse : &dense, s.n, x, c) == TT_OK, "memory");
        for (size_t t = 0; t < s.m * s.n; t++) c[t] += 0.0f; /* -0 is 0 */
        expect_same(c, expected, s.m * s.n * sizeof *c, TT_SPARSE_MATMUL_LADDER, step.name);
        free(parts.values), free(parts.indices), free(parts.row_pointers);
    }
    free(w), free(x), free(expected), free(c);
}

static void check_conv2d(tt_conv2d_shape s)
{
    s.out_h = (s.height + 2 * s.pad_h - s.kernel_h) / s.stride_h + 1;
    s.out_w = (s.width + 2 * s.pad_w - s.kernel_w) / s.stride_w + 1;
    s.dilation_h = s.dilation_w = s.groups = 1;
    size_t size = s.batch * s.outputs * s.out_h * s.out_w;
    float *x = whole_numbers(s.batch * s.channels * s.height * s.width, 1);
    float *w = whole_numbers(s.outputs * s.channels * s.kernel_h * s.kernel_w, 2);
    float *expected = whole_numbers(size, 3), *y = whole_numbers(size, 4);
    tt_conv2d_plain(&s, x, w, expected);
    for (int i = 1; i < tt_ladder_steps(TT_CONV2D_LADDER); i++) {
        tt_lesson step = tt_ladder_step(TT_CONV2D_LADDER, i);
        for (size_t t = 0; t < size; t++) y[t] = NAN;
        CHECK(step.conv2d(&s, x, w, y) == TT_OK, "memory");
        for (size_t t = 0; t < size; t++) y[t] += 0.0f; /* -0 is 0 */
        for (size_t t = 0; t < size; t++) expected[t] += 0.0f;
        expect_same(y, expected, size * sizeof *y, TT_CONV2D_LADDER, step.name);
    }
    free(x), free(w), free(expected), free(y);
}

static void check_attention(size_t heads, size_t t, size_t s, size_t d, int causal)
{
    size_t size = heads * t * d;
    float *q = whole_numbers(size, 1), *k = whole_numbers(heads * s * d, 2), *v = whole_numbers(heads * s * d, 3);
    float *expected = whole_numbers(size, 4), *y = whole_numbers(size, 5);
    tt_attention_heads x = {heads, t, s, d, causal, q, k, v};
    CHECK(tt_attention_plain(&x, expected) == TT_OK, "memory");
    for (int i = 1; i < tt_ladder_steps(TT_ATTENTION_LADDER); i++) {
        tt_lesson step = tt_ladder_step(TT_ATTENTION_LADDER, i);
        for (size_t j = 0; j < size; j++) y[j] = NAN;
        CHECK(step.attention(&x, y) == TT_OK, "memory");
        for (size_t j = 0; j < size; j++)
            CHECK(fabsf(y[j] - expected[j]) < 2e-5f, "attention, step %s: %g, not %g", step.name, y[j], expected[j]);
    }
    free(q), free(k), free(v), free(expected), free(y);
}

void test_lessons(void)
{
    for (int i = 0; i < SHAPES; i++) {
        check_matmul(shapes[i]);
        check_matmul_int8(shapes[i]);
        check_sparse_matmul(shapes[i]);
    }
    static const tt_conv2d_shape windows[] = {
        {.batch = 1, .channels = 1, .height = 1, .width = 1, .outputs = 1, .kernel_h = 1, .kernel_w = 1,
         .stride_h = 1, .stride_w = 1},
        {.batch = 2, .channels = 3, .height = 11, .width = 37, .outputs = 9, .kernel_h = 3, .kernel_w = 3,
         .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1},
        {.batch = 1, .channels = 2, .height = 9, .width = 10, .outputs = 3, .kernel_h = 2, .kernel_w = 5,
         .stride_h = 3, .stride_w = 2, .pad_h = 4, .pad_w = 7},
        {.batch = 1, .channels = 0, .height = 4, .width = 4, .outputs = 2, .kernel_h = 2, .kernel_w = 2,
         .stride_h = 1, .stride_w = 1},
        {.batch = 0, .channels = 2, .height = 4, .width = 4, .outputs = 2, .kernel_h = 2, .kernel_w = 2,
         .stride_h = 1, .stride_w = 1},
    };
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) check_conv2d(windows[i]);
    for (int causal = 0; causal < 2; causal++) {
        check_attention(1, 1, 1, 1, causal);
        check_attention(2, 37, 37, 9, causal);
        check_attention(1, 5, 150, 16, causal);
        check_attention(1, 3, 0, 4, causal);
        check_attention(2, 0, 3, 4, causal);
    }
}
