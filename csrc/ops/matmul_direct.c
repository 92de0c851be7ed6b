/* Matmul without packing, for operands that are small, or used by only a few rows. */
#include "ops/matmul.h"

/* On so few rows a b stored by columns is used as it is; on more, it is turned first. STRIP: columns, for
 * splitting work. */
enum { VERY_FEW_ROWS = 4, STRIP = 128 };

int tt_matmul_is_direct(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b)
{
    const tt_matmul_kernels *kernels = tt_kernels()->matmul;
    int small = n * k <= kernels->small_b;
    if (b.column_stride == 1) return small || m <= kernels->few_rows;
    if (b.row_stride != 1) return 0;
    return small || (m <= VERY_FEW_ROWS && a.column_stride == 1);
}

typedef struct {
    size_t m, n, k, rows_each, columns_each, row_tasks;
    tt_matrix a, b;
    tt_output out;
    int streams_b; /* few rows of a, and b from beyond L2 */
} direct_job;

static void multiply_part(void *context, size_t index, int worker)
{
    (void)worker;
    const direct_job *job = context;
    const tt_output *out = &job->out;
    size_t i = index % job->row_tasks * job->rows_each, j = index / job->row_tasks * job->columns_each;
    size_t m = tt_min(job->rows_each, job->m - i), n = tt_min(job->columns_each, job->n - j);
    const float *a = job->a.data + i * job->a.row_stride, *b = job->b.data + j * job->b.column_stride;
    float *c = out->c + i * out->row_stride + j;
    const tt_matmul_direct_kernels *direct = tt_kernels()->matmul->direct;
    if (job->b.column_stride == 1)
        (job->streams_b ? direct->few_rows : direct->rows)(m, n, job->k, a, job->a.row_stride, job->a.column_stride, b,
                                                           job->b.row_stride, c, out->row_stride, out->accumulate);
    else
        direct->columns(m, n, job->k, a, job->a.row_stride, b, job->b.column_stride, c, out->row_stride);
    if (out->row_bias || out->column_bias || out->activation)
        tt_kernels()->vector->bias_activation(c, out->row_stride, m, n, out->row_bias ? out->row_bias + i : NULL,
                                              out->column_bias ? out->column_bias + j : NULL, out->activation);
}

tt_status tt_matmul_direct(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b, tt_output out)
{
    if (m == 0 || n == 0) return TT_OK;
    const tt_matmul_kernels *kernels = tt_kernels()->matmul;
    direct_job job = {.m = m, .n = n, .k = k, .rows_each = m, .columns_each = n, .row_tasks = 1, .a = a, .b = b,
                      .out = out, .streams_b = m == 1 || (m <= kernels->streamed_rows && n * k > kernels->small_b)};
    int workers = tt_workers_for(2.0 * (double)m * (double)n * (double)k);
    if (workers > 1 && m >= (size_t)workers * kernels->mr) {
        job.rows_each = tt_round_up(tt_div_up(m, (size_t)workers), kernels->mr);
        job.row_tasks = tt_div_up(m, job.rows_each);
    } else if (workers > 1) {
        job.columns_each = tt_round_up(tt_div_up(n, (size_t)workers), STRIP);
    }

    float *turned = NULL;
    int by_columns = b.column_stride != 1;
    if (by_columns && (m > VERY_FEW_ROWS || a.column_stride != 1 || out.accumulate)) {
        /* Turning b costs a pass over it; multiplying along contiguous rows of b is worth it from a few rows. */
        turned = tt_scratch_acquire(k * n * sizeof *turned);
        if (!turned) return TT_OUT_OF_MEMORY;
        kernels->transpose(n, k, b.data, b.column_stride, turned, n, n);
        job.b = (tt_matrix){turned, n, 1};
    }
    tt_parallel_for(workers, job.row_tasks * tt_div_up(n, job.columns_each), multiply_part, &job);
    tt_scratch_release(turned);
    return TT_OK;
}

/* Parts of rows stream worse than whole ones: raced on a Zen 3 core, two workers were slower on less than so many
 * times the work that is worth a worker elsewhere. */
static const double STREAM_WORK = 16;

void tt_matmul_streamed(size_t m, size_t n, size_t k, tt_matrix a, tt_matrix b, tt_output out)
{
    if (m == 0 || n == 0) return;
    int workers = tt_workers_for(2.0 / STREAM_WORK * (double)m * (double)n * (double)k);
    direct_job job = {.m = m, .n = n, .k = k, .rows_each = m, .row_tasks = 1, .a = a, .b = b, .out = out,
                      .streams_b = 1};
    job.columns_each = tt_round_up(tt_div_up(n, (size_t)workers), STRIP);
    tt_parallel_for(workers, tt_div_up(n, job.columns_each), multiply_part, &job);
}
