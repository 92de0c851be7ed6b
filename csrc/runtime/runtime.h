/* What every driver needs: the table of micro-kernels, the thread pool, scratch memory. */
#ifndef TT_RUNTIME_H
#define TT_RUNTIME_H

#include "microkernels/microkernels.h"
#include "tinytorch.h"

/* cpu.c: whether this CPU (and its operating system) runs the instructions of a level. */
int tt_cpu_has(const char *level);

/* dispatch.c: the micro-kernels in use. */
const tt_microkernels *tt_kernels(void);

/* threads.c: calls task(context, index, worker) once for each index below count, on at most `workers`
 * threads; worker < workers names the thread, so scratch may be one slice for each worker. The caller is
 * worker 0. A call from inside a task, or while another thread uses the pool, runs in the caller alone. */
typedef void tt_task(void *context, size_t index, int worker);
void tt_parallel_for(int workers, size_t count, tt_task *task, void *context);

/* How many workers are worth waking for so many floating-point operations. */
int tt_workers_for(double operations);

/* scratch.c: 64-byte aligned memory that is kept and reused; NULL when there is none. Its size may be rounded up. */
void *tt_scratch_acquire(size_t bytes);
void tt_scratch_release(void *memory);
size_t tt_scratch_bytes(void *memory);

static inline size_t tt_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t tt_max(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t tt_div_up(size_t a, size_t b) { return (a + b - 1) / b; }
static inline size_t tt_round_up(size_t a, size_t b) { return tt_div_up(a, b) * b; }

#endif
