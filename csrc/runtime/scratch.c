/* Memory that outlives its use: a fresh megabyte costs hundreds of page faults, a reused one none.
 *
 * Released blocks wait in lists, one for each size class, and the last one released, whose lines are likeliest
 * still in the cache, serves the next call. What waits is bounded. A caller that finds the lists in use by
 * another thread (or by one that a fork left behind) does not wait: it takes plain memory. */
#include "runtime/runtime.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    ALIGNMENT = 64,
    PAGE = 4096,
    STEPS = 16,  /* sizes are 1 ... 16 pages, 9 ... 16 double pages, and so on: at most an eighth is wasted */
    LEVELS = 11, /* the largest block that is kept has 64 MB */
    MOST_KEPT = 256 << 20, /* bytes in all; a training step of the models here leaves a fifth of it behind */
};

typedef struct block {
    struct block *next;
    void *allocation;
    size_t bytes;
    int class;
} block; /* stands just below the aligned memory */

static atomic_flag in_use = ATOMIC_FLAG_INIT; /* guards the next two */
static block *waiting[LEVELS * STEPS];
static size_t bytes_waiting;

static int try_enter(void) { return !atomic_flag_test_and_set_explicit(&in_use, memory_order_acquire); }
static void leave(void) { atomic_flag_clear_explicit(&in_use, memory_order_release); }

static block *block_of(void *memory) { return (block *)((char *)memory - ALIGNMENT); }

static void free_all(block *first)
{
    while (first) {
        block *next = first->next;
        free(first->allocation);
        first = next;
    }
}

/* The class for so many bytes, which become those of its blocks; -1 for sizes that are not kept. */
static int find_class(size_t *bytes)
{
    size_t step = PAGE;
    int level = 0;
    for (; level < LEVELS && *bytes > STEPS * step; level++) step *= 2;
    if (level == LEVELS) return -1;
    size_t steps = tt_div_up(tt_max(*bytes, 1), step);
    *bytes = steps * step;
    return level * STEPS + (int)steps - 1;
}

static void *allocate(size_t bytes, int class)
{
    if (bytes > SIZE_MAX - 2 * ALIGNMENT) return NULL;
    char *allocation = malloc(bytes + 2 * ALIGNMENT);
    if (!allocation) return NULL;
    char *memory = allocation + ALIGNMENT + (ALIGNMENT - (uintptr_t)allocation % ALIGNMENT) % ALIGNMENT;
    *block_of(memory) = (block){NULL, allocation, bytes, class};
    return memory;
}

void *tt_scratch_acquire(size_t bytes)
{
    int class = find_class(&bytes);
    block *found = NULL;
    if (class >= 0 && try_enter()) {
        found = waiting[class];
        if (found) {
            waiting[class] = found->next;
            bytes_waiting -= found->bytes;
        }
        leave();
    }
    return found ? (char *)found + ALIGNMENT : allocate(bytes, class);
}

/* Everything that waits, as one list. Sizes that are no longer asked for would otherwise stay for ever. */
static block *take_all(void)
{
    block *all = NULL;
    for (int class = 0; class < LEVELS * STEPS; class++)
        while (waiting[class]) {
            block *first = waiting[class];
            waiting[class] = first->next;
            first->next = all;
            all = first;
        }
    bytes_waiting = 0;
    return all;
}

void tt_scratch_release(void *memory)
{
    if (!memory) return;
    block *released = block_of(memory), *unwanted = NULL;
    if (released->class < 0 || !try_enter()) {
        free(released->allocation);
        return;
    }
    if (bytes_waiting + released->bytes > MOST_KEPT) unwanted = take_all();
    released->next = waiting[released->class];
    waiting[released->class] = released;
    bytes_waiting += released->bytes;
    leave();
    free_all(unwanted);
}

size_t tt_scratch_bytes(void *memory) { return block_of(memory)->bytes; }
