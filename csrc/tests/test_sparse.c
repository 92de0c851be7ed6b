#include "tests/test.h"
#include "tinytorch.h"

#include <math.h>
#include <string.h>

typedef struct {
    size_t m, n, k, r;
} shape;

/* Around the panels, strips, vectors, windows and blocks of depth of every level, and what is empty. */
static const shape shapes[] = {
    {1, 1, 1, 1},    {37, 1, 60, 1},    {37, 1, 60, 2},   {37, 1, 60, 4},   {37, 1, 60, 8},   {37, 1, 60, 16},
    {37, 2, 60, 1},  {37, 3, 60, 2},    {37, 15, 60, 4},  {37, 17, 60, 8},  {37, 33, 60, 16}, {37, 64, 60, 1},
    {37, 70, 60, 2}, {150, 130, 40, 4}, {40, 65, 300, 1}, {300, 8, 300, 1}, {0, 3, 2, 1},     {3, 0, 2, 1},
    {3, 2, 0, 4},    {3, 2, 0, 1},      {1030, 66, 260, 1}, {513, 1, 385, 1},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Half of the blocks of whole numbers, dense (block rows r, k) and sparse. The caller frees dense and w's arrays. */
static tt_sparse_matrix half_of(shape s, float *dense)
{
    size_t block_rows = (s.m + s.r - 1) / s.r, blocks = 0;
    float *values = whole_numbers(block_rows * s.r * s.k, 0);
    uint16_t *indices = malloc(block_rows * s.k * sizeof *indices + 1);
    int32_t *row_pointers = malloc((block_rows + 1) * sizeof *row_pointers);
    CHECK(indices && row_pointers, "out of memory");
    for (size_t i = 0; i < block_rows; i++) {
        row_pointers[i] = (int32_t)blocks;
        for (size_t k = 0; k < s.k; k++) {
            int keep = (i * 7 + k * k) % 4 < 2;
            for (size_t t = 0; t < s.r; t++) {
                float *element = dense + (i * s.r + t) * s.k + k;
                if (!keep || i * s.r + t >= s.m) *element = 0;
                if (keep) values[blocks * s.r + t] = *element;
            }
            if (keep) indices[blocks++] = (uint16_t)k;
        }
    }
    row_pointers[block_rows] = (int32_t)blocks;
    return (tt_sparse_matrix){s.m, s.k, s.r, values, indices, 0, row_pointers, NULL};
}

/* The slices of w, which give its arrays back. The caller frees them. */
static void *sliced(const tt_sparse_matrix *w)
{
    size_t bytes, elements = (size_t)w->row_pointers[w->m];
    CHECK(tt_sparse_slices_size(w, &bytes) == TT_OK, "memory");
    void *slices = malloc(bytes);
    float *values = malloc(elements * sizeof *values + 1);
    int32_t *indices = malloc(elements * sizeof *indices + 1), *row_pointers = malloc((w->m + 1) * sizeof *row_pointers);
    CHECK(slices && values && indices && row_pointers, "out of memory");
    CHECK(tt_slice_sparse(w, slices) == TT_OK, "memory");
    CHECK(tt_are_sparse_slices(slices, bytes, w->m, w->k), "of this length and shape");
    CHECK(!tt_are_sparse_slices(slices, bytes + 8, w->m, w->k), "of another length");
    CHECK(!tt_are_sparse_slices(slices, bytes, w->m, w->k + 1), "of another shape");
    CHECK(tt_sparse_slices_elements(slices) == elements, "%zu elements", elements);
    tt_unslice_sparse(slices, values, indices, row_pointers);
    for (size_t i = 0; i <= w->m; i++) CHECK(row_pointers[i] == w->row_pointers[i], "row pointer %zu", i);
    for (size_t i = 0; i < elements; i++)
        CHECK(values[i] == w->values[i] && indices[i] == ((const uint16_t *)w->indices)[i], "element %zu", i);
    free(values);
    free(indices);
    free(row_pointers);
    return slices;
}

static void check(shape s)
{
    float *dense = whole_numbers((s.m + s.r) * s.k, 1), *x = whole_numbers(s.k * s.n, 2);
    float *x_t = whole_numbers(s.k * s.n, 0), *bias = whole_numbers(s.m, 3);
    float *c = whole_numbers(s.m * s.n, 0), *y = whole_numbers(s.m * s.n, 0);
    tt_sparse_matrix w = half_of(s, dense);
    if (s.r == 1) w.slices = sliced(&w);
    for (size_t k = 0; k < s.k; k++)
        for (size_t j = 0; j < s.n; j++) x_t[j * s.k + k] = x[k * s.n + j];
    CHECK(tt_sparse_matmul_f32(&w, s.n, x, c) == TT_OK, "memory");
    CHECK(tt_sparse_linear_f32(&w, s.n, x_t, bias, TT_RELU, y) == TT_OK, "memory");
    for (size_t i = 0; i < s.m; i++)
        for (size_t j = 0; j < s.n; j++) {
            float sum = 0;
            for (size_t k = 0; k < s.k; k++) sum += dense[i * s.k + k] * x[k * s.n + j];
            CHECK(c[i * s.n + j] == sum, "%zu x %zu x %zu in blocks of %zu: %g instead of %g", s.m, s.n, s.k, s.r,
                  c[i * s.n + j], sum);
            CHECK(y[j * s.m + i] == fmaxf(0, sum + bias[i]), "linear %zu x %zu x %zu in blocks of %zu", s.m, s.n,
                  s.k, s.r);
        }
    void *all[] = {dense, x, x_t, bias, c, y, (void *)w.values, (void *)w.indices, (void *)w.row_pointers,
                   (void *)w.slices};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

void test_sparse(void)
{
    for (int i = 0; i < SHAPES; i++) check(shapes[i]);
}
