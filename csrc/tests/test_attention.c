#include "tests/test.h"
#include "tinytorch.h"

#include <math.h>
#include <string.h>

typedef struct {
    size_t t, s, d, e;
    int causal;
} shape;

/* Around the tiles of every level, T other than S, and what is empty. */
static const shape shapes[] = {
    {1, 1, 1, 1, 0},   {5, 9, 7, 3, 0},    {5, 9, 7, 3, 1},      {33, 97, 16, 24, 0}, {33, 97, 16, 24, 1},
    {40, 33, 5, 20, 1}, {100, 100, 8, 8, 1}, {20, 20, 64, 70, 0}, {4, 0, 8, 8, 0},     {0, 4, 8, 8, 0},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], BATCH = 2, HEADS = 4, SHARED = 2 };

static const float scale = 0.125f;

static void expect_close(const float *found, const double *expected, size_t n, shape s, const char *what)
{
    for (size_t i = 0; i < n; i++)
        CHECK(fabs(found[i] - expected[i]) <= 2e-4 * (1 + fabs(expected[i])),
              "%s of t %zu s %zu d %zu e %zu, element %zu: %g instead of %g", what, s.t, s.s, s.d, s.e, i, found[i],
              expected[i]);
}

static double *zeros(size_t n)
{
    double *x = calloc(n + 1, sizeof *x);
    CHECK(x, "out of memory");
    return x;
}

static double dot(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

/* One query in plain loops: y (e) and, where dq is not NULL, what it adds to the gradients. */
static void attend_plainly(shape s, size_t seen, const float *q, const float *k, const float *v, double *y,
                           const float *dy, double *dq, double *dk, double *dv)
{
    double *p = zeros(s.s), total = 0, mean = 0;
    for (size_t j = 0; j < seen; j++) total += p[j] = exp(scale * dot(q, k + j * s.d, s.d));
    for (size_t j = 0; j < seen; j++) {
        p[j] /= total;
        for (size_t i = 0; i < s.e; i++) y[i] += p[j] * v[j * s.e + i];
    }
    for (size_t i = 0; dq && i < s.e; i++) mean += dy[i] * y[i];
    for (size_t j = 0; dq && j < seen; j++) {
        double ds = p[j] * (dot(dy, v + j * s.e, s.e) - mean) * scale;
        for (size_t i = 0; i < s.e; i++) dv[j * s.e + i] += p[j] * dy[i];
        for (size_t i = 0; i < s.d; i++) dq[i] += ds * k[j * s.d + i], dk[j * s.d + i] += ds * q[i];
    }
    free(p);
}

static void check(shape s)
{
    size_t rows = BATCH * HEADS * s.t, keys = BATCH * SHARED * s.s;
    float *q = whole_numbers(rows * s.d, 1), *k = whole_numbers(keys * s.d, 2), *v = whole_numbers(keys * s.e, 3);
    float *y = whole_numbers(rows * s.e, 0), *lse = whole_numbers(rows, 0), *dy = whole_numbers(rows * s.e, 4);
    float *dq = whole_numbers(rows * s.d, 0), *dk = whole_numbers(keys * s.d, 0);
    float *dv = whole_numbers(keys * s.e, 0);
    double *exact_y = zeros(rows * s.e), *exact_dq = zeros(rows * s.d), *exact_dk = zeros(keys * s.d);
    double *exact_dv = zeros(keys * s.e);
    tt_attention attention = {.batch = BATCH, .heads = HEADS, .kv_heads = SHARED, .t = s.t, .s = s.s, .d = s.d,
                              .e = s.e, .q = q, .k = k, .v = v, .causal = s.causal, .scale = scale};
    CHECK(tt_attention_f32(&attention, y, lse) == TT_OK, "memory");
    CHECK(tt_attention_backward_f32(&attention, dy, y, lse, dq, dk, dv) == TT_OK, "memory");
    for (size_t row = 0; row < rows; row++) {
        size_t head = row / s.t, key = (head / HEADS * SHARED + head % HEADS / (HEADS / SHARED)) * s.s;
        size_t seen = s.causal && row % s.t + 1 < s.s ? row % s.t + 1 : s.s;
        attend_plainly(s, seen, q + row * s.d, k + key * s.d, v + key * s.e, exact_y + row * s.e, dy + row * s.e,
                       exact_dq + row * s.d, exact_dk + key * s.d, exact_dv + key * s.e);
    }
    expect_close(y, exact_y, rows * s.e, s, "attention");
    expect_close(dq, exact_dq, rows * s.d, s, "dq");
    expect_close(dk, exact_dk, keys * s.d, s, "dk");
    expect_close(dv, exact_dv, keys * s.e, s, "dv");
    void *all[] = {q, k, v, y, lse, dy, dq, dk, dv, exact_y, exact_dq, exact_dk, exact_dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static void check_decode(size_t d, size_t length, size_t shared)
{
    enum { CAPACITY = 100 };
    const int64_t lengths[BATCH] = {(int64_t)length, 0};
    size_t rows = BATCH * shared, cached = rows * CAPACITY;
    shape s = {1, CAPACITY, d, d, 0};
    float *keys = whole_numbers(cached * d, 1), *values = whole_numbers(cached * d, 2);
    float *q = whole_numbers(BATCH * HEADS * d, 3), *k = whole_numbers(rows * d, 4), *v = whole_numbers(rows * d, 5);
    float *y = whole_numbers(BATCH * HEADS * d, 0);
    double *exact = zeros(BATCH * HEADS * d);
    tt_kv_cache cache = {BATCH, shared, CAPACITY, d, keys, values, NULL, NULL, lengths};
    CHECK(tt_attention_decode(&cache, HEADS, q, k, v, scale, y) == TT_OK, "memory");
    for (size_t head = 0; head < BATCH * HEADS; head++) {
        size_t b = head / HEADS, row = b * shared + head % HEADS / (HEADS / shared), first = row * CAPACITY;
        size_t at = first + (size_t)lengths[b] % CAPACITY;
        CHECK(!memcmp(keys + at * d, k + row * d, d * sizeof *k), "the key is stored");
        CHECK(!memcmp(values + at * d, v + row * d, d * sizeof *v), "the value is stored");
        size_t seen = lengths[b] < CAPACITY ? (size_t)lengths[b] + 1 : CAPACITY;
        attend_plainly(s, seen, q + head * d, keys + first * d, values + first * d,
                       exact + head * d, NULL, NULL, NULL, NULL);
    }
    expect_close(y, exact, BATCH * HEADS * d, s, "decode");
    void *all[] = {keys, values, y, q, k, v, exact};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static void check_bad_length(void)
{
    const int64_t below_zero = -1;
    float x = 1, stored[1] = {7}, y;
    tt_kv_cache cache = {1, 1, 1, 1, stored, stored, NULL, NULL, &below_zero};
    CHECK(tt_attention_decode(&cache, 1, &x, &x, &x, 1, &y) == TT_BAD_VALUE, "a length below 0");
    CHECK(stored[0] == 7, "nothing is written");
}

enum { WIDTH = 20, HIDDEN = 37, DIM = 6, QUERIES = HEADS * DIM, KEYS = SHARED * DIM, ROOM = 3, LAYERS = 2 };

/* The same block in calls of its own. */
static void decode_by_steps(const tt_decoder_block *block, const tt_kv_cache *cache, float *x)
{
    size_t batch = cache->batch;
    float normal[9 * WIDTH], q[9 * QUERIES], k[9 * KEYS], v[9 * KEYS];
    float y[9 * QUERIES], hidden[9 * HIDDEN], out[9 * WIDTH];
#define LINEAR(from, in, w, to, columns)                                                                       \
    CHECK(((w).packed                                                                                          \
               ? tt_linear_int8_dynamic(batch, columns, in, from, (w).packed, (w).scale, (w).bias, TT_NONE, to) \
               : tt_linear_f32(batch, columns, in, from, (tt_matrix){(w).weight, columns, 1}, NULL, (w).bias,  \
                               TT_NONE, to)) == TT_OK,                                                         \
          "memory")
    tt_layer_norm_f32(batch, WIDTH, x, block->norm1.weight, block->norm1.bias, block->eps1, normal);
    LINEAR(normal, WIDTH, block->q, q, QUERIES);
    LINEAR(normal, WIDTH, block->k, k, KEYS);
    LINEAR(normal, WIDTH, block->v, v, KEYS);
    CHECK(tt_attention_decode(cache, HEADS, q, k, v, (float)(1 / sqrt(DIM)), y) == TT_OK, "memory");
    LINEAR(y, QUERIES, block->out, out, WIDTH);
    for (size_t i = 0; i < batch * WIDTH; i++) x[i] += out[i];
    tt_layer_norm_f32(batch, WIDTH, x, block->norm2.weight, block->norm2.bias, block->eps2, normal);
    LINEAR(normal, WIDTH, block->expand, hidden, HIDDEN);
    tt_gelu_f32(batch * HIDDEN, hidden, TT_GELU_ERF, hidden);
    LINEAR(hidden, HIDDEN, block->contract, out, WIDTH);
    for (size_t i = 0; i < batch * WIDTH; i++) x[i] += out[i];
#undef LINEAR
}

/* The same weights, near enough, as integers. */
static tt_affine packed_from(tt_affine w, size_t in, size_t columns, const float *scale)
{
    int8_t *integers = malloc(in * columns);
    uint8_t *packed = malloc(tt_packed_bytes_int8(in, columns));
    CHECK(integers && packed, "out of memory");
    for (size_t i = 0; i < in * columns; i++) integers[i] = (int8_t)(w.weight[i] / *scale);
    tt_pack_int8(in, columns, integers, packed);
    free(integers);
    return (tt_affine){.bias = w.bias, .packed = packed, .scale = scale};
}

/* With INT8 weights both ways give the same bits. */
static void check_decode_blocks(size_t batch, int int8)
{
    const size_t sizes[] = {WIDTH, WIDTH * QUERIES, WIDTH * KEYS, WIDTH * KEYS, QUERIES * WIDTH, WIDTH, WIDTH * HIDDEN,
                            HIDDEN * WIDTH};
    const size_t biases[] = {WIDTH, QUERIES, KEYS, KEYS, WIDTH, WIDTH, HIDDEN, WIDTH};
    float *owned[2 * 8];
    for (unsigned i = 0; i < 8; i++) {
        owned[2 * i] = whole_numbers(sizes[i], i + 1);
        owned[2 * i + 1] = whole_numbers(biases[i], i + 9);
        for (size_t j = 0; j < sizes[i]; j++) owned[2 * i][j] *= 0.1f;
    }
#define AFFINE(i) {.weight = owned[2 * i], .bias = owned[2 * i + 1]}
    tt_decoder_block block = {HIDDEN,    AFFINE(0), AFFINE(1), AFFINE(2), AFFINE(3), AFFINE(4),
                              AFFINE(5), AFFINE(6), AFFINE(7), 1e-5f,     1e-5f};
#undef AFFINE
    float scale[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) scale[i] = 0.05f;
    if (int8) {
        block.q = packed_from(block.q, WIDTH, QUERIES, scale);
        block.k = packed_from(block.k, WIDTH, KEYS, scale);
        block.v = packed_from(block.v, WIDTH, KEYS, scale);
        block.out = packed_from(block.out, QUERIES, WIDTH, scale);
        block.expand = packed_from(block.expand, WIDTH, HIDDEN, scale);
        block.contract = packed_from(block.contract, HIDDEN, WIDTH, scale);
    }
    const tt_decoder_block blocks[LAYERS] = {block, block};
    int64_t lengths[9] = {0};
    size_t cached = batch * SHARED * ROOM * DIM;
    float *x = whole_numbers(batch * WIDTH, 17), *expected = whole_numbers(batch * WIDTH, 17);
    float *memory[2 * 2 * LAYERS];
    tt_kv_cache caches[2 * LAYERS];
    for (int i = 0; i < 2 * LAYERS; i++) {
        memory[2 * i] = whole_numbers(cached, 0);
        memory[2 * i + 1] = whole_numbers(cached, 0);
        caches[i] = (tt_kv_cache){batch, SHARED, ROOM, DIM, memory[2 * i], memory[2 * i + 1], NULL, NULL, lengths};
    }
    for (int64_t t = 0; t < 2 * ROOM; t++) { /* the second half overwrites the first */
        for (size_t b = 0; b < batch; b++) lengths[b] = t;
        CHECK(tt_decode_blocks(LAYERS, blocks, caches, HEADS, WIDTH, x) == TT_OK, "memory");
        for (int i = 0; i < LAYERS; i++) decode_by_steps(&blocks[i], &caches[LAYERS + i], expected);
        for (size_t i = 0; i < batch * WIDTH; i++)
            CHECK(fabsf(x[i] - expected[i]) <= (int8 ? 0 : 1e-3f * (1 + fabsf(expected[i]))),
                  "batch %zu: %g instead of %g", batch, x[i], expected[i]);
    }
    lengths[0] = -1;
    CHECK(tt_decode_blocks(LAYERS, blocks, caches, HEADS, WIDTH, x) == TT_BAD_VALUE, "a length below 0");
    lengths[0] = scale[0] = 0;
    if (int8)
        CHECK(tt_decode_blocks(LAYERS, blocks, caches, HEADS, WIDTH, x) == TT_BAD_VALUE, "a scale that is not above 0");
    const tt_affine products[] = {block.q, block.k, block.v, block.out, block.expand, block.contract};
    for (int i = 0; i < 6; i++) free((void *)products[i].packed);
    for (int i = 0; i < 2 * 8; i++) free(owned[i]);
    for (int i = 0; i < 2 * 2 * LAYERS; i++) free(memory[i]);
    free(x);
    free(expected);
}

void test_attention(void)
{
    const size_t batches[] = {1, 3, 9};
    for (int i = 0; i < 3; i++)
        for (int int8 = 0; int8 < 2; int8++) check_decode_blocks(batches[i], int8);
    for (int i = 0; i < SHAPES; i++) check(shapes[i]);
    const size_t widths[] = {1, 7, 16, 33, 64, 130};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (size_t length = 0; length < 300; length += 33) /* beyond 100, a ring */
            for (size_t shared = 1; shared <= HEADS; shared *= 2) check_decode(widths[i], length, shared);
    check_bad_length();
}
