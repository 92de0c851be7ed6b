/* Scratch memory that outlives a call: a fresh megabyte costs hundreds of page faults, a reused one none.
 *
 * A few free buffers wait in slots; a call takes one that is large enough, or makes a new one. Each slot is
 * one atomic pointer, so there is no lock, and no buffer is ever seen by two callers. */
#include "runtime/runtime.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { ALIGNMENT = 64, SLOTS = 8, GRAIN = 4096, LARGEST_KEPT = 64 << 20 };

typedef struct {
    void *allocation;
    size_t bytes;
} header; /* stands just below the aligned memory */

static _Atomic(void *) slots[SLOTS];

static header *header_of(void *memory) { return (header *)((char *)memory - ALIGNMENT); }

static void *allocate(size_t bytes)
{
    if (bytes > SIZE_MAX - 2 * ALIGNMENT) return NULL;
    char *allocation = malloc(bytes + 2 * ALIGNMENT);
    if (!allocation) return NULL;
    char *memory = allocation + ALIGNMENT + (ALIGNMENT - (uintptr_t)allocation % ALIGNMENT) % ALIGNMENT;
    *header_of(memory) = (header){allocation, bytes};
    return memory;
}

static int keep(void *memory)
{
    for (int i = 0; i < SLOTS; i++) {
        void *empty = NULL;
        if (atomic_compare_exchange_strong(&slots[i], &empty, memory)) return 1;
    }
    return 0;
}

void *tt_scratch_acquire(size_t bytes)
{
    if (bytes > SIZE_MAX - GRAIN) return NULL;
    bytes = tt_round_up(tt_max(bytes, 1), GRAIN);
    void *too_small = NULL;
    for (int i = 0; i < SLOTS; i++) {
        void *memory = atomic_exchange(&slots[i], NULL);
        if (!memory) continue;
        if (header_of(memory)->bytes >= bytes) {
            tt_scratch_release(too_small);
            return memory;
        }
        tt_scratch_release(too_small);
        too_small = memory;
    }
    /* Nothing fits: the last one that was too small makes way, so the kept buffers grow to what is needed. */
    if (too_small) free(header_of(too_small)->allocation);
    return allocate(bytes);
}

void tt_scratch_release(void *memory)
{
    if (!memory) return;
    if (header_of(memory)->bytes > LARGEST_KEPT || !keep(memory)) free(header_of(memory)->allocation);
}
