/* Sparse times dense: panels of columns, each small enough to stay in the cache while all of w passes by.
 *
 * Single elements read a whole row of the panel for one product each, so the cache's bandwidth is the limit: what
 * they meet lies in L1, a block of depth at a time, and the sums wait in L2. Blocks of rows are bound by
 * arithmetic, and take the whole depth from L2. ("Fast Sparse ConvNets", Elsen, Dukhan, Gale and Simonyan, 2019,
 * has panels that stay in L1.) */
#include "ops/sparse.h"

#include <string.h>

enum {
    PANEL = TT_SPARSE_PANEL,
    WIDEST_VECTOR = 16, /* fewer columns than a panel has are padded to a multiple of this */
    FEWEST_COLUMNS = 4, /* below, column by column */
    ROWS_IN_L2 = 1024,  /* so many sums are 256 KiB: they stay in L2 while x passes by in blocks of depth */
    LOADING_AGAIN = 8,  /* times as much work must there be to split rows: each part loads the panel for itself */
    FLOATS_IN_L2 = 128 << 10,   /* a panel this large, 512 KiB, leaves half of L2 */
    COLUMNS_IN_PLACE = 8 * PANEL, /* long stretches of a row of x that is read where it is */
};

double tt_sparse_elements(const tt_sparse_matrix *w)
{
    if (w->r == 1) return (double)tt_sparse_slices_elements(w->slices);
    return (double)w->row_pointers[tt_div_up(w->m, w->r)] * (double)w->r;
}

/* ---- a panel ---- */

tt_sparse_product tt_sparse_product_of(const tt_sparse_matrix *w)
{
    tt_sparse_product product = {.kernels = tt_kernels()->sparse, .w = w, .stride = PANEL};
    if (w->r == 1) product.sliced = tt_sliced_of(w->slices);
    return product;
}

size_t tt_sparse_panel_floats(const tt_sparse_product *product)
{
    return (product->w->r == 1 ? product->sliced.depth + 1 : product->w->k) * product->stride;
}

/* Sums go from one block of depth to the next in `sums`, and from the last to c. */
static void multiply_slices(const tt_sparse_product *product, size_t row, size_t rows, size_t column, size_t n,
                            float *panel, float *sums, float *c, size_t c_row_stride)
{
    const tt_sliced *w = &product->sliced;
    size_t stride = product->stride, first = row / TT_WINDOW, windows = tt_div_up(rows, TT_WINDOW);
    memset(panel + w->depth * stride, 0, stride * sizeof *panel);
    for (size_t d = 0; d < w->depth_blocks; d++) {
        size_t k = d * w->depth;
        int last = d + 1 == w->depth_blocks;
        product->load(product->x, k, tt_min(w->depth, product->w->k - k), column, n, stride, panel);
        for (size_t i = 0; i < windows; i++) {
            tt_slices tile = tt_tile_of(w, d, first + i);
            float *sum = sums + i * TT_WINDOW * stride, *out = c + i * TT_WINDOW * c_row_stride;
            product->kernels->slices->multiply(&tile, panel, stride, n, d ? sum : NULL, stride, last ? out : sum,
                                               last ? c_row_stride : stride);
        }
    }
}

static tt_block_rows blocks_of(const tt_sparse_matrix *w, size_t row, size_t rows)
{
    const int32_t *first = w->row_pointers + row / w->r;
    return (tt_block_rows){.r = w->r, .m = rows, .values = w->values, .indices = w->indices,
                           .wide = w->wide_indices, .first = first, .last = first + 1};
}

void tt_sparse_multiply_panel(const tt_sparse_product *product, size_t row, size_t rows, size_t column, size_t n,
                              float *panel, float *sums, float *c, size_t c_row_stride)
{
    if (product->w->r == 1) {
        multiply_slices(product, row, rows, column, n, panel, sums, c, c_row_stride);
        return;
    }
    tt_block_rows w = blocks_of(product->w, row, rows);
    product->load(product->x, 0, product->w->k, column, n, product->stride, panel);
    product->kernels->multiply(&w, panel, product->stride, n, c, c_row_stride);
}

/* ---- all panels ---- */

typedef struct {
    tt_sparse_product product;
    const tt_vector_kernels *vector;
    const tt_sparse_matrix *w;
    size_t rows_each, row_tasks; /* one task computes so many rows of one panel */
    size_t n;                    /* columns of x, or rows of it for sparse_linear */
    size_t columns_each;         /* of a panel */
    const float *x;
    float *out;
    const float *bias;
    tt_activation activation;
    int is_linear;
    int in_place;   /* blocks read x where it is */
    float *scratch; /* a slice for each worker: a panel of x, then sums */
    size_t panel_floats, worker_floats;
} sparse_job;

static void load_columns(const void *source, size_t k, size_t kc, size_t column, size_t n, size_t stride,
                         float *panel)
{
    const sparse_job *job = source;
    const float *x = job->x + k * job->n + column;
    for (size_t i = 0; i < kc; i++, x += job->n, panel += stride) {
        memcpy(panel, x, n * sizeof *panel);
        if (n < stride) memset(panel + n, 0, (stride - n) * sizeof *panel);
    }
}

static void load_rows(const void *source, size_t k, size_t kc, size_t column, size_t n, size_t stride, float *panel)
{
    const sparse_job *job = source;
    job->product.kernels->transpose(n, kc, job->x + column * job->w->k + k, job->w->k, panel, stride, stride);
}

/* result (rows, n) -> out (n, rows), some of its rows at a time: each is then written from left to right, and a line of
 * the cache is complete before others push it out. Rows of out are often a power of two apart. */
static void store_transposed(const sparse_job *job, size_t rows, size_t n, const float *result, float *out)
{
    size_t m = job->w->m;
    for (size_t j = 0; j < n; j += WIDEST_VECTOR)
        job->product.kernels->transpose(rows, tt_min(WIDEST_VECTOR, n - j), result + j, job->product.stride,
                                        out + j * m, m, rows);
}

static void run_panel(void *context, size_t index, int worker)
{
    const sparse_job *job = context;
    size_t column = index / job->row_tasks * job->columns_each, n = tt_min(job->columns_each, job->n - column);
    size_t m = job->w->m, row = index % job->row_tasks * job->rows_each, rows = tt_min(job->rows_each, m - row);
    size_t stride = job->product.stride;
    float *panel = job->scratch + (size_t)worker * job->worker_floats, *sums = panel + job->panel_floats;
    if (job->is_linear) {
        tt_sparse_multiply_panel(&job->product, row, rows, column, n, panel, sums, sums, stride);
        if (job->bias || job->activation)
            job->vector->bias_activation(sums, stride, rows, n, job->bias ? job->bias + row : NULL, NULL,
                                         job->activation);
        store_transposed(job, rows, n, sums, job->out + column * m + row);
        return;
    }
    float *c = job->out + row * job->n + column;
    if (job->in_place) {
        tt_block_rows w = blocks_of(job->w, row, rows);
        job->product.kernels->multiply(&w, job->x + column, job->n, n, c, job->n);
    } else {
        tt_sparse_multiply_panel(&job->product, row, rows, column, n, panel, sums, c, job->n);
    }
}

/* ---- one column, or a few ---- */

static void multiply_slices_vector(const sparse_job *job, size_t row, size_t rows, const float *x, float *y)
{
    const tt_sliced *w = &job->product.sliced;
    float piece[TT_MOST_DEPTH + 1];
    piece[w->depth] = 0;
    for (size_t d = 0; d < w->depth_blocks; d++) {
        size_t k = d * w->depth, kc = tt_min(w->depth, job->w->k - k);
        if (kc) memcpy(piece, x + k, kc * sizeof *piece);
        for (size_t i = 0; i < rows; i += TT_WINDOW) {
            tt_slices tile = tt_tile_of(w, d, (row + i) / TT_WINDOW);
            job->product.kernels->slices->multiply_vector(&tile, piece, y + i, d > 0);
        }
    }
}

static void run_column(void *context, size_t index, int worker)
{
    (void)worker;
    const sparse_job *job = context;
    const tt_sparse_matrix *w = job->w;
    size_t column = index / job->row_tasks, row = index % job->row_tasks * job->rows_each;
    size_t rows = tt_min(job->rows_each, w->m - row);
    const float *x = job->x + column * w->k;
    float *y = job->out + column * w->m + row;
    if (w->r == 1) {
        multiply_slices_vector(job, row, rows, x, y);
    } else {
        tt_block_rows blocks = blocks_of(w, row, rows);
        job->product.kernels->multiply_vector(&blocks, x, y);
    }
    if (job->bias || job->activation)
        job->vector->bias_activation(y, rows, 1, rows, NULL, job->bias ? job->bias + row : NULL, job->activation);
}

/* ---- the API ---- */

/* Enough tasks for every worker: panels (or columns) first; where they are few, rows are split too. */
static void split_work(sparse_job *job, int workers, size_t panels, size_t most_rows)
{
    size_t unit = job->w->r == 1 ? TT_WINDOW : job->w->r;
    size_t pieces = panels >= (size_t)workers ? 1 : tt_div_up((size_t)workers, panels);
    job->rows_each = tt_round_up(tt_min(most_rows, tt_div_up(job->w->m, pieces)), unit);
    job->row_tasks = tt_div_up(job->w->m, job->rows_each);
}

/* Blocks read x where it is unless each element of x is met often enough to pay for copying it; the number was
 * found by measuring. Rows that end within a vector are always copied: the kernels read whole ones. */
static int reads_in_place(const sparse_job *job)
{
    const tt_sparse_matrix *w = job->w;
    int meets_few = tt_sparse_elements(w) < 4.0 * (double)w->r * (double)w->k;
    return meets_few && w->r > 1 && !job->is_linear && job->n % WIDEST_VECTOR == 0;
}

/* Single elements keep a block of depth of a panel in L1. Blocks keep all of it in L2, and where two panels fit,
 * they read w half as often. */
static size_t panel_columns(const sparse_job *job)
{
    if (job->in_place) return COLUMNS_IN_PLACE;
    return job->w->r > 1 && job->w->k * 2 * PANEL <= FLOATS_IN_L2 ? 2 * PANEL : PANEL;
}

static tt_status run_panels(sparse_job *job, double operations)
{
    const tt_sparse_matrix *w = job->w;
    int is_sliced = w->r == 1, workers = tt_workers_for(operations);
    job->in_place = reads_in_place(job);
    job->columns_each = panel_columns(job);
    size_t panels = tt_div_up(job->n, job->columns_each);
    if (!is_sliced && panels < (size_t)workers) workers = tt_workers_for(operations / LOADING_AGAIN);
    job->product.load = job->is_linear ? load_rows : load_columns;
    job->product.x = job;
    job->product.stride = tt_min(job->columns_each, tt_round_up(job->n, WIDEST_VECTOR));
    split_work(job, workers, panels, is_sliced ? ROWS_IN_L2 : w->m);
    job->panel_floats = job->in_place ? 0 : tt_sparse_panel_floats(&job->product);
    job->worker_floats = job->panel_floats;
    if (is_sliced || job->is_linear) job->worker_floats += job->rows_each * job->product.stride;
    job->scratch = tt_scratch_acquire((size_t)workers * job->worker_floats * sizeof(float));
    if (!job->scratch) return TT_OUT_OF_MEMORY;
    tt_parallel_for(workers, panels * job->row_tasks, run_panel, job);
    tt_scratch_release(job->scratch);
    return TT_OK;
}

static tt_status run(sparse_job *job, size_t fewest_columns)
{
    const tt_sparse_matrix *w = job->w;
    if (w->m == 0 || job->n == 0) return TT_OK;
    job->product = tt_sparse_product_of(w);
    job->vector = tt_kernels()->vector;
    double operations = 2 * tt_sparse_elements(w) * (double)job->n;
    if (job->n >= fewest_columns) return run_panels(job, operations);
    int workers = tt_workers_for(operations);
    split_work(job, workers, job->n, w->m);
    tt_parallel_for(workers, job->n * job->row_tasks, run_column, job);
    return TT_OK;
}

tt_status tt_sparse_matmul_f32(const tt_sparse_matrix *w, size_t n, const float *x, float *c)
{
    sparse_job job = {.w = w, .n = n, .x = x, .out = c};
    return run(&job, 2); /* the columns of x lie apart, but for a single one */
}

tt_status tt_sparse_linear_f32(const tt_sparse_matrix *w, size_t batch, const float *x, const float *bias,
                               tt_activation activation, float *y)
{
    sparse_job job = {.w = w, .n = batch, .x = x, .out = y, .bias = bias, .activation = activation, .is_linear = 1};
    return run(&job, FEWEST_COLUMNS);
}
