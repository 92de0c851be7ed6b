#include "ops/rows.h"

static const double OPERATIONS_IN_A_PIECE = 5e4; /* tens of microseconds at most: the last one is soon done */

typedef struct {
    tt_rows_task *task;
    void *context;
    size_t rows, rows_each;
} rows_job;

static void do_piece(void *context, size_t piece, int worker)
{
    const rows_job *job = context;
    size_t first = piece * job->rows_each;
    job->task(job->context, first, tt_min(first + job->rows_each, job->rows), worker);
}

void tt_for_rows(size_t rows, double operations_each, tt_rows_task *task, void *context)
{
    double each = OPERATIONS_IN_A_PIECE / (operations_each > 1 ? operations_each : 1);
    rows_job job = {task, context, rows, each < 1 ? 1 : (size_t)each};
    int workers = tt_workers_for((double)rows * operations_each);
    if (workers == 1) job.rows_each = tt_max(rows, 1);
    tt_parallel_for(workers, tt_div_up(rows, job.rows_each), do_piece, &job);
}
