/* One table of micro-kernels for each CPU level, one struct for each family.
 *
 * A family written over vec.h is compiled once for each level; a hand-written one has a file in the level's
 * folder. runtime/dispatch.c puts the tables together. */
#ifndef TT_MICROKERNELS_H
#define TT_MICROKERNELS_H

#include "lessons/lessons.h"
#include "microkernels/attention.h"
#include "microkernels/int4.h"
#include "microkernels/int8.h"
#include "microkernels/matmul.h"
#include "microkernels/quantize.h"
#include "microkernels/sparse.h"
#include "microkernels/vector.h"

typedef struct {
    const char *name;
    const tt_matmul_kernels *matmul;
    const tt_int8_kernels *int8;
    const tt_int4_kernels *int4;
    const tt_sparse_kernels *sparse;
    const tt_attention_kernels *attention;
    const tt_vector_kernels *vector;
    const tt_lesson_kernels *lessons;
    const tt_lesson_int8_kernels *int8_lessons;
    const tt_quantize_kernels *quantize;
} tt_microkernels;

#endif
