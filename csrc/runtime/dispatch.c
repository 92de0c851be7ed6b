/* Which micro-kernels are used: the first level below that the CPU has, or the one asked for. */
#include "runtime/runtime.h"

#include <stdatomic.h>
#include <string.h>

/* A level by its name, that of its float kernels and that of its integer kernels. */
#define LEVEL(name, floats, integers)                                                                     \
    {                                                                                                     \
        #name, &tt_matmul_##floats, &tt_int8_##integers, &tt_int4_##integers, &tt_sparse_##floats,          \
            &tt_attention_##floats, &tt_vector_##floats, &tt_lesson_##floats,                               \
            &tt_lesson_int8_##integers, &tt_quantize_##floats                                               \
    }

/* Best first. */
static const tt_microkernels levels[] = {
#ifdef TT_HAVE_VNNI
    LEVEL(vnni, avx512, vnni),
#endif
#ifdef TT_HAVE_AVX512
    LEVEL(avx512, avx512, avx512),
#endif
#ifdef TT_HAVE_AVX2
    LEVEL(avx2, avx2, avx2),
#endif
#ifdef TT_HAVE_NEONDOT
    LEVEL(neondot, neon, neondot),
#endif
#ifdef TT_HAVE_NEON
    LEVEL(neon, neon, neon),
#endif
    LEVEL(scalar, scalar, scalar),
};

enum { LEVELS = sizeof levels / sizeof levels[0] };

static _Atomic(const tt_microkernels *) selected;

tt_status tt_select_level(const char *name)
{
    for (int i = 0; i < LEVELS; i++) {
        if (name && strcmp(name, levels[i].name) != 0) continue;
        if (!tt_cpu_has(levels[i].name)) continue;
        atomic_store(&selected, &levels[i]);
        return TT_OK;
    }
    return TT_BAD_VALUE;
}

const tt_microkernels *tt_kernels(void)
{
    const tt_microkernels *kernels = atomic_load_explicit(&selected, memory_order_acquire);
    if (!kernels) {
        tt_select_level(NULL); /* always finds "scalar" */
        kernels = atomic_load(&selected);
    }
    return kernels;
}

const char *tt_level_name(void) { return tt_kernels()->name; }

const char *tt_available_level(int index)
{
    for (int i = 0; i < LEVELS; i++)
        if (tt_cpu_has(levels[i].name) && index-- == 0) return levels[i].name;
    return NULL;
}
