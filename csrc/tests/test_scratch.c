#include "runtime/platform_threads.h"
#include "runtime/runtime.h"
#include "tests/test.h"

#include <stdatomic.h>
#include <string.h>

static void check_sizes(void)
{
    enum { BUFFERS = 20 }; /* more than are kept */
    unsigned char *buffers[BUFFERS];
    for (int i = 0; i < BUFFERS; i++) {
        size_t bytes = (size_t)i * 1000;
        buffers[i] = tt_scratch_acquire(bytes);
        CHECK(buffers[i] && (uintptr_t)buffers[i] % 64 == 0, "buffer %d", i);
        memset(buffers[i], i, bytes);
    }
    for (int i = 0; i < BUFFERS; i++) {
        for (int j = 0; j < i * 1000; j++) CHECK(buffers[i][j] == i, "buffer %d is shared", i);
        tt_scratch_release(buffers[i]);
    }
    CHECK(!tt_scratch_acquire(SIZE_MAX), "there cannot be so much memory");
    CHECK(!tt_scratch_acquire(SIZE_MAX - 5000), "there cannot be so much memory");
    tt_scratch_release(NULL);
}

static void check_reuse(void)
{
    void *first = tt_scratch_acquire(100000);
    tt_scratch_release(first);
    void *second = tt_scratch_acquire(100000);
    CHECK(first == second, "a released buffer serves the next call");
    tt_scratch_release(second);
}

/* Several threads take, fill, look and give back; no buffer may be in two hands. */
static atomic_int unfinished;

static TT_THREAD_FUNCTION(churn, argument)
{
    unsigned char own = (unsigned char)(intptr_t)argument;
    for (size_t round = 0; round < 300; round++) {
        size_t bytes = 1 + round * 7919 % 20000;
        unsigned char *buffer = tt_scratch_acquire(bytes);
        CHECK(buffer, "memory");
        memset(buffer, own, bytes);
        for (size_t i = 0; i < bytes; i += 97) CHECK(buffer[i] == own, "another thread wrote here");
        tt_scratch_release(buffer);
    }
    atomic_fetch_sub(&unfinished, 1);
    return 0;
}

void test_scratch(void)
{
    check_sizes();
    check_reuse();
    enum { THREADS = 4 };
    atomic_store(&unfinished, THREADS);
    for (int i = 0; i < THREADS; i++) CHECK(tt_start_thread(churn, (void *)(intptr_t)(i + 1)) == 0, "thread");
    while (atomic_load(&unfinished)) tt_pause();
}
