/* A small thread pool. No thread starts before the first parallel call; the caller always works too.
 *
 * Work is handed out index by index from one atomic counter, so a slow worker only delays its own piece.
 * Which worker computes a piece never changes the result: pieces write to separate places. A helper that
 * wakes after the work is gone is not waited for, so a busy machine costs no more than the lost help. */
#include "runtime/platform_threads.h"
#include "runtime/runtime.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Spinning lasts some tens of microseconds at most, about what waking a sleeping thread costs. */
enum { MOST_WORKERS = 256, SPINS = 2000 };

/* Handing work to a sleeping thread costs some microseconds: the time of about this many operations. */
static const double OPERATIONS_WORTH_A_WORKER = 1e5;

static atomic_int wanted_workers = 1;

/* One parallel call at a time owns the pool. It writes the job, under `lock`, while no helper is inside. */
static tt_mutex owner_lock = TT_MUTEX_INITIALIZER;
static tt_mutex lock = TT_MUTEX_INITIALIZER;
static tt_condition work_arrived = TT_CONDITION_INITIALIZER;
static tt_condition work_done = TT_CONDITION_INITIALIZER;
static int helpers_started;
static atomic_uint generation;     /* counts parallel calls; changed under `lock` */
static atomic_int helpers_inside;  /* that have joined the call at hand; changed under `lock` */

static struct {
    tt_task *task;
    void *context;
    size_t count;
    int workers;
    int open; /* whether a helper may still join */
} job;
static atomic_size_t next_index;

static TT_THREAD_LOCAL int inside_task;

int tt_get_num_threads(void) { return atomic_load(&wanted_workers); }

void tt_set_num_threads(int count)
{
    atomic_store(&wanted_workers, count < 1 ? 1 : count > MOST_WORKERS ? MOST_WORKERS : count);
}

int tt_workers_for(double operations)
{
    double worth = operations / OPERATIONS_WORTH_A_WORKER;
    int wanted = tt_get_num_threads();
    return worth < 2 ? 1 : worth < wanted ? (int)worth : wanted;
}

static void work(int worker)
{
    inside_task = 1;
    for (;;) {
        size_t index = atomic_fetch_add(&next_index, 1);
        if (index >= job.count) break;
        job.task(job.context, index, worker);
    }
    inside_task = 0;
}

static void help(int worker)
{
    for (unsigned served = 0;;) {
        for (int spin = 0; spin < SPINS && atomic_load(&generation) == served; spin++) tt_pause();
        tt_lock(&lock);
        while (!job.open || worker >= job.workers || atomic_load(&generation) == served)
            tt_wait(&work_arrived, &lock);
        served = atomic_load(&generation);
        atomic_fetch_add(&helpers_inside, 1);
        tt_unlock(&lock);

        work(worker);

        tt_lock(&lock);
        if (atomic_fetch_sub(&helpers_inside, 1) == 1) tt_signal_all(&work_done);
        tt_unlock(&lock);
    }
}

static TT_THREAD_FUNCTION(helper_main, argument)
{
    help((int)(intptr_t)argument);
    return 0;
}

#if !defined(_WIN32)
/* Only the forking thread lives on in the child: its pool starts empty, with fresh locks. */
static void forget_helpers(void)
{
    helpers_started = 0;
    tt_reset_mutex(&owner_lock);
    tt_reset_mutex(&lock);
    tt_reset_condition(&work_arrived);
    tt_reset_condition(&work_done);
}

static void hold_pool(void) { tt_lock(&owner_lock); }
static void free_pool(void) { tt_unlock(&owner_lock); }
#endif

/* Starts helpers up to `workers` - 1; fewer when the system refuses. */
static void start_helpers(int workers)
{
#if !defined(_WIN32)
    static int fork_handled;
    if (!fork_handled) fork_handled = pthread_atfork(hold_pool, free_pool, forget_helpers) == 0;
#endif
    while (helpers_started < workers - 1) {
        if (tt_start_thread(helper_main, (void *)(intptr_t)(helpers_started + 1)) != 0) break;
        helpers_started++;
    }
}

void tt_parallel_for(int workers, size_t count, tt_task *task, void *context)
{
    if ((size_t)workers > count) workers = (int)count;
    if (workers <= 1 || inside_task || !tt_try_lock(&owner_lock)) {
        for (size_t index = 0; index < count; index++) task(context, index, 0);
        return;
    }
    start_helpers(workers);
    tt_lock(&lock);
    job.task = task;
    job.context = context;
    job.count = count;
    job.workers = workers;
    job.open = 1;
    atomic_store(&next_index, 0);
    atomic_fetch_add(&generation, 1);
    tt_signal_all(&work_arrived);
    tt_unlock(&lock);

    work(0);

    tt_lock(&lock);
    job.open = 0;
    tt_unlock(&lock);
    for (int spin = 0; spin < SPINS && atomic_load(&helpers_inside); spin++) tt_pause();
    tt_lock(&lock);
    while (atomic_load(&helpers_inside)) tt_wait(&work_done, &lock);
    tt_unlock(&lock);
    tt_unlock(&owner_lock);
}
