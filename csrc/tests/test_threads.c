#include "runtime/platform_threads.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#include <stdatomic.h>

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

enum { MOST = 1000 };

typedef struct {
    atomic_int calls[MOST];
    int workers;
} counters;

static void count_call(void *context, size_t index, int worker)
{
    counters *c = context;
    CHECK(worker >= 0 && worker < c->workers, "worker %d of %d", worker, c->workers);
    atomic_fetch_add(&c->calls[index], 1);
}

/* Every index is handed out once, and by the time of return all work is done. */
static void check_every_index(int workers, size_t count)
{
    counters c = {.workers = workers};
    tt_parallel_for(workers, count, count_call, &c);
    for (size_t i = 0; i < MOST; i++)
        CHECK(atomic_load(&c.calls[i]) == (i < count), "%d workers, index %zu of %zu", workers, i, count);
}

static void check_sizes(void)
{
    static const size_t counts[] = {0, 1, 2, 3, 17, MOST};
    static const int workers[] = {1, 4, 2, 9, 3}; /* more, and fewer again */
    for (size_t w = 0; w < sizeof workers / sizeof workers[0]; w++)
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) check_every_index(workers[w], counts[c]);
    for (int i = 0; i < 500; i++) check_every_index(2 + i % 3, 5);
}

static void call_nested(void *context, size_t index, int worker)
{
    (void)index, (void)worker;
    atomic_int *total = context;
    counters c = {.workers = 1}; /* inside a task there is one worker: the caller */
    tt_parallel_for(4, 7, count_call, &c);
    for (int i = 0; i < 7; i++) atomic_fetch_add(total, atomic_load(&c.calls[i]));
}

static void check_nested(void)
{
    atomic_int total = 0;
    tt_parallel_for(3, 20, call_nested, &total);
    CHECK(atomic_load(&total) == 20 * 7, "%d nested calls", atomic_load(&total));
}

/* Threads of the host program may use the pool at the same time: one gets it, the others work alone. */
static atomic_int unfinished;

static TT_THREAD_FUNCTION(use_pool, argument)
{
    (void)argument;
    for (int i = 0; i < 200; i++) check_every_index(3, 10);
    atomic_fetch_sub(&unfinished, 1);
    return 0;
}

static void check_concurrent(void)
{
    enum { THREADS = 4 };
    atomic_store(&unfinished, THREADS);
    for (int i = 0; i < THREADS; i++) CHECK(tt_start_thread(use_pool, NULL) == 0, "thread");
    while (atomic_load(&unfinished)) check_every_index(2, 10);
}

static void check_numbers(void)
{
    tt_set_num_threads(0);
    CHECK(tt_get_num_threads() == 1, "at least one thread");
    tt_set_num_threads(1 << 20);
    int most = tt_get_num_threads();
    CHECK(most > 1 && tt_workers_for(1e300) == most, "%d threads", most);
    CHECK(tt_workers_for(0) == 1, "nothing to do is done by one");
    tt_set_num_threads(1);
}

void test_threads(void)
{
    check_sizes();
    check_nested();
    check_concurrent();
    check_numbers();
}

/* A forked child has none of the helpers; it must notice, and start its own. */
void test_fork(void)
{
#if !defined(_WIN32)
    atomic_store(&unfinished, 1);
    CHECK(tt_start_thread(use_pool, NULL) == 0, "thread"); /* so that a fork may meet a busy pool */
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        CHECK(child >= 0, "fork");
        if (child == 0) {
            for (int j = 0; j < 20; j++) check_every_index(3, 50);
            _exit(0);
        }
        check_every_index(3, 50);
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %d", status);
    }
    while (atomic_load(&unfinished)) tt_pause();
#endif
}
