/* Step 3: groups of four. CPUs with a dot product for bytes multiply all four bytes of a lane and add the
 * four products to its sum; others come close by adding products in pairs. For that, four steps of depth must
 * lie side by side, so b is copied into panels that interleave its rows by fours, padded with zeros:
 *
 *     b00 b10 b20 b30  b01 b11 b21 b31 ..     b40 b50 b60 b70  b41 b51 ..
 *
 * Step 4 is the same code with a wider tile. A dot product takes some cycles until its sum can be used again,
 * but one or two start in every cycle: with more sums under way than that, none waits. */
#include "lessons/integer/integer.h"

enum { MOST_ROWS = 6, MOST_VECTORS = 2 };

typedef struct {
    size_t m, n, k, groups; /* groups: of four steps of depth */
    uint8_t *a;             /* (m, groups, 4) */
    int8_t *b;              /* panels (groups, columns of a tile, 4) */
    int32_t *c;
} job;

static void pack(const job *job, const uint8_t *a, const int8_t *b, size_t columns)
{
    for (size_t i = 0; i < job->m; i++) {
        uint8_t *row = job->a + i * 4 * job->groups;
        memset(row, 0, 4 * job->groups);
        if (job->k) memcpy(row, a + i * job->k, job->k);
    }
    int8_t *out = job->b;
    for (size_t j = 0; j < job->n; j += columns)
        for (size_t p = 0; p < 4 * job->groups; p += 4)
            for (size_t t = j; t < j + columns; t++)
                for (size_t row = p; row < p + 4; row++)
                    *out++ = row < job->k && t < job->n ? b[row * job->n + t] : 0;
}

/* The tile of c at row i and column j, of which rows by columns exist. */
TT_INLINE void tile(const size_t most_rows, const size_t vectors, const job *job, size_t i, size_t j)
{
    const uint8_t *a = job->a + i * 4 * job->groups;
    const int8_t *b = job->b + j * 4 * job->groups;
    size_t rows = tt_min(most_rows, job->m - i), columns = tt_min(vectors * LANES, job->n - j);
    vi sum[MOST_ROWS][MOST_VECTORS];
    TT_UNROLL for (size_t r = 0; r < most_rows; r++)
        TT_UNROLL for (size_t v = 0; v < vectors; v++) sum[r][v] = vi_zero();
    for (size_t g = 0; g < job->groups; g++, b += 4 * vectors * LANES)
        TT_UNROLL for (size_t r = 0; r < most_rows; r++) {
            uint32_t four;
            memcpy(&four, a + (tt_min(r, rows - 1) * job->groups + g) * 4, sizeof four);
            TT_UNROLL for (size_t v = 0; v < vectors; v++)
                sum[r][v] = vi_add_dot(sum[r][v], four, b + v * 4 * LANES);
        }
    TT_UNROLL for (size_t r = 0; r < most_rows; r++) {
        int32_t lanes[MOST_VECTORS * LANES];
        TT_UNROLL for (size_t v = 0; v < vectors; v++) vi_store(lanes + v * LANES, sum[r][v]);
        if (r < rows) memcpy(job->c + (i + r) * job->n + j, lanes, columns * sizeof *lanes);
    }
}

TT_INLINE tt_status multiply(const size_t rows, const size_t vectors, size_t m, size_t n, size_t k,
                             const uint8_t *a, const int8_t *b, int32_t *c)
{
    const size_t columns = vectors * LANES;
    job job = {.m = m, .n = n, .k = k, .groups = tt_div_up(k, 4), .c = c};
    size_t a_bytes = m * 4 * job.groups;
    job.a = tt_scratch_acquire(a_bytes + tt_round_up(n, columns) * 4 * job.groups);
    if (!job.a) return TT_OUT_OF_MEMORY;
    job.b = (int8_t *)job.a + a_bytes;
    pack(&job, a, b, columns);
    for (size_t j = 0; j < n; j += columns)
        for (size_t i = 0; i < m; i += rows) tile(rows, vectors, &job, i, j);
    tt_scratch_release(job.a);
    return TT_OK;
}

tt_status TT_FOR_LEVEL(tt_matmul_int8_grouped)(size_t m, size_t n, size_t k, const uint8_t *a,
                                               const int8_t *b, int32_t *c)
{
    return multiply(2, 1, m, n, k, a, b, c);
}

tt_status TT_FOR_LEVEL(tt_matmul_int8_wide)(size_t m, size_t n, size_t k, const uint8_t *a, const int8_t *b,
                                            int32_t *c)
{
    return multiply(MOST_ROWS, MOST_VECTORS, m, n, k, a, b, c);
}

const tt_lesson_int8_kernels TT_FOR_LEVEL(tt_lesson_int8) = {
    TT_FOR_LEVEL(tt_matmul_int8_vectorised), TT_FOR_LEVEL(tt_matmul_int8_grouped),
    TT_FOR_LEVEL(tt_matmul_int8_wide), TT_LESSON_FLAGS};
