/* Matmul: blocks, packs, splits over threads, and lets the micro-kernel multiply.
 *
 * The five loops of Goto and van de Geijn ("Anatomy of High-Performance Matrix Multiplication", 2008):
 * columns in blocks of nc, depth in blocks of kc, rows in blocks of mc, then tiles of nr columns by mr rows.
 * Each block is sized for one level of the cache (microkernels/matmul.c). Packing copies a block into the
 * order in which the tile reads it, so the inner loop meets neither strides nor edges, and a transpose or a
 * convolution is only another way to fill a panel. */
#include "ops/matmul.h"

#include <stdatomic.h>
#include <string.h>

/* ---- operands ---- */

/* How many panels are filled together: enough that a row of b, read across them, is one long stretch; not so many
 * that their lines, kc x nr floats apart, push each other out of an 8-way L1. */
enum { PANELS = 4 };

static void fill_panel(const float *data, size_t along, size_t across, size_t kc, size_t count, size_t width,
                       float *panel)
{
    if (along == 1) {
        tt_kernels()->matmul->transpose(count, kc, data, across, panel, width, width);
        return;
    }
    if (count < width) memset(panel, 0, kc * width * sizeof *panel);
    if (across == 1) {
        for (size_t d = 0; d < kc; d++) memcpy(panel + d * width, data + d * along, count * sizeof *panel);
    } else {
        for (size_t t = 0; t < count; t++)
            for (size_t d = 0; d < kc; d++) panel[d * width + t] = data[t * across + d * along];
    }
}

static void fill_from_matrix(const float *data, size_t along, size_t across, size_t kc, size_t count,
                             size_t width, float *panels)
{
    for (size_t t = 0; t < count; t += width)
        fill_panel(data + t * across, along, across, kc, tt_min(width, count - t), width, panels + t * kc);
}

static void fill_rows(const void *source, size_t k, size_t kc, size_t first, size_t count, size_t width,
                      float *panels)
{
    const tt_matrix *a = source;
    const float *data = a->data + first * a->row_stride + k * a->column_stride;
    fill_from_matrix(data, a->column_stride, a->row_stride, kc, count, width, panels);
}

static void fill_columns(const void *source, size_t k, size_t kc, size_t first, size_t count, size_t width,
                         float *panels)
{
    const tt_matrix *b = source;
    const float *data = b->data + k * b->row_stride + first * b->column_stride;
    if (b->column_stride == 1)
        tt_kernels()->matmul->pack_rows(kc, count, data, b->row_stride, panels);
    else
        fill_from_matrix(data, b->row_stride, b->column_stride, kc, count, width, panels);
}

tt_operand tt_rows_of(const tt_matrix *a) { return (tt_operand){NULL, fill_rows, a}; }
tt_operand tt_columns_of(const tt_matrix *b) { return (tt_operand){NULL, fill_columns, b}; }

/* Packed whole, an operand is its depth blocks one after the other, each as all its panels. */
size_t tt_packed_floats(size_t k, size_t extent, size_t width) { return k * tt_round_up(extent, width); }

static void pack_block(tt_operand operand, size_t k, size_t kc, size_t first, size_t count, size_t width,
                       float *packed)
{
    for (size_t t = 0; t < count; t += PANELS * width)
        operand.fill(operand.source, k, kc, first + t, tt_min(PANELS * width, count - t), width, packed + t * kc);
}

void tt_pack_operand(size_t k, size_t extent, size_t width, tt_operand operand, float *packed)
{
    size_t kc = tt_kernels()->matmul->kc, padded = tt_round_up(extent, width);
    for (size_t p = 0; p < k; p += kc)
        pack_block(operand, p, tt_min(kc, k - p), 0, extent, width, packed + p * padded);
}

/* ---- the loops ---- */

typedef struct {
    const tt_matmul_kernels *kernels;
    const tt_vector_kernels *vector;
    size_t m, n, k;
    tt_operand a, b;
    tt_output out;
    size_t mc, columns_each; /* what one task computes: mc rows by so many columns */
    size_t jc, nc, pc, kc;   /* the block of columns and of depth at hand */
    size_t row_tasks;
    int packs_as_it_goes;  /* b is used by one block of rows: its panels are packed where they are used, in L2 */
    float *b_block;        /* the block of b, packed; shared */
    float *a_blocks;       /* a block of a for each worker */
    size_t a_block_floats;
} matmul_job;

static const float *b_panels(const matmul_job *job)
{
    if (!job->b.packed) return job->b_block;
    return job->b.packed + job->pc * tt_round_up(job->n, job->kernels->nr) + job->jc * job->kc;
}

static const float *a_panels(const matmul_job *job, size_t ic, size_t mc, int worker)
{
    if (job->a.packed)
        return job->a.packed + job->pc * tt_round_up(job->m, job->kernels->mr) + ic * job->kc;
    float *block = job->a_blocks + (size_t)worker * job->a_block_floats;
    pack_block(job->a, job->pc, job->kc, ic, mc, job->kernels->mr, block);
    return block;
}

static void pack_b_panels(void *context, size_t index, int worker)
{
    (void)worker;
    const matmul_job *job = context;
    size_t nr = job->kernels->nr, j = index * PANELS * nr;
    pack_block(job->b, job->pc, job->kc, job->jc + j, tt_min(PANELS * nr, job->nc - j), nr,
               job->b_block + j * job->kc);
}

/* c[ic .. ic + mc)[first .. last) += a @ b. Columns innermost: a panel of a stays in L1, b streams past it, and c is
 * written along its rows. */
static void multiply_tiles(const matmul_job *job, size_t ic, size_t mc, const float *a, size_t first, size_t last,
                           const float *b)
{
    const tt_output *out = &job->out;
    size_t mr = job->kernels->mr, nr = job->kernels->nr, kc = job->kc;
    int accumulate = out->accumulate || job->pc > 0;
    int finish = job->pc + kc == job->k && (out->row_bias || out->column_bias || out->activation);
    for (size_t i = 0; i < mc; i += mr) {
        size_t m = tt_min(mr, mc - i);
        for (size_t j = first; j < last; j += nr) {
            size_t n = tt_min(nr, last - j);
            float *c = out->c + (ic + i) * out->row_stride + job->jc + j;
            job->kernels->tile(kc, a + i * kc, b + (j - first) * kc, c, out->row_stride, m, n, accumulate);
            if (finish)
                job->vector->bias_activation(c, out->row_stride, m, n,
                                             out->row_bias ? out->row_bias + ic + i : NULL,
                                             out->column_bias ? out->column_bias + job->jc + j : NULL,
                                             out->activation);
        }
    }
}

static void multiply_block(void *context, size_t index, int worker)
{
    const matmul_job *job = context;
    size_t nr = job->kernels->nr, kc = job->kc;
    size_t ic = index % job->row_tasks * job->mc, first = index / job->row_tasks * job->columns_each;
    size_t mc = tt_min(job->mc, job->m - ic), last = tt_min(first + job->columns_each, job->nc);
    const float *a = a_panels(job, ic, mc, worker);
    if (!job->packs_as_it_goes) {
        multiply_tiles(job, ic, mc, a, first, last, b_panels(job) + first * kc);
        return;
    }
    float *own = job->b_block + (size_t)worker * PANELS * nr * kc;
    for (size_t j = first, next; j < last; j = next) {
        next = tt_min(j + PANELS * nr, last);
        pack_block(job->b, job->pc, kc, job->jc + j, next - j, nr, own);
        multiply_tiles(job, ic, mc, a, j, next, own);
    }
}

/* Enough tasks for every worker: smaller row blocks first; where rows are few, columns are split too. */
static void split_work(matmul_job *job, int workers, size_t nc)
{
    const tt_matmul_kernels *kernels = job->kernels;
    job->packs_as_it_goes = !job->b.packed && job->m <= kernels->mc;
    size_t row_tasks = job->packs_as_it_goes ? 1 : (size_t)workers;
    job->mc = tt_min(kernels->mc, tt_round_up(tt_div_up(job->m, row_tasks), kernels->mr));
    job->row_tasks = tt_div_up(job->m, job->mc);
    size_t column_tasks = tt_div_up((size_t)workers, job->row_tasks);
    job->columns_each = tt_round_up(tt_div_up(nc, column_tasks), kernels->nr);
}

tt_status tt_matmul_driver(size_t m, size_t n, size_t k, tt_operand a, tt_operand b, tt_output out)
{
    if (m == 0 || n == 0) return TT_OK;
    const tt_microkernels *kernels = tt_kernels();
    matmul_job job = {.kernels = kernels->matmul, .vector = kernels->vector, .m = m, .n = n, .k = k,
                      .a = a, .b = b, .out = out};
    int workers = tt_workers_for(2.0 * (double)m * (double)n * (double)k);
    size_t nc = tt_min(job.kernels->nc, tt_round_up(n, job.kernels->nr)), kc = tt_min(job.kernels->kc, k);
    split_work(&job, workers, nc);

    size_t b_floats = b.packed             ? 0
                      : job.packs_as_it_goes ? (size_t)workers * PANELS * job.kernels->nr * kc
                                             : nc * kc;
    job.a_block_floats = a.packed ? 0 : tt_round_up(tt_round_up(job.mc, job.kernels->mr) * kc, 16);
    b_floats = tt_round_up(b_floats, 16);
    float *scratch = tt_scratch_acquire((b_floats + (size_t)workers * job.a_block_floats) * sizeof(float));
    if (!scratch) return TT_OUT_OF_MEMORY;
    job.b_block = scratch;
    job.a_blocks = scratch + b_floats;

    for (job.jc = 0; job.jc < n; job.jc += nc) {
        job.nc = tt_min(nc, n - job.jc);
        size_t column_tasks = tt_div_up(job.nc, job.columns_each);
        job.pc = 0;
        do { /* at least once: a product of depth 0 is still a matrix of zeros */
            job.kc = tt_min(kc, k - job.pc);
            if (!b.packed && !job.packs_as_it_goes)
                tt_parallel_for(workers, tt_div_up(job.nc, PANELS * job.kernels->nr), pack_b_panels, &job);
            tt_parallel_for(workers, job.row_tasks * column_tasks, multiply_block, &job);
            job.pc += job.kc;
        } while (job.pc < k);
    }
    tt_scratch_release(scratch);
    return TT_OK;
}

tt_status tt_matmul_matrices(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b, tt_output out)
{
    if (tt_matmul_is_direct(m, n, k, a, b)) return tt_matmul_direct(m, n, k, a, b, out);
    return tt_matmul_driver(m, n, k, tt_rows_of(&a), tt_columns_of(&b), out);
}

/* ---- the API ---- */

typedef struct {
    size_t m, n, k;
    tt_matrix a, b;
    size_t a_step, b_step;
    float *c;
    atomic_int status;
} batch_job;

static void multiply_one(void *context, size_t index, int worker)
{
    (void)worker;
    batch_job *job = context;
    tt_matrix a = job->a, b = job->b;
    a.data += index * job->a_step;
    b.data += index * job->b_step;
    tt_output out = {.c = job->c + index * job->m * job->n, .row_stride = job->n};
    tt_status status = tt_matmul_matrices(job->m, job->n, job->k, a, b, out);
    if (status != TT_OK) atomic_store(&job->status, status);
}

tt_status tt_matmul_f32(size_t batch, size_t m, size_t n, size_t k, tt_matrix a, size_t a_batch_step,
                        tt_matrix b, size_t b_batch_step, float *c)
{
    batch_job job = {m, n, k, a, b, a_batch_step, b_batch_step, c, TT_OK};
    double operations = 2.0 * (double)m * (double)n * (double)k;
    /* Many small products: a thread each. Few large ones: one after the other, all threads on each. */
    int workers = batch >= 4 ? tt_workers_for(operations * (double)batch) : 1;
    tt_parallel_for(workers, batch, multiply_one, &job);
    return (tt_status)atomic_load(&job.status);
}

size_t tt_packed_size_f32(size_t k, size_t n) { return tt_packed_floats(k, n, tt_kernels()->matmul->nr); }

void tt_pack_f32(size_t k, size_t n, tt_matrix b, float *packed)
{
    tt_pack_operand(k, n, tt_kernels()->matmul->nr, tt_columns_of(&b), packed);
}

void tt_unpack_f32(size_t k, size_t n, const float *packed, float *b)
{
    const tt_matmul_kernels *kernels = tt_kernels()->matmul;
    size_t padded = tt_round_up(n, kernels->nr), width = kernels->nr;
    for (size_t p = 0; p < k; p += kernels->kc) {
        size_t kc = tt_min(kernels->kc, k - p);
        for (size_t d = 0; d < kc; d++)
            for (size_t j = 0; j < n; j++)
                b[(p + d) * n + j] = packed[p * padded + j / width * width * kc + d * width + j % width];
    }
}

tt_status tt_linear_f32(size_t m, size_t n, size_t k, const float *x, tt_matrix w, const float *packed,
                        const float *bias, tt_activation activation, float *y)
{
    tt_matrix rows = {x, k, 1};
    tt_output out = {.c = y, .row_stride = n, .column_bias = bias, .activation = activation};
    if (!packed) return tt_matmul_matrices(m, n, k, rows, w, out);
    return tt_matmul_driver(m, n, k, tt_rows_of(&rows), (tt_operand){.packed = packed}, out);
}
