/* Step 4: packing, and step 5: threads.
 *
 * Step 3 reads b in strips that lie a whole row apart. Here blocks of a and b are first copied into panels, in
 * the order in which the tile reads them, and padded with zeros to full tiles:
 *
 *     panel of a: `depth` columns of ROWS         panel of b: `depth` rows of COLUMNS
 *     a00 a10 a20 ..  a01 a11 a21 ..              b00 b01 b02 ..  b10 b11 b12 ..
 *
 * Each block is copied once and read many times, the inner loop meets no strides and no edges, and the tile
 * may grow until its sums fill the registers. A panel of b stays in L1, a block of a in L2.
 *
 * Step 5 is the same code: the blocks of rows are independent, so each goes to whichever thread is free. */
#include "lessons/vector/vector.h"

enum { ROWS = 6, VECTORS = 2, COLUMNS = VECTORS * VF_N, DEPTH = 256, BLOCK_ROWS = 144 };

typedef struct {
    size_t m, n, k;
    const float *a, *b;
    float *c;
    size_t p, depth;   /* the block of depth at hand */
    size_t block_rows; /* the rows of one task */
    float *a_panels, *b_panels; /* a's: one block for each worker */
} matmul_job;

/* c += a panel @ b panel, for the rows and columns that exist. */
TT_INLINE void tile(size_t depth, const float *a, const float *b, float *c, size_t stride, size_t rows,
                    size_t columns)
{
    vf sum[ROWS][VECTORS];
    for (size_t i = 0; i < ROWS; i++)
        for (size_t v = 0; v < VECTORS; v++) sum[i][v] = vf_set(0.0f);
    for (size_t p = 0; p < depth; p++, a += ROWS, b += COLUMNS)
        TT_UNROLL for (size_t i = 0; i < ROWS; i++)
            TT_UNROLL for (size_t v = 0; v < VECTORS; v++)
                sum[i][v] = vf_fma(vf_set(a[i]), vf_load(b + v * VF_N), sum[i][v]);
    TT_UNROLL for (size_t i = 0; i < ROWS; i++)
        TT_UNROLL for (size_t v = 0; v < VECTORS; v++) {
            if (i >= rows || v * VF_N >= columns) continue;
            float *out = c + i * stride + v * VF_N;
            size_t count = tt_min(VF_N, columns - v * VF_N);
            store(out, vf_add(load(out, count), sum[i][v]), count);
        }
}

static void pack_columns(void *context, size_t panel, int worker)
{
    (void)worker;
    const matmul_job *job = context;
    size_t j = panel * COLUMNS, columns = tt_min(COLUMNS, job->n - j);
    float *out = job->b_panels + j * job->depth;
    for (size_t p = 0; p < job->depth; p++, out += COLUMNS)
        for (size_t t = 0; t < COLUMNS; t++) out[t] = t < columns ? job->b[(job->p + p) * job->n + j + t] : 0.0f;
}

static void pack_rows(const matmul_job *job, size_t i, size_t rows, float *out)
{
    for (size_t p = 0; p < job->depth; p++, out += ROWS)
        for (size_t t = 0; t < ROWS; t++) out[t] = t < rows ? job->a[(i + t) * job->k + job->p + p] : 0.0f;
}

static void multiply_rows(void *context, size_t block, int worker)
{
    const matmul_job *job = context;
    size_t first = block * job->block_rows, last = tt_min(first + job->block_rows, job->m);
    float *a_panels = job->a_panels + (size_t)worker * job->block_rows * DEPTH;
    for (size_t i = first; i < last; i += ROWS)
        pack_rows(job, i, tt_min(ROWS, last - i), a_panels + (i - first) * job->depth);
    for (size_t j = 0; j < job->n; j += COLUMNS)
        for (size_t i = first; i < last; i += ROWS)
            tile(job->depth, a_panels + (i - first) * job->depth, job->b_panels + j * job->depth,
                 job->c + i * job->n + j, job->n, tt_min(ROWS, last - i), tt_min(COLUMNS, job->n - j));
}

static tt_status multiply(int workers, size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    memset(c, 0, m * n * sizeof *c);
    if (m == 0 || n == 0) return TT_OK;
    matmul_job job = {.m = m, .n = n, .k = k, .a = a, .b = b, .c = c};
    /* As many blocks as there are workers, or twice as many, ...: none should be left without. */
    size_t blocks = tt_round_up(tt_div_up(m, BLOCK_ROWS), (size_t)workers);
    job.block_rows = tt_round_up(tt_div_up(m, blocks), ROWS);
    size_t b_floats = tt_round_up(n, COLUMNS) * DEPTH;
    job.b_panels = tt_scratch_acquire((b_floats + (size_t)workers * job.block_rows * DEPTH) * sizeof(float));
    if (!job.b_panels) return TT_OUT_OF_MEMORY;
    job.a_panels = job.b_panels + b_floats;
    for (job.p = 0; job.p < k; job.p += DEPTH) {
        job.depth = tt_min(DEPTH, k - job.p);
        tt_parallel_for(workers, tt_div_up(n, COLUMNS), pack_columns, &job);
        tt_parallel_for(workers, tt_div_up(m, job.block_rows), multiply_rows, &job);
    }
    tt_scratch_release(job.b_panels);
    return TT_OK;
}

tt_status TT_FOR_LEVEL(tt_matmul_packed)(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    return multiply(1, m, n, k, a, b, c);
}

tt_status TT_FOR_LEVEL(tt_matmul_threaded)(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    return multiply(tt_get_num_threads(), m, n, k, a, b, c);
}
