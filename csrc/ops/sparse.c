/* Sparse times dense: panels of columns, each small enough to stay in the cache while all of w passes by.
 *
 * A panel of x is copied together where that pays: neighbouring rows then share neither cache sets nor pages.
 * Single elements (r = 1) read a whole row of the panel for one product each, so the cache's bandwidth is the
 * limit, and depth is blocked to keep what is read in L1; taller blocks are bound by arithmetic and need none
 * of it. ("Fast Sparse ConvNets", Elsen, Dukhan, Gale and Simonyan, 2019, has panels that stay in L1.) */
#include "runtime/runtime.h"

#include <string.h>
#include <stdlib.h>

enum {
    PANEL = 64,         /* columns at most: four AVX-512 vectors, and a depth of 128 fills L1 */
    WIDEST_VECTOR = 16, /* fewer columns than PANEL are padded to a multiple of this */
    FEWEST_COLUMNS = 4, /* below, column by column */
    ROWS_IN_L2 = 128,   /* so many sums, and their part of w, stay in L2 while x passes by in blocks of depth */
};

typedef struct {
    const tt_sparse_kernels *kernels;
    const tt_vector_kernels *vector;
    const tt_sparse_matrix *w;
    const int32_t *bounds; /* (depth_blocks + 1, block_rows): where each block of depth begins in each row */
    size_t block_rows, rows_each, row_tasks; /* one task computes so many block rows of one panel */
    size_t depth_blocks;
    size_t n;      /* columns of x, or rows of it for sparse_linear */
    size_t stride; /* from row to row in a panel */
    const float *x;
    float *out;
    const float *bias;
    tt_activation activation;
    int packs;
    float *scratch; /* a slice for each worker: the panel of x, then the panel of the result */
    size_t scratch_floats;
} sparse_job;

static double elements_of(const tt_sparse_matrix *w)
{
    return (double)w->row_pointers[tt_div_up(w->m, w->r)] * (double)w->r;
}

static double density_of(const tt_sparse_matrix *w)
{
    return w->k ? elements_of(w) / ((double)w->m * (double)w->k) : 0;
}

/* So many block rows within one block of depth. */
static tt_block_rows rows_of(const sparse_job *job, size_t block_row, size_t block_rows, size_t depth_block)
{
    const tt_sparse_matrix *w = job->w;
    const int32_t *bounds = job->bounds + depth_block * job->block_rows + block_row;
    return (tt_block_rows){
        .r = w->r, .m = tt_min(block_rows * w->r, w->m - block_row * w->r), .values = w->values,
        .indices = w->indices, .wide = w->wide_indices, .first = bounds,
        .last = job->depth_blocks == 1 ? bounds + 1 : bounds + job->block_rows};
}

/* The block rows from `begin` to `end`, all depths: sums go from one depth to the next in `sums`, and from the
 * last to c. So few rows at a time that their part of w and their sums stay in L2 meanwhile. */
static void multiply_depths(const sparse_job *job, size_t begin, size_t end, const float *x, size_t x_row_stride,
                            size_t n, float *sums, float *c, size_t c_row_stride)
{
    size_t step = job->depth_blocks == 1 ? end - begin : ROWS_IN_L2;
    for (size_t i = begin; i < end; i += step) {
        for (size_t d = 0; d < job->depth_blocks; d++) {
            tt_block_rows rows = rows_of(job, i, tt_min(step, end - i), d);
            int last = d + 1 == job->depth_blocks;
            job->kernels->multiply(&rows, x, x_row_stride, n, d ? sums : NULL, job->stride,
                                   last ? c : sums, last ? c_row_stride : job->stride);
        }
        c += step * job->w->r * c_row_stride;
    }
}

/* ---- depth blocks ---- */

/* How deep a block is, found by measuring. The sparser w is, the fewer of its elements lie in a block, and the
 * more of them it takes to pay for a visit; beyond 93 % the whole depth does. */
static size_t depth_block(const tt_sparse_matrix *w, size_t stride)
{
    double density = density_of(w);
    if (w->r > 1 || density < 0.07) return w->k;
    return (density < 0.35 ? 256 : 128) * (PANEL / stride);
}

/* bounds[d][i] = the first block of block row i whose column is at least d * depth. */
static void find_bounds(const sparse_job *job, size_t depth, int32_t *bounds)
{
    const tt_sparse_matrix *w = job->w;
    const uint16_t *narrow = w->indices;
    const int32_t *wide = w->indices;
    for (size_t i = 0; i < job->block_rows; i++) {
        int32_t b = w->row_pointers[i], last = w->row_pointers[i + 1];
        for (size_t d = 0; d < job->depth_blocks; d++) {
            size_t least = d * depth;
            if (w->wide_indices)
                while (b < last && (size_t)wide[b] < least) b++;
            else
                while (b < last && narrow[b] < least) b++;
            bounds[d * job->block_rows + i] = b;
        }
        bounds[job->depth_blocks * job->block_rows + i] = last;
    }
}

/* ---- panels ---- */

/* Whether the elements of w meet each element of x often enough to pay for copying it; found by measuring.
 * Blocks of four rows and more are bound by arithmetic, whatever the layout of x. */
static int packing_pays(const tt_sparse_matrix *w)
{
    return w->r < 4 && elements_of(w) >= 8.0 * (double)w->r * (double)w->k;
}

static void copy_panel(const sparse_job *job, size_t column, size_t n, float *panel)
{
    const float *x = job->x + column;
    for (size_t k = 0; k < job->w->k; k++, x += job->n, panel += job->stride) {
        memcpy(panel, x, n * sizeof *panel);
        if (n < job->stride) memset(panel + n, 0, (job->stride - n) * sizeof *panel);
    }
}

static float *slice_of(const sparse_job *job, int worker)
{
    return job->scratch + (size_t)worker * job->scratch_floats;
}

static void matmul_panel(void *context, size_t index, int worker)
{
    const sparse_job *job = context;
    size_t column = index / job->row_tasks * PANEL, n = tt_min(PANEL, job->n - column);
    size_t block_row = index % job->row_tasks * job->rows_each;
    size_t end = tt_min(block_row + job->rows_each, job->block_rows);
    float *c = job->out + block_row * job->w->r * job->n + column;
    float *panel = slice_of(job, worker), *sums = panel + job->w->k * job->stride;
    if (job->packs || n < PANEL) {
        copy_panel(job, column, n, panel);
        multiply_depths(job, block_row, end, panel, job->stride, n, sums, c, job->n);
    } else {
        multiply_depths(job, block_row, end, job->x + column, job->n, n, sums, c, job->n);
    }
}

static void linear_panel(void *context, size_t index, int worker)
{
    const sparse_job *job = context;
    const tt_sparse_matrix *w = job->w;
    size_t first = index / job->row_tasks * PANEL, n = tt_min(PANEL, job->n - first), stride = job->stride;
    size_t block_row = index % job->row_tasks * job->rows_each, row = block_row * w->r;
    size_t end = tt_min(block_row + job->rows_each, job->block_rows), rows = tt_min(end * w->r, w->m) - row;
    float *panel = slice_of(job, worker), *sums = panel + w->k * stride, *result = sums + ROWS_IN_L2 * stride;
    job->kernels->transpose(n, w->k, job->x + first * w->k, w->k, panel, stride, stride);
    multiply_depths(job, block_row, end, panel, stride, n, sums, result, stride);
    if (job->bias || job->activation)
        job->vector->bias_activation(result, stride, rows, n, job->bias ? job->bias + row : NULL, NULL,
                                     job->activation);
    job->kernels->transpose(rows, n, result, stride, job->out + first * w->m + row, w->m, rows);
}

/* ---- one column, or a few ---- */

static void vector_rows(void *context, size_t index, int worker)
{
    (void)worker;
    const sparse_job *job = context;
    const tt_sparse_matrix *w = job->w;
    size_t column = index / job->row_tasks, block_row = index % job->row_tasks * job->rows_each;
    tt_block_rows rows = rows_of(job, block_row, job->rows_each, 0);
    float *y = job->out + column * w->m + block_row * w->r;
    job->kernels->multiply_vector(&rows, job->x + column * w->k, y);
    if (job->bias || job->activation)
        job->vector->bias_activation(y, rows.m, 1, rows.m, NULL, job->bias ? job->bias + block_row * w->r : NULL,
                                     job->activation);
}

/* ---- the API ---- */

/* Enough tasks for every worker: panels first; where they are few, block rows are split too. */
static void split_work(sparse_job *job, int workers, size_t panels)
{
    size_t pieces = panels >= (size_t)workers ? 1 : tt_div_up((size_t)workers, panels);
    job->rows_each = tt_max(1, tt_div_up(job->block_rows, pieces));
    job->row_tasks = tt_div_up(job->block_rows, job->rows_each);
}

static tt_status run_panels(sparse_job *job, int workers, int is_linear)
{
    const tt_sparse_matrix *w = job->w;
    size_t panels = tt_div_up(job->n, PANEL);
    job->stride = tt_min(PANEL, tt_round_up(job->n, WIDEST_VECTOR));
    size_t depth = tt_max(1, job->packs ? depth_block(w, job->stride) : w->k);
    split_work(job, workers, panels);
    job->depth_blocks = tt_max(1, tt_div_up(w->k, depth));
    size_t bound_bytes = job->depth_blocks == 1
                             ? 0
                             : tt_round_up((job->depth_blocks + 1) * job->block_rows * sizeof(int32_t), 64);
    job->scratch_floats = (w->k + ROWS_IN_L2 + (is_linear ? job->rows_each * w->r : 0)) * job->stride;
    char *scratch = tt_scratch_acquire(bound_bytes + (size_t)workers * job->scratch_floats * sizeof(float));
    if (!scratch) return TT_OUT_OF_MEMORY;
    job->scratch = (float *)(scratch + bound_bytes);
    if (job->depth_blocks > 1) {
        find_bounds(job, depth, (int32_t *)scratch);
        job->bounds = (const int32_t *)scratch;
    }
    tt_parallel_for(workers, panels * job->row_tasks, is_linear ? linear_panel : matmul_panel, job);
    tt_scratch_release(scratch);
    return TT_OK;
}

static tt_status run_columns(sparse_job *job, int workers)
{
    split_work(job, workers, job->n);
    tt_parallel_for(workers, job->n * job->row_tasks, vector_rows, job);
    return TT_OK;
}

static sparse_job start(const tt_sparse_matrix *w, size_t n, const float *x, float *out)
{
    return (sparse_job){.kernels = tt_kernels()->sparse, .vector = tt_kernels()->vector, .w = w,
                        .bounds = w->row_pointers, .block_rows = tt_div_up(w->m, w->r), .depth_blocks = 1,
                        .n = n, .x = x, .out = out};
}

tt_status tt_sparse_matmul_f32(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    if (w->m == 0 || n == 0) return TT_OK;
    sparse_job job = start(w, n, x, c);
    int workers = tt_workers_for(2 * elements_of(w) * (double)n);
    if (n == 1) return run_columns(&job, workers);
    job.packs = packing_pays(w);
    return run_panels(&job, workers, 0);
}

tt_status tt_sparse_linear_f32(const tt_sparse_matrix *w, size_t batch, const float *x, const float *bias,
                               tt_activation activation, float *y)
{
    if (w->m == 0 || batch == 0) return TT_OK;
    sparse_job job = start(w, batch, x, y);
    job.bias = bias;
    job.activation = activation;
    int workers = tt_workers_for(2 * elements_of(w) * (double)batch);
    if (batch < FEWEST_COLUMNS) return run_columns(&job, workers);
    job.packs = 1; /* transposing packs anyway */
    return run_panels(&job, workers, 1);
}
