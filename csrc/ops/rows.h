/* Work that falls into independent rows: rows of a softmax, planes of an image, elements of an array. */
#ifndef TT_OPS_ROWS_H
#define TT_OPS_ROWS_H

#include "runtime/runtime.h"

/* Does rows [first, end). */
typedef void tt_rows_task(void *context, size_t first, size_t end, int worker);

/* Hands out pieces of consecutive rows, each large enough to be worth it, to at most
 * tt_workers_for(rows * operations_each) workers. */
void tt_for_rows(size_t rows, double operations_each, tt_rows_task *task, void *context);

#endif
