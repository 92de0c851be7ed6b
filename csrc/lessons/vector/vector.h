/* What the vector steps of one CPU level share. */
#ifndef TT_LESSONS_VECTOR_H
#define TT_LESSONS_VECTOR_H

#include "lessons/lessons.h"
#include "microkernels/vec.h"
#include "runtime/runtime.h"

tt_matmul_lesson TT_FOR_LEVEL(tt_matmul_vectorised), TT_FOR_LEVEL(tt_matmul_packed),
    TT_FOR_LEVEL(tt_matmul_threaded);
tt_sparse_matmul_lesson TT_FOR_LEVEL(tt_sparse_matmul_vectorised), TT_FOR_LEVEL(tt_sparse_matmul_blocks);
tt_conv2d_lesson TT_FOR_LEVEL(tt_conv2d_vectorised), TT_FOR_LEVEL(tt_conv2d_in_place);
tt_attention_lesson TT_FOR_LEVEL(tt_attention_vectorised);

/* The first n floats of a vector, n <= VF_N. Where n is a constant, only one branch is left. */
TT_INLINE vf load(const float *p, size_t n) { return n == VF_N ? vf_load(p) : vf_load_n(p, n); }

TT_INLINE void store(float *p, vf x, size_t n)
{
    if (n == VF_N)
        vf_store(p, x);
    else
        vf_store_n(p, x, n);
}

#endif
