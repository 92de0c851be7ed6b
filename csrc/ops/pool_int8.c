/* Max pooling of bytes: the largest integer is the integer of the largest value, so no scale is needed. */
#include "ops/pool.h"

#include <string.h>

typedef struct {
    const tt_pool2d_shape *shape;
    const uint8_t *x;
    uint8_t *y;
    uint8_t flip; /* 0x80 makes int8 order that of uint8 */
    uint8_t *rows; /* a row with its border for each worker */
    size_t row_bytes;
} pool_job;

static uint8_t larger(uint8_t a, uint8_t b) { return a > b ? a : b; }

/* row = the largest of each column of `rows` rows, flipped. */
static void max_down(const uint8_t *x, size_t row_stride, size_t rows, size_t n, uint8_t flip, uint8_t *row)
{
    for (size_t j = 0; j < n; j++) row[j] = x[j] ^ flip;
    for (size_t i = 1; i < rows; i++)
        for (size_t j = 0; j < n; j++) row[j] = larger(row[j], x[i * row_stride + j] ^ flip);
}

static void max_along(const uint8_t *row, size_t window, size_t stride, size_t n, uint8_t flip, uint8_t *y)
{
    if (window == 2 && stride == 2) { /* constants, so that the compiler makes vectors of it */
        for (size_t j = 0; j < n; j++) y[j] = larger(row[2 * j], row[2 * j + 1]) ^ flip;
        return;
    }
    for (size_t j = 0; j < n; j++) {
        uint8_t result = row[j * stride];
        for (size_t s = 1; s < window; s++) result = larger(result, row[j * stride + s]);
        y[j] = result ^ flip;
    }
}

static void pool_planes(void *context, size_t first, size_t end, int worker)
{
    const pool_job *job = context;
    const tt_pool2d_shape *shape = job->shape;
    uint8_t *row = job->rows + (size_t)worker * job->row_bytes;
    memset(row, 0, job->row_bytes); /* the border: below every value */
    for (size_t plane = first; plane < end; plane++) {
        const uint8_t *x = job->x + plane * shape->height * shape->width;
        uint8_t *y = job->y + plane * shape->out_h * shape->out_w;
        for (size_t i = 0; i < shape->out_h; i++, y += shape->out_w) {
            tt_span rows = tt_covered_rows(shape, i);
            max_down(x + rows.first * shape->width, shape->width, rows.end - rows.first, shape->width,
                     job->flip, row + shape->pad_w);
            max_along(row, shape->kernel_w, shape->stride_w, shape->out_w, job->flip, y);
        }
    }
}

tt_status tt_max_pool2d_int8(const tt_pool2d_shape *shape, const uint8_t *x, int is_signed, uint8_t *y)
{
    /* No integer stands for an empty maximum. */
    if (shape->height == 0 || shape->width == 0) return TT_BAD_VALUE;
    pool_job job = {.shape = shape, .x = x, .y = y, .flip = is_signed ? 0x80 : 0};
    double operations = tt_pool2d_operations(shape) / 16; /* bytes to a vector */
    int workers = tt_workers_for((double)shape->planes * operations);
    job.row_bytes = tt_round_up(shape->width + 2 * shape->pad_w, 64);
    job.rows = tt_scratch_acquire((size_t)workers * job.row_bytes);
    if (!job.rows) return TT_OUT_OF_MEMORY;
    tt_for_rows(shape->planes, operations, pool_planes, &job);
    tt_scratch_release(job.rows);
    return TT_OK;
}
