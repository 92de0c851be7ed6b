/* The lessons: one operation in numbered steps, from the plain loop to a kernel close to the machine's limit.
 *
 * Every step of a ladder has the same prototype and adds one idea to the step before, so that two neighbours
 * can be read side by side and raced. Steps 0 to 2 are plain C, compiled with the auto-vectoriser off: what
 * they gain is the idea's, not the compiler's. The steps in vector/ are written over vec.h and compiled once
 * for each CPU level. */
#ifndef TT_LESSONS_H
#define TT_LESSONS_H

#include "tinytorch.h"

/* c (m, n) = a (m, k) @ b (k, n). */
typedef tt_status tt_matmul_lesson(size_t m, size_t n, size_t k, const float *a, const float *b, float *c);

tt_matmul_lesson tt_matmul_plain, tt_matmul_reordered, tt_matmul_tiled;

typedef struct {
    tt_matmul_lesson *vectorised, *packed, *threaded;
    const char *flags; /* what these steps were compiled with */
} tt_lesson_kernels;

extern const tt_lesson_kernels tt_lesson_scalar, tt_lesson_avx2, tt_lesson_avx512, tt_lesson_neon;

typedef struct {
    const char *name, *description, *source; /* source: the file, below csrc/lessons/ */
    const char *flags;
    tt_matmul_lesson *multiply;
} tt_lesson;

enum { TT_MATMUL_STEPS = 6 };

/* What is known of step 0 ... TT_MATMUL_STEPS - 1, at the CPU level in use. */
tt_lesson tt_matmul_step(int step);

#endif
