/* Which micro-kernels are used: the first level below that the CPU has, or the one asked for. */
#include "runtime/runtime.h"

#include <stdatomic.h>
#include <string.h>

/* Best first. A level without kernels of its own for a family names those of the level below. */
static const tt_microkernels levels[] = {
#ifdef TT_HAVE_VNNI
    {"vnni", &tt_matmul_avx512, &tt_int8_vnni, &tt_int4_vnni, &tt_sparse_avx512, &tt_attention_avx512,
     &tt_vector_avx512, &tt_quantize_avx512},
#endif
#ifdef TT_HAVE_AVX512
    {"avx512", &tt_matmul_avx512, &tt_int8_avx512, &tt_int4_avx512, &tt_sparse_avx512, &tt_attention_avx512,
     &tt_vector_avx512, &tt_quantize_avx512},
#endif
#ifdef TT_HAVE_AVX2
    {"avx2", &tt_matmul_avx2, &tt_int8_avx2, &tt_int4_avx2, &tt_sparse_avx2, &tt_attention_avx2,
     &tt_vector_avx2, &tt_quantize_avx2},
#endif
#ifdef TT_HAVE_NEONDOT
    {"neondot", &tt_matmul_neon, &tt_int8_neondot, &tt_int4_neondot, &tt_sparse_neon, &tt_attention_neon,
     &tt_vector_neon, &tt_quantize_neon},
#endif
#ifdef TT_HAVE_NEON
    {"neon", &tt_matmul_neon, &tt_int8_neon, &tt_int4_neon, &tt_sparse_neon, &tt_attention_neon,
     &tt_vector_neon, &tt_quantize_neon},
#endif
    {"scalar", &tt_matmul_scalar, &tt_int8_scalar, &tt_int4_scalar, &tt_sparse_scalar, &tt_attention_scalar,
     &tt_vector_scalar, &tt_quantize_scalar},
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

const char *const *tt_available_levels(void)
{
    static const char *names[LEVELS + 1];
    int count = 0;
    for (int i = 0; i < LEVELS; i++)
        if (tt_cpu_has(levels[i].name)) names[count++] = levels[i].name;
    return names;
}
