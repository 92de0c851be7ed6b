#include "lessons/lessons.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

typedef struct {
    size_t m, n, k;
} shape;

/* Around the tiles and blocks of every level, what is empty, and enough work for several threads. */
static const shape shapes[] = {
    {1, 1, 1},   {1, 33, 5},  {7, 1, 9},    {4, 4, 4},      {5, 17, 3},     {6, 16, 256},   {12, 32, 257},
    {13, 33, 8}, {8, 12, 64}, {65, 47, 31}, {130, 70, 300}, {245, 100, 40}, {300, 4100, 2}, {90, 90, 90},
    {0, 3, 2},   {3, 0, 2},   {3, 2, 0},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static float *transposed(const float *x, size_t rows, size_t columns)
{
    float *y = whole_numbers(rows * columns, 0);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) y[j * rows + i] = x[i * columns + j];
    return y;
}

static void expect_equal(const float *found, const float *expected, size_t n, shape s, const char *what)
{
    for (size_t i = 0; i < n; i++)
        CHECK(found[i] == expected[i], "%s of %zu x %zu x %zu, element %zu: %g instead of %g", what, s.m, s.n,
              s.k, i, found[i], expected[i]);
}

static void check_transposes(shape s, const float *a, const float *b, const float *expected)
{
    float *a_t = transposed(a, s.m, s.k), *b_t = transposed(b, s.k, s.n), *c = whole_numbers(s.m * s.n, 3);
    const tt_matrix as[2] = {{a, s.k, 1}, {a_t, 1, s.m}}, bs[2] = {{b, s.n, 1}, {b_t, 1, s.k}};
    for (int i = 0; i < 4; i++) {
        for (size_t t = 0; t < s.m * s.n; t++) c[t] = NAN; /* overwritten, never multiplied */
        CHECK(tt_matmul_f32(1, s.m, s.n, s.k, as[i / 2], 0, bs[i % 2], 0, c) == TT_OK, "memory");
        expect_equal(c, expected, s.m * s.n, s, "matmul");
    }
    free(a_t);
    free(b_t);
    free(c);
}

static void check_packed(shape s, const float *a, const float *b, const float *expected)
{
    size_t floats = tt_packed_size_f32(s.k, s.n);
    float *packed = whole_numbers(floats, 4), *again = whole_numbers(s.k * s.n, 5);
    float *bias = whole_numbers(s.n, 6), *y = whole_numbers(s.m * s.n, 7);
    tt_pack_f32(s.k, s.n, (tt_matrix){b, s.n, 1}, packed);
    tt_unpack_f32(s.k, s.n, packed, again);
    expect_equal(again, b, s.k * s.n, s, "unpacking");
    CHECK(tt_linear_f32(s.m, s.n, s.k, a, (tt_matrix){0}, packed, NULL, TT_NONE, y) == TT_OK, "memory");
    expect_equal(y, expected, s.m * s.n, s, "packed matmul");

    CHECK(tt_linear_f32(s.m, s.n, s.k, a, (tt_matrix){b, s.n, 1}, NULL, bias, TT_RELU, y) == TT_OK, "memory");
    for (size_t i = 0; i < s.m * s.n; i++) {
        float sum = expected[i] + bias[i % s.n];
        CHECK(y[i] == (sum > 0 ? sum : 0), "linear of %zu x %zu x %zu, element %zu", s.m, s.n, s.k, i);
    }
    free(packed);
    free(again);
    free(bias);
    free(y);
}

/* Five products, of which each operand in turn is one matrix for all. */
static void check_batch(shape s)
{
    enum { BATCH = 5 };
    size_t a_size = s.m * s.k, b_size = s.k * s.n, c_size = s.m * s.n;
    float *a = whole_numbers(BATCH * a_size, 8), *b = whole_numbers(BATCH * b_size, 9);
    float *c = whole_numbers(BATCH * c_size, 10), *expected = whole_numbers(c_size, 11);
    for (int shared = 0; shared < 3; shared++) {
        size_t a_step = shared == 1 ? 0 : a_size, b_step = shared == 2 ? 0 : b_size;
        tt_matrix left = {a, s.k, 1}, right = {b, s.n, 1};
        CHECK(tt_matmul_f32(BATCH, s.m, s.n, s.k, left, a_step, right, b_step, c) == TT_OK, "memory");
        for (size_t i = 0; i < BATCH; i++) {
            tt_matmul_plain(s.m, s.n, s.k, a + i * a_step, b + i * b_step, expected);
            expect_equal(c + i * c_size, expected, c_size, s, "batched matmul");
        }
    }
    free(a);
    free(b);
    free(c);
    free(expected);
}

void test_matmul(void)
{
    for (int i = 0; i < SHAPES; i++) {
        shape s = shapes[i];
        float *a = whole_numbers(s.m * s.k, 1), *b = whole_numbers(s.k * s.n, 2);
        float *expected = whole_numbers(s.m * s.n, 3);
        tt_matmul_plain(s.m, s.n, s.k, a, b, expected);
        check_transposes(s, a, b, expected);
        check_packed(s, a, b, expected);
        if (s.m * s.n * s.k < 100000) check_batch(s);
        free(a);
        free(b);
        free(expected);
    }
}
